"""Every trap has a test named after it: what it catches, at which line and level, and what it lets pass."""

import hashlib
from pathlib import Path

import pytest

from appliance.images.identity import identify
from appliance.images.memory import Memory, Sums
from appliance.kiwi.finding import Finding, Level
from appliance.kiwi.linter import check_tree
from appliance.kiwi.site import Site
from tests.appliance.kiwi.conftest import MAC_CONFIG, Caught, Write

RAM = "IMAGE='/dev/ram1;a;1;10.0.0.1;4096'\n"


def is_one(found: list[Finding], level: Level, line: int, text: str) -> bool:
    """Whether there is a single finding, and it is this."""
    return [(f.level, f.line, text in f"{f.effect} {f.mend}") for f in found] == [(level, line, True)]


def error(found: list[Finding], line: int, text: str) -> bool:
    """One finding that keeps the configuration from being published."""
    return is_one(found, Level.ERROR, line, text)


def warning(found: list[Finding], line: int, text: str) -> bool:
    """One finding that an operator should know of."""
    return is_one(found, Level.WARNING, line, text)


# Section 6, item 1: a configuration is code.


@pytest.mark.parametrize("line", ["reboot", " A='x'", "export A='x'", "A = x", "$(reboot)"])
def test_config_is_code(caught: Caught, line: str) -> None:
    """Lines that are no assignment at column 1."""
    assert error(caught("config-is-code", f"{RAM}{line}\n"), 2, "root runs this line")


def test_value_unreadable(caught: Caught) -> None:
    """A name that would reach the client's eval'd download command."""
    assert error(caught("value-unreadable", "IMAGE='/dev/ram1;a$(reboot);1;s;4096'\n"), 1, "IMAGE")


def test_value_runs_as_command(caught: Caught) -> None:
    """Keys that are commands by contract."""
    assert warning(caught("value-runs-as-command", "DEVICE_INIT='dasd_configure 0.0.1 1'\n"), 1, "root runs")


def test_key_set_twice(caught: Caught) -> None:
    """The last one holds, which is easily missed."""
    assert warning(caught("key-set-twice", "A='1'\nA='2'\n"), 1, "further down")


# Items 2 and 3: nothing is secret, and sums guard against accidents only.


def test_secret_in_clear(caught: Caught) -> None:
    """A pass phrase on the wire."""
    assert warning(caught("secret-in-clear", "luks_pass='x'\n"), 1, "anybody")


@pytest.mark.parametrize(("told", "is_caught"), [("2 1", True), ("4 1", False), ("no sum at all", True)])
def test_checksum_of_another_image(caught: Caught, told: str, is_caught: bool) -> None:
    """Item 10, too: a half-replaced pair."""
    sums = f"{hashlib.md5(b'1234').hexdigest()} {told}\n"
    found = caught("checksum-of-another-image", RAM, **{"image__a-1": "1234", "image__a-1.md5": sums})
    assert error(found, 1, "made from the image") if is_caught else not found


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_checksum_of_another_image_by_its_bytes(caught: Caught, tmp_path: Path, kind: str) -> None:
    """As far as the appliance has read the image, of which the file is still the same."""
    own = f"{'c' * (32 if kind == 'md5' else 64)} 1 4\n"
    files = {"image__a-1": "1234", f"image__a-1.{kind}": own}
    assert not caught("checksum-of-another-image", RAM, **files)
    content = identify(tmp_path / "image/a-1")
    assert content is not None
    Memory(tmp_path).save({"a-1": (content, Sums("a" * 32, "b" * 64, 4))})
    assert error(caught("checksum-of-another-image"), 1, f"image/a-1.{kind} is not the checksum of that image")
    (tmp_path / "image/a-1").write_text("12345")
    (tmp_path / f"image/a-1.{kind}").write_text(own.replace("1 4", "1 5"))
    assert not caught("checksum-of-another-image")


# Items 4, 13, 15, 16: the menu.


def menu(append: str, more: str = "") -> str:
    """A boot menu of one entry."""
    return f"DEFAULT kiwi\nLABEL kiwi\n KERNEL boot/linux\n APPEND initrd=boot/initrd {append}\n{more}"


def test_tftp_without_atftp(caught: Caught) -> None:
    """Initrds built for SLE 15 and Leap 15."""
    files = {"pxelinux.cfg__default": menu("kiwiserver=10.0.0.1")}
    assert warning(caught("tftp-without-atftp", **files), 2, "kiwiservertype=http")
    files = {"pxelinux.cfg__default": menu("kiwiserver=10.0.0.1 kiwiservertype=http")}
    assert not caught("tftp-without-atftp", **files)


