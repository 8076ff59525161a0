"""Whose bytes are: the map of images whose files are where the test can see it."""

import os
import struct
from pathlib import Path

import pytest

from storage import squashfs
from storage.errors import StorageError
from storage.image import BytesImage, FileImage
from storage.squashfs import Kind
from storage.squashfs.owners import Intervals, Owners, Part, map_owners
from tests.storage.squashfs.trees import Tool, make_image

BLOCK = 4096


@pytest.fixture(scope="module")
def image(tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> FileImage:
    """Large files of random bytes, which stay as they are, two of them equal; small ones that share a fragment."""
    tree = tmp_path_factory.mktemp("owners") / "tree"
    (tree / "folder").mkdir(parents=True)
    (tree / "large").write_bytes(os.urandom(5 * BLOCK))
    (tree / "other").write_bytes(os.urandom(3 * BLOCK))
    (tree / "folder/same").write_bytes((tree / "other").read_bytes())
    os.link(tree / "large", tree / "folder/link")
    for name in ("a", "b", "c"):
        (tree / name).write_bytes(os.urandom(100))
    (tree / "tailed").write_bytes(os.urandom(BLOCK + 7))
    (tree / "empty").touch()
    options = ("-b", str(BLOCK), "-no-xattrs", "-always-use-fragments")
    return FileImage(make_image(tool, tree, tree.with_name("image"), *options))


@pytest.fixture(scope="module")
def owners(image: FileImage) -> Owners:
    """Its map."""
    return map_owners(squashfs.open(image))


def find(image: FileImage, content: bytes) -> int:
    """Where stored bytes lie."""
    return image.read_at(0, image.size).index(content)


def names(owners: Owners, offset: int, length: int = 1) -> list[tuple[Part, set[bytes]]]:
    """Whose a range is."""
    return [(owner.part, set(owner.names)) for owner in owners.within(offset, length)]


def test_a_files_bytes_are_its_own(image: FileImage, owners: Owners) -> None:
    """By each of its names; to the last byte and no further."""
    content = squashfs.open(image).open_file("large").read_at(0, 5 * BLOCK)
    start = find(image, content)
    assert names(owners, start) == [(Part.FILE, {b"large", b"folder/link"})]
    assert names(owners, start + 5 * BLOCK - 1) == [(Part.FILE, {b"large", b"folder/link"})]
    assert (Part.FILE, {b"large", b"folder/link"}) not in names(owners, start + 5 * BLOCK)


def test_equal_files_share_an_owner(image: FileImage, owners: Owners) -> None:
    """mksquashfs writes them once."""
    content = squashfs.open(image).open_file("other").read_at(0, 3 * BLOCK)
    assert names(owners, find(image, content) + BLOCK) == [(Part.FILE, {b"other", b"folder/same"})]


def test_a_fragment_is_of_all_whose_ends_are_in_it(image: FileImage, owners: Owners) -> None:
    """Files of less than a block, and the rest of a longer one, whose block is its own."""
    opened = squashfs.open(image)
    end = find(image, opened.open_file("a").read_at(0, 100))
    assert names(owners, end) == [(Part.FRAGMENT, {b"a", b"b", b"c"})]
    _, _, end, _ = opened.open_file("tailed").layout
    assert [part for part, found in names(owners, end) if b"tailed" in found] == [Part.FRAGMENT]
    block = find(image, opened.open_file("tailed").read_at(0, BLOCK))
    assert names(owners, block) == [(Part.FILE, {b"tailed"})]


def test_a_range_has_all_that_overlap(image: FileImage, owners: Owners) -> None:
    """Every file of the image, and every table, in the order of the image."""
    found = owners.within(0, image.size)
    assert [owner.offset for owner in found] == sorted(owner.offset for owner in found)
    files = {path for path, entry in squashfs.open(image).walk() if entry.kind is Kind.FILE}
    assert {name for owner in found if owner.part is not Part.METADATA for name in owner.names} == files - {b"empty"}


def test_tables_have_names(image: FileImage, owners: Owners) -> None:
    """Where the superblock says that they are."""
    inodes, directories = struct.unpack_from("<QQ", image.read_at(0, 96), 64)
    assert names(owners, 0) == [(Part.METADATA, {b"superblock"})]
    assert names(owners, inodes) == [(Part.METADATA, {b"inode table"})]
    assert names(owners, directories) == [(Part.METADATA, {b"directory table"})]
    tables = [owner for owner in owners.within(0, image.size) if owner.part is Part.METADATA]
    assert [owner.names[0] for owner in tables[3:]] == [b"fragment table", b"export table", b"id table"]


def test_every_byte_has_an_owner(image: FileImage, owners: Owners) -> None:
    """Up to the end of the file system, behind which is padding; but for the compressor's options, all of it."""
    used = squashfs.open(image).summary.bytes_used
    at = 96
    for owner in owners.within(96, used - 96):
        assert owner.offset <= at
        at = max(at, owner.offset + owner.length)
    assert at == used
    assert owners.within(used, 4096) == []


def test_the_map_of_every_codecs_image_is_whole(image_path: Path) -> None:
    """Of a tree of odd names and sizes: each file with bytes is found where its layout says."""
    opened = squashfs.open(FileImage(image_path))
    owners = map_owners(opened)
    for path, entry in opened.walk():
        if entry.kind is not Kind.FILE:
            continue
        start, length, fragment, fragment_length = opened.open_file(entry.reference).layout
        for offset, size in ((start, length), (fragment, fragment_length)):
            if size:
                assert any(path in owner.names for owner in owners.within(offset + size - 1, 1))


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ((0, 10), []),
        ((0, 11), [(10, 5, [1])]),
        ((14, 15), [(10, 5, [1])]),
        ((15, 20), []),
        ((20, 21), [(20, 5, [2, 3])]),
        ((24, 100), [(20, 5, [2, 3]), (30, 1, [4])]),
        ((31, 32), []),
    ],
)
def test_intervals(asked: tuple[int, int], found: list[tuple[int, int, list[int]]]) -> None:
    """Half open, equals together."""
    intervals = Intervals([(30, 1, 4), (20, 5, 3), (10, 5, 1), (20, 5, 2)])
    assert list(intervals.within(*asked)) == found


def test_a_damaged_image_is_told(image: FileImage) -> None:
    """As walking tells it."""
    content = bytearray(image.read_at(0, image.size))
    (directories,) = struct.unpack_from("<Q", content, 72)
    content[directories + 2 : directories + 40] = bytes(38)
    with pytest.raises(StorageError):
        map_owners(squashfs.open(BytesImage(bytes(content))))
