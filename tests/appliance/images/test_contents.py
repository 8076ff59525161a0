"""`rootwire ls` and `cat`: the same names, facts and bytes as on the disk that the image was made from."""

import io
import json
import os
import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from appliance.errors import OperatorError
from appliance.images.contents import copy_file, escape, list_files
from tests.storage.squashfs.trees import make_image

Tool = Callable[[str], str]
ESCAPES = b"red\x1b[31m"
LATIN = "größe".encode("latin-1")
BIG = Random(0).randbytes(3_000_017)  # the same in every process: parts of it are in names of tests


class Screen(io.BytesIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files, links, a device's stand-in and odd names."""
    root = tmp_path_factory.mktemp("contents") / "root"
    (root / "boot/deep").mkdir(parents=True)
    (root / "boot/big").write_bytes(BIG)
    (root / "boot/deep/empty").touch()
    (root / "latest").symlink_to("boot/big")
    for name in (ESCAPES, LATIN):
        (root / os.fsdecode(name)).write_bytes(name)
    os.mkfifo(root / "pipe")
    for path in root.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o750)
    return root


@pytest.fixture(scope="session")
def image(tool: Tool, tree: Path) -> Path:
    """The tree and a device, packed."""
    path = make_image(tool, tree, tree.parent / "image")
    command = [tool("mksquashfs"), str(tree), str(path), "-noappend", "-quiet", "-p", "dev c 600 0 0 5 1"]
    subprocess.run(command, check=True, capture_output=True)
    return path


def listed(image: Path, path: str = "/", *, screen: bool = False, **options: bool) -> list[bytes]:
    """What `rootwire ls` writes, by line."""
    out = Screen() if screen else io.BytesIO()
    list_files(image, path, out, **options)
    return out.getvalue().splitlines()


def test_names_are_the_bytes_they_are(image: Path) -> None:
    """In the order of the image; a pipe gets nothing else."""
    assert listed(image) == sorted([b"boot", b"dev", ESCAPES, LATIN, b"latest", b"pipe"])


def test_a_terminal_gets_no_commands(image: Path) -> None:
    """What could be one is escaped, and folders are marked."""
    lines = listed(image, screen=True)
    assert b"red\\x1b[31m" in lines
    assert b"gr\\xf6\\xdfe" in lines
    assert b"boot/" in lines


def test_recursion_gives_every_path(image: Path, tree: Path) -> None:
    """As find does, from the folder on."""
    expected = {os.fsencode(path.relative_to(tree)) for path in tree.rglob("*")} | {b"dev"}
    assert set(listed(image, is_deep=True)) == expected
    assert listed(image, "boot", is_deep=True) == [b"big", b"deep", b"deep/empty"]


def test_a_file_is_listed_as_itself(image: Path) -> None:
    """By the path that was asked for."""
    assert listed(image, "/latest") == [b"/latest"]


def test_long_lines_have_what_ls_has(image: Path, tree: Path) -> None:
    """Mode, links, owners, size, time and target; a device its numbers."""
    lines = {line.split(b" ")[-1]: line for line in listed(image, "/", is_long=True)}
    found = (tree / "boot").stat()
    moment = datetime.fromtimestamp(int(found.st_mtime), UTC).strftime("%Y-%m-%d %H:%M")
    assert lines[b"boot"].split()[:4] == [b"drwxr-x---", b"3", b"%d" % found.st_uid, b"%d" % found.st_gid]
    assert moment.encode() in lines[b"boot"]
    assert lines[b"boot/big"].endswith(b"latest -> boot/big")
    assert b"crw-------" in lines[b"dev"]
    assert b" 5, 1 " in lines[b"dev"]


def test_json_has_everything(image: Path, tree: Path) -> None:
    """Numbers as numbers, names that are no UTF-8 so that Python gives them back."""
    rows = {os.fsencode(row["path"]): row for row in json.loads(b"".join(listed(image, as_json=True, is_deep=True)))}
    found = (tree / "boot/big").stat()
    assert rows[b"boot/big"] == {
        "path": "boot/big",
        "kind": "file",
        "mode": f"{stat.S_IMODE(found.st_mode):04o}",
        "uid": found.st_uid,
        "gid": found.st_gid,
        "links": 1,
        "size": len(BIG),
        "mtime": int(found.st_mtime),
        "target": None,
        "device": None,
    }
    assert rows[b"latest"]["target"] == "boot/big"
    assert (rows[b"dev"]["kind"], rows[b"dev"]["device"]) == ("character device", [5, 1])
    assert LATIN in rows


@pytest.mark.parametrize(
    ("offset", "length", "part"),
    [(0, None, BIG), (1_048_575, None, BIG[1_048_575:]), (5, 7, BIG[5:12]), (2_999_999, 9**9, BIG[2_999_999:])],
)
def test_cat_gives_the_bytes(image: Path, offset: int, length: int | None, part: bytes) -> None:
    """All, or a part; never more than there is."""
    out = io.BytesIO()
    copy_file(image, "/latest", out, offset=offset, length=length)
    assert out.getvalue() == part


def test_cat_behind_the_end_gives_nothing(image: Path) -> None:
    """As tail does."""
    out = io.BytesIO()
    copy_file(image, "/latest", out, offset=len(BIG) + 1)
    assert out.getvalue() == b""


@pytest.mark.parametrize(
    ("path", "why"),
    [("/none", "No such file"), ("/boot", "Is a directory"), ("/pipe", "Invalid"), ("/pipe/x", "Not a")],
)
def test_what_can_not_be_written_out_is_named(image: Path, path: str, why: str) -> None:
    """With the command that lists what can."""
    with pytest.raises(OperatorError, match=f"{path} in .*: {why}.*rootwire ls"):
        copy_file(image, path, io.BytesIO())


def test_what_is_no_image_is_named(image: Path, tmp_path: Path) -> None:
    """Absent, a folder, something else, cut off, damaged."""
    whole = image.read_bytes()
    (tmp_path / "text").write_text("hello\n")
    (tmp_path / "ext").write_bytes(bytes(1080) + b"\x53\xef" + bytes(4096))
    (tmp_path / "cut").write_bytes(whole[:-8192])
    (tmp_path / "torn").write_bytes(whole[:96] + bytes(len(whole) - 96))
    for name, why in {
        "none": "No such file",
        ".": "neither a file nor",
        "text": "no known file system",
        "ext": "is no squashfs",
        "cut": "is cut off",
        "torn": "is damaged",
    }.items():
        with pytest.raises(OperatorError, match=why):
            listed(tmp_path / name)


def test_a_full_disk_is_not_the_images_fault(image: Path) -> None:
    """Who writes the output to it is told so."""
    with (
        pytest.raises(OperatorError, match="standard output: No space left"),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        copy_file(image, "/latest", full)


def test_escape_keeps_what_can_be_read() -> None:
    """Letters of all scripts; nothing that moves a cursor or turns the line around."""
    assert escape("größe 漢字".encode()) == "größe 漢字"
    assert escape("a\nb\u202ec".encode()) == "a\\nb\\u202ec"
