"""What IMAGE, NBDROOT, AOEROOT and UNIONFS_CONFIG may say, and file systems told apart."""

from pathlib import Path

import pytest

from tests.appliance.initrd.conftest import Shell


@pytest.mark.parametrize(
    ("function", "value", "reason"),
    [
        ("parse_image", "sda2;edge;1;s;4096", "names no image"),
        ("parse_image", "/dev/../etc/shadow;edge;1;s;4096", "names no image"),
        ("parse_image", "/dev/ram1;;1;s;4096", "names no image"),
        ("parse_image", "/dev/ram1;edge", "names no image"),
        ("parse_image", "/dev/ram1;../../etc/passwd;1", "names no image"),
        ("parse_image", "/dev/ram1;a b;1", "names no image"),
        ("parse_image", "/dev/ram1;$(x);1", "names no image"),
        ("parse_image", "/dev/ram1;edge;1;s;512;zip", "zip is an unknown compression"),
        ("parse_nbdroot", "10.0.0.1", "names no server or export"),
        ("parse_nbdroot", "10.0.0.1;-x", "names no server or export"),
        ("parse_nbdroot", "-x;root", "names no server or export"),
        ("parse_nbdroot", "10.0.0.1;root;/dev/sda", "/dev/sda is no NBD device"),
        ("parse_nbdroot", "10.0.0.1;root;/dev/nbd0/../sda", "is no NBD device"),
        ("parse_nbdroot", "10.0.0.1;root;/dev/nbd0;-x", "names no server or export"),
        ("parse_nbdroot", "10.0.0.1;root;/dev/nbd0;swap;/dev/sda1", "/dev/sda1 is no NBD device"),
        ("parse_nbdroot", "10.0.0.1;root;/dev/nbd0;;;rw;/dev/sda1", "/dev/sda1 is no NBD device"),
        ("parse_nbdroot", "10.0.0.1;root;/dev/nbd0;;;;/etc/shadow", "/etc/shadow is no device"),
        ("parse_aoeroot", "/dev/etherd/e0.1,/etc/shadow", "/etc/shadow is no device"),
        ("parse_nfsroot", "10.0.0.1;srv", "names no server's address or folder"),
        ("parse_nfsroot", "10.0.0.1,rw;/srv", "names no server's address or folder"),
        ("parse_nfsroot", "10.0.0.1;/srv/../etc", "names no server's address or folder"),
        ("parse_aoeroot", "/dev/sda", "names no AoE device"),
        ("parse_aoeroot", "/dev/etherd/e0", "names no AoE device"),
        ("parse_aoeroot", "/dev/etherd/e0.1.2", "names no AoE device"),
        ("parse_aoeroot", "/dev/etherd/e0.1;x", "names no AoE device"),
    ],
)
def test_bad_values_fail_with_a_remedy(shell: Shell, function: str, value: str, reason: str) -> None:
    """One line that names the value and says what to write."""
    done = shell(f'{function} "$1"', value)
    assert done.returncode == 9
    assert reason in done.stdout.decode()
    assert ": write " in done.stdout.decode().replace("; write ", ": write ")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("10.0.0.1;root", "10.0.0.1 root /dev/nbd0 - /dev/nbd1 - -"),
        (";root;;", "10.9.9.9 root /dev/nbd0 - /dev/nbd1 - -"),
        ("10.0.0.1;root;/dev/nbd3", "10.0.0.1 root /dev/nbd3 - /dev/nbd1 - -"),
        ("10.0.0.1;root;/dev/nbd0;;;;/dev/sda2", "10.0.0.1 root /dev/nbd0 - /dev/nbd1 - /dev/sda2"),
        ("10.0.0.1;root;/dev/nbd0;;;;tmpfs", "10.0.0.1 root /dev/nbd0 - /dev/nbd1 - -"),
        ("10.0.0.1;root;/dev/nbd0;;;rw", "10.0.0.1 root /dev/nbd0 - /dev/nbd1 rw /dev/nbd2"),
        (
            "10.0.0.1;root;/dev/nbd0;swap;/dev/nbd7;rw;/dev/nbd5",
            "10.0.0.1 root /dev/nbd0 swap /dev/nbd7 rw /dev/nbd5",
        ),
    ],
)
def test_nbdroot(shell: Shell, value: str, expected: str) -> None:
    """Server (by default the boot server), exports and devices; empty fields keep their places."""
    script = """
    server=10.9.9.9:8080
    parse_nbdroot "$1"
    printf '%s ' "$nbd_server" "$nbd_export" "$root_device" "${nbd_swap_export:--}" "$nbd_swap_device" \\
        "${nbd_write_export:--}" "${write_device:--}"
    """
    assert shell(script, value).stdout.decode().rstrip() == expected


