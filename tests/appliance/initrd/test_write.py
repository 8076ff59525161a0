"""Devices for changes and for swap: what is used as it is, what is formatted, what is left alone."""

from pathlib import Path

import pytest

from tests.appliance.initrd.conftest import Shell

EXT4 = bytes(1080) + b"\x53\xef" + bytes(70000)
SWAP = bytes(4086) + b"SWAPSPACE2" + bytes(70000)
BLANK = bytes(80000)
OTHER = b"LABELONE" + bytes(80000)

# Tools that only say how they were called. Busybox runs its own by name, so those are functions.
FAKES = r"""
printf '#!/bin/sh\necho mkfs.ext4 "$@" >> calls\n' > mkfs.ext4
chmod +x mkfs.ext4
export PATH=$PWD:$PATH
mkswap() { echo mkswap "$@" >> calls; }
swapon() { echo swapon "$@" >> calls; }
mount() { echo mount "$@" >> calls; }
modprobe() { echo modprobe "$@" >> calls; }
require_tool() { :; }
: > calls
"""


def calls_after(shell: Shell, folder: Path, content: bytes, script: str) -> tuple[int, list[str], str]:
    """The status, the programs that were run, and what was said."""
    device = folder / "device"
    device.write_bytes(content)
    done = shell(f"{FAKES}({script}); status=$?; cat calls; exit $status", device)
    lines = done.stdout.decode().replace(str(device), "DEVICE").splitlines()
    ran = [line for line in lines if not line.startswith("rootwire:")]
    return done.returncode, ran, "\n".join(line for line in lines if line.startswith("rootwire:"))


MOUNT = "write_device=$1; mkdir() { :; }; mount_upper"
FORMAT = "mkfs.ext4 -q -F -L rootwire-write -E nodiscard,lazy_itable_init=1,lazy_journal_init=1 DEVICE"
USE = ["modprobe ext4", "mount -t ext4 DEVICE /upper"]


@pytest.mark.parametrize(
    ("content", "reload", "expected"),
    [
        (EXT4, "", USE),
        (BLANK, "", [FORMAT, *USE]),
        (EXT4, "yes", [FORMAT, *USE]),
        (EXT4, "no", USE),
    ],
    ids=["kept", "blank", "reload", "reload other than yes"],
)
def test_device_for_changes(shell: Shell, tmp_path: Path, content: bytes, reload: str, expected: list[str]) -> None:
    """A file system is used as it is, a blank device gets one, RELOAD_IMAGE=yes makes it anew."""
    script = f"config_reload_image={reload}; {MOUNT}"
    status, ran, said = calls_after(shell, tmp_path, content, script)
    assert (status, ran) == (0, expected)
    assert "changes are kept on DEVICE" in said


def test_what_is_not_ours_is_left_alone(shell: Shell, tmp_path: Path) -> None:
    """Nothing is written to a device that holds something else; the boot ends with a remedy."""
    status, ran, said = calls_after(shell, tmp_path, OTHER, MOUNT)
    assert (status, ran) == (9, [])
    assert "isn't blank (it begins with 4c4142454c4f4e450000000000000000): clear its first 68 KiB" in said
    assert (tmp_path / "device").read_bytes() == OTHER


@pytest.mark.parametrize(
    ("content", "expected"),
    [(SWAP, ["swapon DEVICE"]), (BLANK, ["mkswap DEVICE", "swapon DEVICE"]), (OTHER, []), (EXT4, [])],
    ids=["kept", "blank", "other", "file system"],
)
def test_swap(shell: Shell, tmp_path: Path, content: bytes, expected: list[str]) -> None:
    """Used with its signature, made where the device is blank; otherwise the boot goes on without."""
    status, ran, said = calls_after(shell, tmp_path, content, 'use_swap "$1"')
    assert (status, ran) == (0, expected)
    assert ("going on without" in said) == (not expected)


@pytest.mark.parametrize(
    ("mode", "unionfs", "ramonly", "device"),
    [
        ("disk", "/dev/null,/dev/sda2,overlay", "", "/dev/null"),
        ("disk", "tmpfs,/dev/sda2,overlay", "", ""),
        ("ram", "/dev/ram2,/dev/ram1,overlay", "", ""),
        ("nfs", "tmpfs,nfs,overlay", "", ""),
        ("nbd", "/dev/null,nbd,overlay", "", "own"),
        ("aoe", "aoe,aoe,overlay", "", "own"),
        ("aoe", "aoe,aoe,overlay", "yes", ""),
        ("disk", "/dev/null,/dev/sda2,overlay", "yes", ""),
    ],
)
def test_where_changes_go(shell: Shell, mode: str, unionfs: str, ramonly: str, device: str) -> None:
    """UNIONFS_CONFIG names it for disks and memory, the root's own key for NBD and AoE; kiwi_ramonly outranks both."""
    script = """
    await_device() { :; }
    require_extra() { :; }
    root_mode=$1 config_unionfs=$2 config_ramonly=$3
    case $1 in nbd | aoe) write_device=own ;; esac
    choose_write
    printf %s "$write_device"
    """
    assert shell(script, mode, unionfs, ramonly).stdout.decode() == device