def test_server_guessed(caught: Caught) -> None:
    """Neither ip= nor kiwiserver=."""
    assert warning(caught("server-guessed", **{"pxelinux.cfg__default": menu("", " IPAPPEND 2\n")}), 2, "IPAPPEND 3")
    assert not caught("server-guessed", **{"pxelinux.cfg__default": menu("", " IPAPPEND 3\n")})


def test_aoe_target_is_no_interface(caught: Caught) -> None:
    """AOEINTERFACE is the target's address."""
    files = {"pxelinux.cfg__default": menu("root=overlay:aoe=eth0")}
    assert error(caught("aoe-target-is-no-interface", **files), 2, "eth0")
    assert not caught("aoe-target-is-no-interface", **{"pxelinux.cfg__default": menu("root=overlay:aoe=e0.1")})


def test_ramdisk_size_in_bytes(caught: Caught) -> None:
    """The kernel counts KiB."""
    files = {"pxelinux.cfg__default": menu("ramdisk_size=2147483648")}
    assert warning(caught("ramdisk-size-in-bytes", **files), 2, "2097152")


def test_bootif_in_capitals(caught: Caught) -> None:
    """Silently ignored."""
    files = {"pxelinux.cfg__default": menu("BOOTIF=01-AA-bb-cc-dd-ee-ff")}
    assert warning(caught("bootif-in-capitals", **files), 2, "lower case")


# Item 5 (only a .sha256 is there) is no trap here: the .md5 is made. Item 6: spellings.


def test_mac_in_two_files(caught: Caught) -> None:
    """One machine, two spellings: the client's own wins."""
    found = caught("mac-in-two-files", RAM, **{"KIWI__config.52-54-00-a1-b2-c3": RAM})
    assert warning(found, 0, "52:54:00:A1:B2:C3 is the same machine")


def test_mac_never_matches(caught: Caught) -> None:
    """Lists of MACs are compared as text."""
    groups = "KIWI_GROUP='a'\na_KIWI_MAC_LIST='52-54-00-a1-b2-c3'\n"
    assert warning(caught("mac-never-matches", **{"KIWI__config.group": groups}), 2, "upper case")


def test_config_never_asked_for(caught: Caught) -> None:
    """There is no alias in any look-up."""
    assert warning(caught("config-never-asked-for", **{"KIWI__config.till1": RAM}), 0, "no client asks")
    groups = {"KIWI__config.group": "KIWI_GROUP='till1'\n", "KIWI__config.till1": RAM}
    assert not caught("config-never-asked-for", **groups)


# Item 7: documented, and not working.


def test_unionfs_configuration(caught: Caught) -> None:
    """The documentation's heading."""
    assert error(caught("unionfs-configuration", "UNIONFS_CONFIGURATION='a,b,overlay'\n"), 1, "UNIONFS_CONFIG")


def test_overlayfs_is_no_type(caught: Caught) -> None:
    """The documentation's spelling."""
    assert error(caught("overlayfs-is-no-type", "UNIONFS_CONFIG='tmpfs,nbd,overlayfs'\n"), 1, "say overlay")


def test_upper_case_x(caught: Caught) -> None:
    """The documentation's rest of the disk."""
    assert error(caught("upper-case-x", "PART='5;82;x,X;83;/'\n"), 1, "write x")


def test_boot_timeout_in_capitals(caught: Caught) -> None:
    """The documented key is never read."""
    assert warning(caught("boot-timeout-in-capitals", "KIWI_BOOT_TIMEOUT='5'\n"), 1, "both spellings")
    assert not caught("boot-timeout-in-capitals", "KIWI_BOOT_TIMEOUT='5'\nkiwi_boot_timeout='5'\n")


def test_raid_without_disk(caught: Caught) -> None:
    """The documentation's example."""
    assert error(caught("raid-without-disk", "RAID='1;/dev/sda;/dev/sdb'\n"), 1, "set DISK")


@pytest.mark.parametrize("key", ["KIWI_KERNEL", "KIWI_INITRD"])
def test_kernel_or_initrd_alone(caught: Caught, key: str) -> None:
    """The documentation shows the initrd alone."""
    assert warning(caught("kernel-or-initrd-alone", f"DISK='/dev/sda'\n{key}='/boot/x'\n"), 2, "without the other")


def test_empty_field(caught: Caught) -> None:
    """The documented local write device becomes a swap export."""
    assert error(caught("empty-field", "NBDROOT='s;root;/dev/nbd0;;;;/dev/sda2'\n"), 1, "move left")


def test_nfs_remote_write(caught: Caught) -> None:
    """Documented, tested against an overwritten variable."""
    config = "NFSROOT='s;/srv'\nUNIONFS_CONFIG='/srv/rw,nfs,overlay'\n"
    assert error(caught("nfs-remote-write", config), 2, "tmpfs,nfs,overlay")


