"""What IMAGE, NBDROOT, AOEROOT and UNIONFS_CONFIG may say, the image's verification, and file systems told apart."""

import gzip
import hashlib
import lzma
from pathlib import Path

import pytest

from tests.appliance.initrd.conftest import Shell
from tests.appliance.initrd.stubs import Stub, http_stub, tftp_stub


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/dev/ram1;edge.x86_64;1.2.0;10.11.0.1;4096", "image/edge.x86_64-1.2.0 4096  cat"),
        ("/dev/ram1;edge;1;;8192;compressed-xz", "image/edge-1 8192 .xz unxz"),
        ("/dev/ram1;edge;1;s;8192;compressed", "image/edge-1 8192 .gz gunzip"),
        ("/dev/ram1;edge;1;s;8192;compressed-gzip", "image/edge-1 8192 .gz gunzip"),
        ("/dev/ram1;edge;1;s;8192;uncompressed", "image/edge-1 8192  cat"),
        ("/dev/ram1;edge;1", "image/edge-1 8192  cat"),
        ("/dev/ram1;edge;1;s;0", "image/edge-1 8192  cat"),
        ("/dev/ram1;edge;1;s;65465", "image/edge-1 8192  cat"),
        ("/dev/ram1;edge;1;s;512,", "image/edge-1 512  cat"),
        (
            "/dev/ram1;edge;1;s;512,/dev/ram2;b;2",
            "rootwire: IMAGE: only its first entry is used\nimage/edge-1 512  cat",
        ),
    ],
)
def test_image_entry(shell: Shell, value: str, expected: str) -> None:
    """Path, block size, suffix and unpacker of the first entry."""
    script = 'parse_image "$1"; printf "%s %s %s %s" "$image_path" "$image_blksize" "$image_suffix" "$unpack"'
    assert shell(script, value).stdout.decode() == expected


@pytest.mark.parametrize(
    ("function", "value", "reason"),
    [
        ("parse_image", "/dev/sda2;edge;1;s;4096", "IMAGE goes to /dev/sda2: this client has no disks yet"),
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
        ("10.0.0.1;root", "10.0.0.1 root /dev/nbd0"),
        (";root;;", "10.9.9.9 root /dev/nbd0"),
        ("10.0.0.1;root;/dev/nbd3", "10.0.0.1 root /dev/nbd3"),
        (
            "10.0.0.1;root;/dev/nbd0;;;;/dev/sda2",
            "10.0.0.1 root /dev/nbd0",
        ),
        (
            "10.0.0.1;root;/dev/nbd0;swap;/dev/nbd1;rw;/dev/nbd2",
            "rootwire: NBDROOT: swap over NBD comes later: going on without\n"
            "rootwire: NBDROOT: a write export comes later: changes stay in memory\n10.0.0.1 root /dev/nbd0",
        ),
    ],
)
def test_nbdroot(shell: Shell, value: str, expected: str) -> None:
    """Server (by default the boot server), export and device; swap and write fields are named."""
    script = 'server=10.9.9.9:8080; parse_nbdroot "$1"; printf "%s %s %s" "$nbd_server" "$nbd_export" "$root_device"'
    assert shell(script, value).stdout.decode() == expected


def test_aoeroot(shell: Shell) -> None:
    """The device; a write device is named."""
    said = shell('parse_aoeroot "/dev/etherd/e17.1,/dev/etherd/e1.1"; printf %s "$root_device"').stdout
    assert (
        said == b"rootwire: AOEROOT: writing to /dev/etherd/e1.1 comes later: changes stay in memory\n/dev/etherd/e17.1"
    )


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
    ("text", "expected"),
    [
        ("0123456789ABCDEF0123456789abcdef 22400 8192\n", "0123456789abcdef0123456789abcdef 183500800"),
        ("0123456789abcdef0123456789abcdef 3 4096 7 100", "0123456789abcdef0123456789abcdef 12288"),
        ("0123456789abcdef0123456789abcdef 3 4096\r\n", "0123456789abcdef0123456789abcdef 12288"),
        ("0123456789abcdef0123456789abcdef 3\n", "bad"),
        ("0123456789abcdef 3 4096\n", "bad"),
        ("0123456789abcdef0123456789abcdeg 3 4096\n", "bad"),
        ("0123456789abcdef0123456789abcdef 0 4096\n", "bad"),
        ("0123456789abcdef0123456789abcdef 08 4096\n", "bad"),
        ("0123456789abcdef0123456789abcdef 99999999999 99999999\n", "bad"),
        ("<html>no such file</html>\n", "bad"),
        ("\n", "bad"),
    ],
)
def test_checksum_file(shell: Shell, tmp_path: Path, text: str, expected: str) -> None:
    """Three or five fields; anything else is refused, sums too big for the shell's numbers too."""
    (tmp_path / "md5").write_text(text)
    script = 'read_checksum "$1" && printf "%s %s" "$image_md5" "$image_size" || printf bad'
    assert shell(script, tmp_path / "md5").stdout.decode() == expected


