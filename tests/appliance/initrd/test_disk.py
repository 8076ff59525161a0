"""DISK: when an image is fetched again and when it is not, and what is asked of the server meanwhile."""

import hashlib
from pathlib import Path

import pytest

from tests.appliance.initrd.conftest import Shell
from tests.appliance.initrd.stubs import Stub, http_stub

CONTENT = bytes(range(256)) * 192
SUM = hashlib.md5(CONTENT).hexdigest()
FILES = {"/image/a-1": CONTENT, "/image/b-1": CONTENT}
FILES |= {f"{name}.md5": f"{SUM} 12 4096\n".encode() for name in FILES}
# A disk whose table matches and whose root mounts: the marks in it are the test's.
OPEN = """
FETCH_RETRY_SECONDS=
server=127.0.0.1:$1 kiwiservertype=http from=test config_name=KIWI/config.default
config_disk=/dev/sda config_image=$2 config_reload_image=$4 TABLE=$5
find_disks() { disk=/dev/sda; }
tables_match() { [ -n "$TABLE" ]; }
make_tables() { say 'tables made'; }
await_device() { :; }
detect_filesystem() { :; }
try_mount_root() { say mounted; }
umount() { :; }
place_on_disk() { target=image-of-$image_name; }
ROOT=$3
open_disk
printf 'root %s %s' "$root_device" "$(ls | tr '\\n' ' ')"
"""
TWO = "/dev/sda2;a;1;s;512,/dev/sda3;b;1;s;512"
BOTH = f"a-1 {SUM}\nb-1 {SUM}\n"


def open_disk(
    shell: Shell, folder: Path, installed: str, *, image: str = TWO, reload: str = "", table: str = "same"
) -> tuple[list[str], list[str]]:
    """What was asked for and said."""
    (folder / "root/etc").mkdir(parents=True)
    for line in installed.splitlines():
        (folder / f"root/etc/ImageVersion-{line.split()[0]}").write_text(f"{line}\n")
    with http_stub(Stub(FILES)) as stub:
        done = shell(OPEN, str(stub.port), image, folder / "root", reload, table)
    asked = [name.removeprefix("/image/") for name in stub.asked if not name.endswith(".sha256")]
    return asked, done.stdout.decode().splitlines()


@pytest.mark.parametrize(
    ("installed", "asked"),
    [
        (BOTH, ["a-1.md5", "b-1.md5"]),
        (f"a-1 {SUM}\n", ["a-1.md5", "b-1.md5", "b-1.md5", "b-1"]),
        (f"a-1 {'0' * 32}\nb-1 {SUM}\n", ["a-1.md5", "b-1.md5", "a-1.md5", "a-1"]),
        ("", ["a-1.md5", "b-1.md5", "a-1.md5", "a-1", "b-1.md5", "b-1"]),
    ],
    ids=["up to date", "one is missing", "one is older", "none"],
)
def test_only_what_differs_is_fetched(shell: Shell, tmp_path: Path, installed: str, asked: list[str]) -> None:
    """No image for a disk that has them; the checksums of all are asked for first."""
    assert open_disk(shell, tmp_path, installed)[0] == asked


def test_another_table_is_another_disk(shell: Shell, tmp_path: Path) -> None:
    """The marks that an older root may have are not looked at."""
    asked, said = open_disk(shell, tmp_path, BOTH, table="")
    assert asked.count("a-1") == asked.count("b-1") == 1
    assert "rootwire: mounted" not in said


def test_reload_image(shell: Shell, tmp_path: Path) -> None:
    """Everything is fetched, whatever is on the disk."""
    asked, _ = open_disk(shell, tmp_path, BOTH, reload="yes")
    assert asked.count("a-1") == asked.count("b-1") == 1