def test_value_goes_on_with_backslash(caught: Caught) -> None:
    """The documentation breaks long values over lines."""
    assert error(caught("value-goes-on-with-backslash", "A='a,\\\nb'\n"), 1, "later keys are lost")


def test_comment_behind_value(caught: Caught) -> None:
    """The comment becomes part of the value."""
    assert error(caught("comment-behind-value", "A='x' # why\n"), 1, "line of its own")


def test_lines_end_as_on_windows(caught: Caught) -> None:
    """No name with a carriage return is found."""
    assert error(caught("lines-end-as-on-windows", "A='x'\r\nB='x'\r\n"), 1, "2 values")


def test_image_path_in_name(caught: Caught) -> None:
    """One documented example has it."""
    assert error(caught("image-path-in-name", "IMAGE='/dev/ram1;image/a;1;s;4096'\n"), 1, "leave image/ out")


def test_key_never_read(caught: Caught) -> None:
    """Keys that people ask for."""
    assert warning(caught("key-never-read", "POWEROFF='yes'\n"), 1, "POWEROFF")


# Item 8: partitions.


@pytest.mark.parametrize(("letter", "number"), [("S", "82"), ("L", "83"), ("V", "8e")])
def test_letters_for_partition_types(caught: Caught, letter: str, number: str) -> None:
    """A silent wipe at each network boot."""
    assert warning(caught("letters-for-partition-types", f"PART='5;{letter};x'\n"), 1, f"published as {number}")


def test_size_with_unit(caught: Caught) -> None:
    """The same by another way."""
    assert warning(caught("size-with-unit", "PART='5G;83;/'\n"), 1, "published as a number")


def test_raid_image_elsewhere(caught: Caught) -> None:
    """The image on one half of a mirror."""
    config = "DISK='/dev/sda'\nRAID='1;/dev/sda;/dev/sdb'\nIMAGE='/dev/sda2;a;1;s;4096'\n"
    assert error(caught("raid-image-elsewhere", config), 3, "/dev/md0")


def test_disk_without_partitions(caught: Caught) -> None:
    """Nothing to put an image on."""
    assert warning(caught("disk-without-partitions", "DISK='/dev/sda'\n"), 1, "set PART")


def test_overlay_off_its_partitions(caught: Caught) -> None:
    """Local boot has 2 and 3 hard-wired."""
    config = "DISK='/dev/sda'\nUNIONFS_CONFIG='/dev/sda5,/dev/sda2,overlay'\n"
    assert warning(caught("overlay-off-its-partitions", config), 2, "leave 3")


# Item 9: uploads.


def test_uploads_elsewhere(write: Write, tmp_path: Path) -> None:
    """A link out of the tree."""
    root = write({"KIWI/config.default": RAM})
    (root / "upload").symlink_to("/tmp")  # noqa: S108  # any folder will do
    assert [finding.trap for finding in check_tree(Site(root)) if finding.path == "upload"] == ["uploads-elsewhere"]


# Item 10: what is named has to be there.


def test_reboot_image_loops(caught: Caught) -> None:
    """At the end of every network boot."""
    assert warning(caught("reboot-image-loops", "REBOOT_IMAGE='yes'\n"), 1, "for ever")


def test_reload_image_always(caught: Caught) -> None:
    """A forced download is forced each time."""
    assert warning(caught("reload-image-always", "RELOAD_IMAGE='yes'\n"), 1, "anew")


def test_config_file_missing(caught: Caught) -> None:
    """The client installs an empty file."""
    config = "CONF='conf/a;/etc/a;s;4096'\n"
    assert error(caught("config-file-missing", config), 1, "empty /etc/a")
    assert not caught("config-file-missing", config, conf__a="x")


def test_image_missing(caught: Caught) -> None:
    """With the mend where a compressed one is there."""
    assert error(caught("image-missing", RAM), 1, "put it there")
    assert error(caught("image-missing", RAM, **{"image__a-1.xz": "x"}), 1, "compressed-xz")
    assert not caught("image-missing", RAM, **{"image__a-1": "x"})


def test_kernel_missing(caught: Caught) -> None:
    """A disk that will not boot by itself."""
    config = "KIWI_KERNEL='/boot/linux'\nKIWI_INITRD='/boot/initrd'\n"
    assert error(caught("kernel-missing", config, boot__linux="x"), 2, "/boot/initrd is missing")


def test_group_config_missing(caught: Caught) -> None:
    """The group's machines reboot."""
    found = caught("group-config-missing", **{"KIWI__config.group": "KIWI_GROUP='a'\n"})
    assert error(found, 1, "KIWI/config.a is missing")


def test_group_file_without_groups(caught: Caught) -> None:
    """Fatal for everybody without a file of his own."""
    assert error(caught("group-file-without-groups", **{"KIWI__config.group": "A='1'\n"}), 0, "KIWI_GROUP")