CONTENT = bytes(range(256)) * 192  # 12 blocks of 4096
SUM = f"{hashlib.md5(CONTENT).hexdigest()} 12 4096\n".encode()
FETCH = """
mount() { :; }   # the file goes to the test's folder: no root needed
umount() { :; }
mkdir image
PROGRESS_SECONDS=0.1
parse_image "$2"
server=127.0.0.1:$1 from=test
fetch_image image/root && { cmp image/root "$3" && printf same; } || printf %s "$reason"
"""


@pytest.mark.parametrize("servertype", ["http", "tftp"])
@pytest.mark.parametrize(
    ("suffix", "data", "compression"),
    [
        ("", CONTENT, ""),
        ("", CONTENT + b"padding behind the image", ""),
        (".gz", gzip.compress(CONTENT), ";compressed"),
        (".xz", lzma.compress(CONTENT, check=lzma.CHECK_CRC32), ";compressed-xz"),
    ],
    ids=["plain", "padded", "gzip", "xz"],
)
def test_image_is_fetched_and_verified(
    shell: Shell, tmp_path: Path, servertype: str, suffix: str, data: bytes, compression: str
) -> None:
    """Over both protocols, unpacked on the way, exactly the bytes that the checksum file counts."""
    (tmp_path / "expected").write_bytes(CONTENT)
    slash = "/" if servertype == "http" else ""
    files = {f"{slash}image/a-1.md5": SUM, f"{slash}image/a-1{suffix}": data}
    value = f"/dev/ram1;a;1;s;512{compression}"
    with (http_stub if servertype == "http" else tftp_stub)(Stub(files)) as stub:
        done = shell(f"kiwiservertype={servertype}\n" + FETCH, str(stub.port), value, tmp_path / "expected")
    assert done.stdout.decode().splitlines()[-1] == "same"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (
            {"/image/a-1.md5": SUM, "/image/a-1": b"x" + CONTENT[1:]},
            "image/a-1 does not match its .md5 (49152 of 49152 bytes came)",
        ),
        (
            {"/image/a-1.md5": SUM, "/image/a-1": CONTENT[:-1]},
            "image/a-1 does not match its .md5 (49151 of 49152 bytes came)",
        ),
        ({"/image/a-1.md5": b"<html>\n", "/image/a-1": CONTENT}, "image/a-1.md5 is not of the form"),
        ({"/image/a-1.md5": SUM}, "404 Not Found"),
        ({}, "FAILED: image/a-1.md5 is not on test: put it there"),
    ],
    ids=["changed", "short", "no checksum file", "no image", "nothing"],
)
def test_bad_image_is_told_apart(shell: Shell, tmp_path: Path, files: dict[str, bytes], reason: str) -> None:
    """Each way to be wrong has its reason."""
    with http_stub(Stub(files)) as stub:
        done = shell("kiwiservertype=http\n" + FETCH, str(stub.port), "/dev/ram1;a;1;s;512", tmp_path / "none")
    assert reason in done.stdout.decode()


def test_image_bigger_than_memory_is_refused(shell: Shell) -> None:
    """Before the download, with both sizes and what to do."""
    done = shell("image_path=image/a-1 image_size=999999999999999; check_memory")
    assert done.returncode == 9
    assert b"image/a-1 needs 953674380 MiB of memory" in done.stdout


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