def test_the_last_image_is_the_root(shell: Shell, tmp_path: Path) -> None:
    """As in KIWI's code, where nothing else says so."""
    _, said = open_disk(shell, tmp_path, BOTH)
    assert said[-1].startswith("root /dev/sda3 ")
    assert said[-2] == "rootwire: root disk /dev/sda3, image/b-1"


@pytest.mark.parametrize(
    ("setup", "diskful"),
    [
        ("config_disk=/dev/sda", True),
        ("config_raid='1;/dev/sda;/dev/sdb'", True),
        ("config_image='/dev/sda2;a;1'", True),
        ("config_image='/dev/ram1;a;1'", False),
        ("config_image='/dev/ram1;a;1' config_disk=/dev/sda", True),
        ("config_nbdroot=x", False),
    ],
)
def test_what_has_a_disk(shell: Shell, setup: str, diskful: bool) -> None:
    """DISK, RAID, or a first image that goes to one."""
    assert shell(f"{setup}; is_diskful").returncode == (0 if diskful else 1)


def test_disk_without_image(shell: Shell) -> None:
    """Said before the disk is touched."""
    done = shell("config_disk=/dev/sda config_name=KIWI/config.default; survey_images")
    assert done.returncode == 9
    assert b"has DISK, but no IMAGE" in done.stdout


def test_marks_are_what_the_next_boot_looks_for(shell: Shell, tmp_path: Path) -> None:
    """One for each image that was installed: name and checksum, as KIWI writes them."""
    (tmp_path / "run/stale").write_text(f"/dev/sda2 a-1 {SUM}\n")
    assert shell('ROOT=$1; mark_installed && is_current a-1 "$2" && ! is_current a-1 x', tmp_path, SUM).returncode == 0
    assert (tmp_path / "etc/ImageVersion-a-1").read_text() == f"a-1 {SUM}\n"


@pytest.mark.parametrize(
    ("setup", "expected"),
    [("config_reboot=yes", "reboot -f"), ("config_shutdown=yes", "poweroff -f"), (":", "")],
)
def test_after_an_install(shell: Shell, setup: str, expected: str) -> None:
    """REBOOT_IMAGE and kiwi_oemshutdown, which a boot without an install doesn't come to."""
    script = """
    reboot() { echo "reboot $*"; }
    poweroff() { echo "poweroff $*"; }
    grow_filesystems() { :; }
    install_kernel() { :; }
    mark_installed() { :; }
    : > "$RUN/stale"; finish_disk
    echo x > "$RUN/stale"; finish_disk
    """
    said = shell(f"{setup}\n{script}").stdout.decode().splitlines()
    assert [line for line in said if not line.startswith("rootwire:")] == ([expected] if expected else [])


def test_kernel_for_the_disks_boot_loader(shell: Shell, tmp_path: Path) -> None:
    """Both files in the order KIWI fetches them, and an entry for a loader that reads such."""
    script = """
    PATIENCE_SECONDS= server=127.0.0.1:$1 kiwiservertype=http from=test ROOT=$2
    config_kernel=/boot/linux config_initrd=/boot/initrd config_kernel_options='nomodeset quiet' config_timeout=10
    root_image=image/a-1 root_device=/dev/sda2
    install_kernel
    """
    with http_stub(Stub({"/boot/linux": b"kernel", "/boot/initrd": b"initrd"})) as stub:
        assert shell(script, str(stub.port), tmp_path).returncode == 0
    assert stub.asked == ["/boot/initrd", "/boot/linux"]
    assert [(tmp_path / f"boot/{name}.kiwi").read_text() for name in ("linux", "initrd")] == ["kernel", "initrd"]
    entry = (tmp_path / "boot/loader/entries/kiwi.conf").read_text()
    options = "options root=/dev/sda2 nomodeset quiet"
    assert entry.splitlines() == ["title a-1", "linux /boot/linux.kiwi", "initrd /boot/initrd.kiwi", options]
    assert (tmp_path / "boot/loader/loader.conf").read_text() == "timeout 10\n"