def test_group_name_no_identifier(caught: Caught) -> None:
    """It becomes part of a variable's name."""
    found = caught("group-name-no-identifier", **{"KIWI__config.group": "KIWI_GROUP='a-b'\n"})
    assert error(found, 1, "letters")


def test_hardware_map_missing(caught: Caught) -> None:
    """The map's machines reboot."""
    assert error(caught("hardware-map-missing", "HARDWARE_MAP='m'\n"), 1, "hardware_config.m is missing")


def test_several_hardware_maps(caught: Caught) -> None:
    """Only the first is tested."""
    assert warning(caught("several-hardware-maps", "HARDWARE_MAP='m n'\n"), 1, "only m")


def test_empty_config(caught: Caught) -> None:
    """Fixture F14: as good as missing."""
    assert warning(caught("empty-config", **{"KIWI__config.default": ""}), 0, "missing")


def test_config_unreadable(caught: Caught) -> None:
    """Longer than any configuration."""
    assert error(caught("config-unreadable", **{"KIWI__config.default": "#" * 70_000}), 0, "longer")


# Item 11: who may write.


def test_write_export_for_many(caught: Caught) -> None:
    """A default or a group is read by several machines."""
    config = "NBDROOT='s;a;/dev/nbd0;swap;/dev/nbd1;rw;/dev/nbd2'\n"
    assert error(caught("write-export-for-many", **{"KIWI__config.default": config}), 1, "formats the same")
    assert not caught("write-export-for-many", **{MAC_CONFIG.replace("/", "__"): config, "KIWI__config.default": ""})


def test_write_export_shared(caught: Caught) -> None:
    """Two machines with one target."""
    config = "AOEROOT='/dev/etherd/e0.1,/dev/etherd/e17.1'\n"
    found = caught("write-export-shared", config, **{"KIWI__config.52:54:00:A1:B2:C4": config})
    assert error(found, 0, "in turn")


# Items 12 and 17: services.


def test_nfs_needs_version_3(caught: Caught) -> None:
    """An NFSv4-only server cannot serve it."""
    assert warning(caught("nfs-needs-version-3", "NFSROOT='s;/srv'\n"), 1, "version 3")


def test_nbd_by_port(caught: Caught) -> None:
    """Ports became names in 2014."""
    assert error(caught("nbd-by-port", "NBDROOT='s;2000;/dev/nbd0'\n"), 1, "no port")


def test_nbd_export_missing(caught: Caught) -> None:
    """Images are the exports' names."""
    assert warning(caught("nbd-export-missing", "NBDROOT='s;root;/dev/nbd0'\n"), 1, "no image/root")


# What sections 2 and 3 add.


def test_root_ignored(caught: Caught) -> None:
    """Disk and memory come first."""
    assert warning(caught("root-ignored", f"{RAM}AOEROOT='/dev/etherd/e0.1'\n"), 2, "is ignored")


def test_several_roots(caught: Caught) -> None:
    """The last one wins."""
    assert warning(caught("several-roots", "NBDROOT='s;a;/dev/nbd0'\nNFSROOT='s;/a'\n"), 2, "NBDROOT wins")


def test_no_root_at_all(caught: Caught) -> None:
    """Nothing to boot."""
    assert warning(caught("no-root-at-all", "CONF='a;/a;s;1024'\n"), 0, "names no root")


def test_several_images(caught: Caught) -> None:
    """Code and documentation differ on which is the root."""
    config = "IMAGE='/dev/ram1;a;1;s;4096,/dev/ram2;b;1;s;4096'\n"
    assert warning(caught("several-images", config), 1, "last image")


def test_image_larger_than_ramdisk(caught: Caught, tmp_path: Path) -> None:
    """Fixture F1c: 500 MiB unless told otherwise, and the image has to be smaller."""
    (tmp_path / "image").mkdir()
    with (tmp_path / "image/a-1").open("wb") as file:
        file.truncate(524_288_000)
    assert warning(caught("image-larger-than-ramdisk", RAM), 1, "ramdisk_size=512001")


def test_image_larger_than_tftp(caught: Caught, tmp_path: Path) -> None:
    """65,535 blocks of 65,464 bytes."""
    (tmp_path / "image").mkdir()
    with (tmp_path / "image/a-1").open("wb") as file:
        file.truncate(65535 * 65464)
    assert warning(caught("image-larger-than-tftp", RAM), 1, "kiwiservertype=http")


def test_kernel_cmdline_wins(caught: Caught) -> None:
    """Whoever edits it chooses the root."""
    assert warning(caught("kernel-cmdline-wins", "ALLOW_CMDLINE_OVERWRITE='yes'\n"), 1, "replaces")
