"""IMAGE: its entries, checksums, the copy and its verification, over both protocols."""

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
        ("/dev/sda2;edge;1;s;512", "image/edge-1 512  cat"),
    ],
)
def test_image_entry(shell: Shell, value: str, expected: str) -> None:
    """Path, block size, suffix and unpacker of an entry."""
    script = 'parse_image "$1"; printf "%s %s %s %s" "$image_path" "$image_blksize" "$image_suffix" "$unpack"'
    assert shell(script, value).stdout.decode() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0123456789ABCDEF0123456789abcdef 22400 8192\n", "0123456789abcdef0123456789abcdef 183500800"),
        ("0123456789abcdef0123456789abcdef 3 4096 7 100", "0123456789abcdef0123456789abcdef 12288"),
        ("0123456789abcdef0123456789abcdef 3 4096\r\n", "0123456789abcdef0123456789abcdef 12288"),
        ("0123456789abcdef0123456789abcdef 3 4096 7 100\r\n", "0123456789abcdef0123456789abcdef 12288"),
        ("0123456789abcdef0123456789abcdef 3 4096 7\n", "bad"),
        ("0123456789abcdef0123456789abcdef 3 4096 x 100\n", "bad"),
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
    script = 'read_checksum "$1" 32 && printf "%s %s" "$checksum" "$checksum_size" || printf bad'
    assert shell(script, tmp_path / "md5").stdout.decode() == expected


CONTENT = bytes(range(256)) * 192  # 12 blocks of 4096
SUM = f"{hashlib.md5(CONTENT).hexdigest()} 12 4096\n".encode()
SHA = f"{hashlib.sha256(CONTENT).hexdigest()} 12 4096\n".encode()
FETCH = """
FETCH_RETRY_SECONDS=
fail() { say "FAILED: $*"; exit 9; }
place() { target=image; }
parse_image "$2"
image_version= server=127.0.0.1:$1 from=test
fetch_image_patiently place
head -c "$image_size" image | cmp - "$3" && printf same
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
            "image/a-1 does not match its checksum (49152 of 49152 bytes came)",
        ),
        (
            {"/image/a-1.md5": SUM, "/image/a-1": CONTENT[:-1]},
            "image/a-1 does not match its checksum (49151 of 49152 bytes came)",
        ),
        ({"/image/a-1.md5": b"<html>\n", "/image/a-1": CONTENT}, "image/a-1.md5 is not of the form"),
        (
            {"/image/a-1.md5": SUM, "/image/a-1.sha256": b"x\n", "/image/a-1": CONTENT},
            "image/a-1.sha256 is not of the form",
        ),
        (
            {"/image/a-1.md5": SUM, "/image/a-1.sha256": SHA.replace(b"12 ", b"11 "), "/image/a-1": CONTENT},
            "image/a-1.md5 and .sha256 are of images of different sizes",
        ),
        (
            {"/image/a-1.md5": SUM, "/image/a-1.sha256": b"0" + SHA[1:], "/image/a-1": CONTENT},
            "image/a-1 does not match its checksum (49152 of 49152 bytes came)",
        ),
        ({"/image/a-1.md5": SUM}, "404 Not Found"),
        ({}, "FAILED: image/a-1.md5 is not on test, nor .sha256: put it there"),
    ],
    ids=["changed", "short", "no checksum", "no sha256", "other size", "other sha256", "no image", "nothing"],
)
def test_bad_image_is_told_apart(shell: Shell, tmp_path: Path, files: dict[str, bytes], reason: str) -> None:
    """Each way to be wrong has its reason."""
    with http_stub(Stub(files)) as stub:
        done = shell("kiwiservertype=http\n" + FETCH, str(stub.port), "/dev/ram1;a;1;s;512", tmp_path / "none")
    assert reason in done.stdout.decode()


@pytest.mark.parametrize(
    ("offered", "asked", "by"),
    [
        ({".md5": SUM}, [".md5", ".sha256", ""], "md5"),
        ({".md5": SUM, ".sha256": SHA}, [".md5", ".sha256", ""], "sha256"),
        ({".sha256": SHA}, [".md5", ".sha256", ""], "sha256"),
    ],
)
def test_the_better_checksum_counts(
    shell: Shell, tmp_path: Path, offered: dict[str, bytes], asked: list[str], by: str
) -> None:
    """Which one it was is said; the image comes last."""
    (tmp_path / "expected").write_bytes(CONTENT)
    files = {f"/image/a-1{suffix}": line for suffix, line in offered.items()}
    with http_stub(Stub({**files, "/image/a-1": CONTENT})) as stub:
        done = shell("kiwiservertype=http\n" + FETCH, str(stub.port), "/dev/ram1;a;1", tmp_path / "expected")
    said = done.stdout.decode().splitlines()
    assert (said[-1], stub.asked) == ("same", [f"/image/a-1{suffix}" for suffix in asked])
    assert f"rootwire: image image/a-1 from test, {by} {hashlib.new(by, CONTENT).hexdigest()}" in said[-2]


def test_progress_is_one_line(shell: Shell) -> None:
    """Per cent, size and speed, over the line before."""
    script = "image_size=104857600; clock() { now=100; }; show_progress 26214400 0; show_progress 104857600 0"
    assert shell(script).stdout.decode().split("\r")[1:] == [
        "rootwire: image 25 % of 100 MiB, 25.9 MB/s ",
        "rootwire: image 100 % of 100 MiB, 103.8 MB/s ",
    ]


ENTRIES = """
modprobe() { :; }
check_memory() { :; }
mount() { :; }
umount() { :; }
losetup() { [ "$1" != -f ] || echo /dev/loop7; }
ln() { printf '%s\\n' "$*"; }
fetch_image_patiently() { image_size=4096; $1; target=image-of-$image_name; : > "$target"; }
config_image=$1 config_unionfs=$2
open_ram
printf '%s %s' "$root_image" "$(ls | tr '\\n' ' ')"
"""


@pytest.mark.parametrize(
    ("unionfs", "root"),
    [("", "image/b-2"), ("tmpfs,/dev/ram1,overlay", "image/a-1"), ("tmpfs,/dev/ram3,overlay", "image/b-2")],
)
def test_several_entries(shell: Shell, unionfs: str, root: str) -> None:
    """All are fetched; the root is the one that UNIONFS_CONFIG calls so, else the last. A comma too many is none."""
    done = shell(ENTRIES, "/dev/ram1;a;1;s;512,,/dev/ram2;b;2,", unionfs)
    said = done.stdout.decode().splitlines()
    assert said[-1].split(" ", 1) == [root, "image-of-a-1 image-of-b-2 "]
    assert said[:2] == ["-sf /dev/loop7 /dev/ram1", "-sf /dev/loop7 /dev/ram2"]


def test_image_bigger_than_memory_is_refused(shell: Shell) -> None:
    """Before the download, with both sizes and what to do."""
    done = shell("image_path=image/a-1 image_size=999999999999999; check_memory")
    assert done.returncode == 9
    assert b"image/a-1 needs 953674380 MiB of memory" in done.stdout
