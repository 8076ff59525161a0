"""storage.squashfs against unsquashfs and sqfs2tar: tree, metadata, extended attributes and every byte."""

import os
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from storage import squashfs
from storage.image import FileImage
from tests.storage.squashfs.facts import FORMATS, Facts, facts_of_folder, facts_of_image
from tests.storage.squashfs.trees import Tool, make_image

Repacked = tuple[Path, dict[bytes, Facts]]
IS_ROOT = os.geteuid() == 0
CODECS = ("gzip", "xz", "lzma", "zstd", "lz4", "lzo")
SIZES = [4096 << more for more in range(9)]  # 4 KiB to 1 MiB
MATRIX = [(codec, size) for codec in CODECS for size in (4096, 131072, 1048576)] + [
    ("gzip", size) for size in SIZES if size not in (4096, 131072, 1048576)
]
OPTIONS = [
    ["-noI"],
    ["-noD"],
    ["-noF"],
    ["-noX"],
    ["-noI", "-noD", "-noF", "-noX"],
    ["-no-fragments"],
    ["-always-use-fragments"],
    ["-tailends"],
    ["-no-xattrs"],
    ["-all-root"],
    ["-no-exports"],
    ["-no-sparse"],
    ["-no-duplicates"],
    ["-no-hardlinks"],
    ["-comp", "gzip", "-Xcompression-level", "1", "-Xwindow-size", "8", "-Xstrategy", "huffman_only,fixed"],
    ["-comp", "xz", "-Xbcj", "x86,arm", "-Xdict-size", "8K"],
    ["-comp", "zstd", "-Xcompression-level", "22"],
    ["-comp", "lz4", "-Xhc"],
    ["-comp", "lzo", "-Xalgorithm", "lzo1x_1_15"],
]


def as_seen_by_this_user(found: dict[bytes, Facts]) -> dict[bytes, Facts]:
    """Without what only root can unpack: devices, owners, and all extended attributes but those of users."""
    if IS_ROOT:
        return found
    return {
        path: replace(
            facts,
            owner=(0, 0),
            mode=facts.mode & ~0o6000,
            xattrs=tuple(pair for pair in facts.xattrs if pair[0].startswith(b"user.")),
        )
        for path, facts in found.items()
        if facts.device == (0, 0)
    }


def unpack(tool: Tool, image: Path, into: Path) -> dict[bytes, Facts]:
    """What unsquashfs makes of an image."""
    command = [tool("unsquashfs"), "-no-progress", "-quiet", "-dest", str(into), str(image)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not IS_ROOT, done.stderr
    return facts_of_folder(into)


def require_same(image: Path, unpacked: dict[bytes, Facts]) -> None:
    """What is read here is what was unpacked there, entry by entry."""
    ours, theirs = as_seen_by_this_user(facts_of_image(squashfs.open(FileImage(image)))), as_seen_by_this_user(unpacked)
    assert ours.keys() == theirs.keys()
    assert {path: facts for path, facts in ours.items() if theirs[path] != facts} == {}


@pytest.mark.parametrize(("codec", "block_size"), MATRIX)
def test_codecs_and_block_sizes(
    tool: Tool, tree_of: Callable[[int], Path], tmp_path: Path, codec: str, block_size: int
) -> None:
    """Every compressor with the smallest, the usual and the largest block; gzip with each there is."""
    image = make_image(tool, tree_of(block_size), tmp_path / "image", "-b", str(block_size), "-comp", codec)
    require_same(image, unpack(tool, image, tmp_path / "unpacked"))


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_options(tool: Tool, tree_of: Callable[[int], Path], tmp_path: Path, options: list[str]) -> None:
    """What mksquashfs leaves uncompressed, out of fragments, out of the image, or compresses otherwise."""
    image = make_image(tool, tree_of(16384), tmp_path / "image", "-b", "16384", *options)
    require_same(image, unpack(tool, image, tmp_path / "unpacked"))


@pytest.fixture(scope="module")
def repacked(tool: Tool, tree_of: Callable[[int], Path], tmp_path_factory: pytest.TempPathFactory) -> Repacked:
    """gensquashfs's image by each compressor, and what unsquashfs makes of the one by gzip.

    Not of each by itself: unsquashfs 4.5 refuses the table of owners of those by LZ4.
    """
    folder = tmp_path_factory.mktemp("gensquashfs")
    options = ["--keep-xattr", "--keep-time", "--quiet", "--block-size", "16384", "--pack-dir", str(tree_of(16384))]
    for codec in CODECS:
        subprocess.run([tool("gensquashfs"), *options, "--compressor", codec, str(folder / codec)], check=True)
    return folder, unpack(tool, folder / "gzip", folder / "unpacked")


@pytest.mark.parametrize("codec", CODECS)
def test_gensquashfs(repacked: Repacked, codec: str) -> None:
    """The other writer's images."""
    folder, unpacked = repacked
    require_same(folder / codec, unpacked)


def test_tar(tool: Tool, image_path: Path, tmp_path: Path) -> None:
    """Owners, devices and set-uid bits, which need no root this way: sqfs2tar's archive says the same."""
    with (tmp_path / "tar").open("wb") as file:
        subprocess.run([tool("sqfs2tar"), str(image_path)], stdout=file, check=True)
    image = squashfs.open(FileImage(image_path))
    with tarfile.open(tmp_path / "tar", errors="surrogateescape") as archive:
        members = {os.fsencode(member.name): member for member in archive if not member.islnk()}
    assert len(members) > 300
    for path, member in members.items():
        status = image.status(image.lookup(path, follow=False))
        assert (status.mode, status.uid, status.gid) == (member.mode & 0o7777, member.uid, member.gid)
        assert (status.made, status.device) == (member.mtime, (member.devmajor, member.devminor))
        assert member.size == (status.size if member.isreg() else 0)


def test_devices(image_path: Path) -> None:
    """Numbers, owners and kinds as mksquashfs was told."""
    image = squashfs.open(FileImage(image_path))
    seen = {entry.name: image.status(entry.reference) for entry in image.scan("dev")}
    facts = {name: (FORMATS[s.kind] | s.mode, s.uid, s.gid, *s.device) for name, s in seen.items()}
    assert facts == {
        b"sda": (0o060660, 0, 6, 8, 0),
        b"large": (0o060600, 0, 0, 4095, 1048575),
        b"null": (0o020666, 0, 0, 1, 3),
        b"pipe": (0o010600, 3, 4, 0, 0),
        b"socket": (0o140777, 5, 6, 0, 0),
    }
