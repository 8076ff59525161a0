"""An image looked into: what boots, what it needs, and what a rule file changes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.deployment.kinds import Kind
from appliance.deployment.rules import Rule, read_rule
from appliance.deployment.survey import survey
from appliance.errors import OperatorError
from storage.squashfs import Squashfs
from tests.appliance.deployment import archives
from tests.appliance.deployment.archives import VERSION, archive, kernel, zstd
from tests.appliance.deployment.conftest import Files

FilesOf = Callable[[Files], Squashfs]
KERNEL = f"/boot/vmlinuz-{VERSION}"
INITRD = f"/boot/initrd.img-{VERSION}"
MODULES = f"/usr/lib/modules/{VERSION}"


def test_a_kernel_and_its_initramfs_boot(files_of: FilesOf) -> None:
    """What mounts the root is told by the initramfs."""
    found = survey(files_of({KERNEL: kernel(), INITRD: zstd(archive(archives.KIWI_OVERLAY))}), Rule())
    assert (found.kernel, found.version, found.initrd) == (KERNEL, VERSION, INITRD)
    assert found.ways == {"nbd": Kind.KIWI_OVERLAY, "aoe": Kind.KIWI_OVERLAY}
    assert (found.problem, found.remarks) == ("", ())


def test_an_initramfs_for_disks_leaves_it_to_our_own(files_of: FilesOf) -> None:
    """It is passed over with the reason; the modules are there to make another."""
    files = {KERNEL: kernel(), INITRD: archive(archives.LOCAL), f"{MODULES}/modules.dep": b""}
    found = survey(files_of(files), Rule())
    assert (found.kernel, found.initrd, found.modules, dict(found.ways)) == (KERNEL, "", MODULES, {})
    assert found.remarks == (f"{INITRD} can't mount a root over the network",)


def test_a_damaged_initramfs_and_one_for_another_kernel_are_remarked(files_of: FilesOf) -> None:
    """The second would have been taken by its name."""
    files = {KERNEL: kernel(), INITRD: b"\x1f\x8bxx", "/boot/initrd": archive({"lib/modules/5.10/modules.dep": b""})}
    found = survey(files_of(files), Rule())
    assert found.remarks[0].startswith(f"{INITRD} is damaged")
    assert found.remarks[1] == f"/boot/initrd is made for 5.10, not {VERSION}"


def test_the_newest_kernel_that_has_anything_wins(files_of: FilesOf) -> None:
    """One without initramfs and modules boots nothing."""
    files = {
        "/boot/vmlinuz-6.9.0-amd64": kernel("6.9.0-amd64"),
        KERNEL: kernel(),
        "/boot/vmlinuz-5.10.0": kernel("5.10.0"),
        INITRD: archive(archives.LIVE_BOOT),
        "/boot/initrd.img-5.10.0": archive(archives.LIVE_BOOT),
    }
    assert survey(files_of(files), Rule()).kernel == KERNEL


@pytest.mark.parametrize(
    ("files", "rule", "problem"),
    [
        ({"/etc/motd": b""}, Rule(), "it holds no kernel"),
        ({KERNEL: kernel()}, Rule(), "neither an initramfs nor modules"),
        ({KERNEL: kernel()}, Rule(kernel="/boot/other"), "rule file's kernel /boot/other is not in it"),
        ({KERNEL: kernel(), INITRD: b""}, Rule(initrd="own"), "neither an initramfs nor modules"),
    ],
)
def test_what_does_not_boot_says_why(files_of: FilesOf, files: Files, rule: Rule, problem: str) -> None:
    """In words for the machine's screen and the log."""
    found = survey(files_of(files), rule)
    assert problem in found.problem
    assert found.kernel == ""


def test_a_rule_names_what_is_not_found(files_of: FilesOf) -> None:
    """Kernel and initramfs of any name, and who mounts the root where that can't be told."""
    files = {
        "/opt/k": kernel("9.9"),
        "/opt/i": b"of no known kind",
        KERNEL: kernel(),
        INITRD: archive(archives.LIVENET),
    }
    found = survey(files_of(files), Rule(kernel="/opt/k", initrd="/opt/i", kind=Kind.LIVENET))
    assert (found.kernel, found.version, found.initrd) == ("/opt/k", "9.9", "/opt/i")
    assert found.ways == {"ram": Kind.LIVENET}


def test_a_rule_may_want_our_own_initramfs(files_of: FilesOf) -> None:
    """Although the image's would do."""
    files = {KERNEL: kernel(), INITRD: archive(archives.KIWI_OVERLAY), f"{MODULES}/kernel/nbd.ko": b""}
    found = survey(files_of(files), Rule(initrd="own"))
    assert (found.initrd, found.modules) == ("", MODULES)


def test_a_rule_that_names_a_missing_initramfs_is_remarked(files_of: FilesOf) -> None:
    """The image may still boot by our own."""
    found = survey(files_of({KERNEL: kernel(), f"{MODULES}/modules.dep": b""}), Rule(initrd="/boot/nope"))
    assert found.remarks == ("/boot/nope is not in it",)


def test_rule_files_are_read(tmp_path: Path) -> None:
    """Every key there is."""
    path = tmp_path / "edge.toml"
    path.write_text('kernel = "/boot/k"\ninitrd = "own"\nkind = "live-boot"\nappend = "quiet"\nroot = "ram"\n')
    expected = Rule(kernel="/boot/k", initrd="own", kind=Kind.LIVE_BOOT, append="quiet", root="ram")
    assert read_rule(path) == expected


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('kernal = "/x"', "kernal"),
        ('kernel = "boot/k"', "kernel"),
        ('kernel = "/boot/../k"', "kernel"),
        ('kernel = "/boot/my kernel"', "kernel"),
        ('kind = "grub"', "kind"),
        ('root = "nfs"', "root"),
        ('append = "a\\nb"', "append"),
        ("kernel =", "no TOML"),
    ],
)
def test_a_bad_rule_file_is_named_with_the_key(tmp_path: Path, text: str, key: str) -> None:
    """As in the configuration: a typo is no silent default."""
    path = tmp_path / "edge.toml"
    path.write_text(text)
    with pytest.raises(OperatorError, match=f"rule file {path}.*{key}"):
        read_rule(path)