@pytest.mark.parametrize(
    ("memory", "always", "opened"),
    [
        (63487, "", "swap /dev/nbd1, rw /dev/nbd2, root /dev/nbd0, "),
        (63488, "", "rw /dev/nbd2, root /dev/nbd0, "),
        (16 << 20, "1", "swap /dev/nbd1, rw /dev/nbd2, root /dev/nbd0, "),
    ],
)
def test_swap_is_for_machines_with_little_memory(shell: Shell, memory: int, always: str, opened: str) -> None:
    """Less than 62 MiB, in KiB; or those that were told to (F5). Swap, changes, root, in this order."""
    script = """
    config_nbdroot='10.0.0.1;root;/dev/nbd0;swap;/dev/nbd1;rw;/dev/nbd2' always_swap=$2 total=$1
    read_memory() { [ "$1" = MemTotal ] && memory=$total; }
    modprobe() { :; }
    use_swap() { :; }
    connect_patiently() { printf '%s %s, ' "$2" "$3"; }
    open_nbd
    """
    assert shell(script, str(memory), always).stdout.decode() == opened


def test_memory_is_read_from_the_kernel(shell: Shell) -> None:
    """The total is the first line's number, what is available no more than that."""
    script = 'read_memory MemTotal; total=$memory; read_memory MemAvailable; printf "%s %s" $total $memory'
    total, available = map(int, shell(script).stdout.split())
    assert total == int(Path("/proc/meminfo").read_text().split()[1])
    assert 0 < available <= total


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/dev/etherd/e17.1", "/dev/etherd/e17.1 -"),
        ("/dev/etherd/e17.1,tmpfs", "/dev/etherd/e17.1 -"),
        ("/dev/etherd/e17.1,/dev/etherd/e1.1", "/dev/etherd/e17.1 /dev/etherd/e1.1"),
        ("/dev/etherd/e17.1,/dev/sda1", "/dev/etherd/e17.1 /dev/sda1"),
    ],
)
def test_aoeroot(shell: Shell, value: str, expected: str) -> None:
    """The root's device and the one for changes."""
    script = 'parse_aoeroot "$1"; printf "%s %s" "$root_device" "${write_device:--}"'
    assert shell(script, value).stdout.decode() == expected


@pytest.mark.parametrize(("value", "expected"), [("10.0.0.1;/srv/a", "10.0.0.1:/srv/a"), (";/a", "10.9.9.9:/a")])
@pytest.mark.parametrize("unionfs", ["", "tmpfs,nfs,overlay"])
def test_nfsroot(shell: Shell, value: str, expected: str, unionfs: str) -> None:
    """Version 3 without locks, to be written to only without an overlay. The mount itself is not made here."""
    script = """
    server=10.9.9.9 root_mode=nfs config_nfsroot=$1 config_unionfs=$2
    require_extra() { :; }
    modprobe() { :; }
    mkdir() { :; }
    mount() { echo "$*" >> calls; }
    open_nfs && try_mount_root
    cat calls
    """
    calls = shell(script, value, unionfs).stdout.decode().splitlines()[1:]
    options = f"vers=3,nolock,proto=tcp,addr={expected.partition(':')[0]} {expected}"
    if unionfs:
        assert calls[0] == f"-t nfs -o ro,{options} /lower"
        assert calls[2].startswith("-t overlay")
    else:
        assert calls == [f"-t nfs -o rw,{options} /root"]


@pytest.mark.parametrize(
    ("unionfs", "filesystem", "status"),
    [
        ("tmpfs,nbd,overlay", "ext4", 0),
        ("/dev/ram2,/dev/ram1,unionfs", "squashfs", 0),
        ("tmpfs,nbd,overlayfs", "squashfs", 0),
        ("/dev/sda3,/dev/sda2,overlay", "squashfs", 0),
        ("tmpfs,nbd,clicfs", "squashfs", 9),
        ("tmpfs", "squashfs", 9),
        ("", "squashfs", 0),
        ("", "ext4", 1),
    ],
)
def test_overlay_is_wanted(shell: Shell, unionfs: str, filesystem: str, status: int) -> None:
    """As UNIONFS_CONFIG says; without it where the root can't be written to; unknown types fail."""
    done = shell("config_unionfs=$1 filesystem=$2 root_mode=nbd; wants_overlay", unionfs, filesystem)
    assert done.returncode == status


@pytest.mark.parametrize(
    ("offset", "magic", "expected"),
    [
        (0, b"hsqs", "squashfs"),
        (0, b"XFSB", "xfs"),
        (1024, b"\xe2\xe1\xf5\xe0", "erofs"),
        (1080, b"\x53\xef", "ext4"),
        (32769, b"CD001", "iso9660"),
        (65600, b"_BHRfS_M", "btrfs"),
        (0, b"", "none"),
        (0, b"PK\3\4", "none"),
    ],
)
def test_filesystem_is_told_by_its_magic(
    shell: Shell, tmp_path: Path, offset: int, magic: bytes, expected: str
) -> None:
    """Each magic number where its file system has it; anything else is none."""
    image = bytearray(70000)
    image[offset : offset + len(magic)] = magic
    (tmp_path / "image").write_bytes(image)
    script = 'detect_filesystem "$1" && printf %s "$filesystem" || printf none'
    assert shell(script, tmp_path / "image").stdout.decode() == expected


def test_a_device_shorter_than_a_magic_offset_is_read(shell: Shell, tmp_path: Path) -> None:
    """A squashfs of 4 KiB is one, though btrfs' number would lie behind its end."""
    (tmp_path / "image").write_bytes(b"hsqs" + bytes(4092))
    assert shell('detect_filesystem "$1" && printf %s "$filesystem"', tmp_path / "image").stdout == b"squashfs"
