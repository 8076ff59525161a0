"""storage.squashfs.file: files of an image as images, at any offset, from any thread, now or waiting."""

import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from errno import ENXIO, EROFS
from pathlib import Path

import pytest

from storage import squashfs
from storage.errors import StorageError
from storage.image import FileImage, PaddedImage
from storage.squashfs import Cache, Kind, Squashfs, filesystem
from storage.squashfs.file import SquashfsFile
from storage.workers import Workers
from tests.storage.squashfs.trees import Tool, content, make_image

BLOCK = 4096
FILES = ["tail", "holes", "noise", "size-0+0", "size-0+1", "size-1-1", "size-1+0", "size-1+1", "size-2-1", "size-2+1"]


@pytest.fixture
def image(image_path: Path) -> Squashfs:
    """The image with caches of its own, cold."""
    return filesystem.open(FileImage(image_path), blocks=Cache(4 << 20), metadata=Cache(4 << 20))


@pytest.fixture
def stored(tool: Tool, tmp_path: Path) -> Squashfs:
    """An image of files with blocks and an end that are stored as they are, and of some that are not."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/noise").write_bytes(random.Random(6).randbytes(3 * BLOCK + 77))
    (tmp_path / "tree/tail").write_bytes(content("tail", 2 * BLOCK))
    with (tmp_path / "tree/holes").open("wb") as file:
        file.truncate(2 * BLOCK)
    path = make_image(tool, tmp_path / "tree", tmp_path / "image", "-b", str(BLOCK), "-always-use-fragments")
    return filesystem.open(FileImage(path), blocks=Cache(4 << 20), metadata=Cache(4 << 20))


@pytest.fixture
def tree(tree_of: Callable[[int], Path]) -> Path:
    """What the image was made of."""
    return tree_of(BLOCK)


def errno_of(action: Callable[[], object]) -> int:
    """The errno of the StorageError that an action must raise."""
    with pytest.raises(StorageError) as raised:
        action()
    return raised.value.errno


@pytest.mark.parametrize("name", FILES)
def test_any_range(image: Squashfs, tree: Path, name: str) -> None:
    """Any part of any file is that part of the file."""
    file, whole, source = image.open_file(name), (tree / name).read_bytes(), random.Random(name)
    for _ in range(200):
        offset = source.randint(0, file.size)
        length = source.randint(0, file.size - offset)
        assert file.read_at(offset, length) == whole[offset : offset + length]


def test_facts(image: Squashfs) -> None:
    """Size; never writable; a version that is the inode's and the image's."""
    file = image.open_file("tail")
    assert (file.size, file.writable) == (BLOCK + BLOCK // 3, False)
    assert file.version == image.open_file("hard").version != image.open_file("noise").version
    assert file.version.startswith(image.image.version)


def test_reads_now_what_was_read(image: Squashfs) -> None:
    """Nothing before it was decompressed, all of it after."""
    file = image.open_file("tail")
    assert file.read_at_now(0, file.size) is None
    whole = file.read_at(0, file.size)
    assert file.read_at_now(0, file.size) == whole
    assert file.read_at_now(BLOCK - 1, 2) == whole[BLOCK - 1 : BLOCK + 1]


def test_half_of_it_in_memory_is_not_enough(image: Squashfs) -> None:
    """A read that needs one block that is not there waits for all."""
    file = image.open_file("tail")
    file.read_at(0, 1)
    assert file.read_at_now(0, BLOCK) is not None
    assert file.read_at_now(0, BLOCK + 1) is None


def test_holes_and_stored_blocks_need_no_cache(image: Squashfs) -> None:
    """They are answered at once: from nothing, and from the page cache."""
    holes, noise = image.open_file("holes"), image.open_file("noise")
    before = image.blocks.misses
    assert holes.read_at_now(0, 2 * BLOCK) == bytes(2 * BLOCK)
    assert noise.read_at_now(0, BLOCK) == random.Random(5).randbytes(BLOCK + 77)[:BLOCK]
    assert image.blocks.misses == before


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 3 * BLOCK), (1, 1), (BLOCK - 1, 2), (2 * BLOCK, 77), (3 * BLOCK, 77)]
)
def test_stored_bytes_have_a_place(stored: Squashfs, offset: int, length: int) -> None:
    """In the image's file, of one block or of several behind each other, or of an end in a fragment."""
    file = stored.open_file("noise")
    found = file.place_at(offset, length)
    assert found is not None
    assert os.pread(found[0], length, found[1]) == file.read_at(offset, length)


def test_other_bytes_have_no_place(stored: Squashfs, image: Squashfs) -> None:
    """What is decompressed, what is nothing, what is partly so, and nothing at all."""
    holes, noise, tail = (stored.open_file(name) for name in ("holes", "noise", "tail"))
    assert holes.place_at(0, 10) is None
    assert tail.place_at(0, 10) is None
    assert noise.place_at(5, 0) is None
    assert noise.place_at(3 * BLOCK - 1, 2) is None  # its end lies elsewhere
    assert image.open_file("size-0+1").place_at(0, 1) is None  # in a fragment that is compressed


def test_extents(image: Squashfs) -> None:
    """Blocks that are holes are told as holes; cut as asked."""
    file = image.open_file("holes")
    runs = [(2 * BLOCK, True), (BLOCK, False), (2 * BLOCK, True), (BLOCK, False), (3 * BLOCK + 5, True)]
    assert file.extents(0, file.size) == runs
    assert file.extents(2 * BLOCK - 1, 3) == [(1, True), (2, False)]
    assert file.extents(7, 0) == []


@pytest.mark.parametrize(("offset", "length"), [(BLOCK * 2, 0), (0, BLOCK * 2), (1 << 63, 1), (1, (1 << 64) - 1)])
def test_ranges_that_leave_it(image: Squashfs, offset: int, length: int) -> None:
    """ENXIO, also where offset and length together wrap around 64 bits."""
    file = image.open_file("tail")
    for action in (file.read_at, file.read_at_now, file.extents):
        assert errno_of(lambda action=action: action(offset, length)) == ENXIO  # type: ignore[misc]


def test_refuses_writes(image: Squashfs) -> None:
    """EROFS; a sync is fine."""
    file = image.open_file("tail")
    assert errno_of(lambda: file.write_at(0, b"x")) == EROFS
    file.sync()


def test_layers_stack_on_it(image: Squashfs, tree: Path) -> None:
    """Padded to whole sectors, as any image."""
    padded = PaddedImage(image.open_file("size-1-1"), multiple=512)
    assert padded.read_at(0, BLOCK) == (tree / "size-1-1").read_bytes() + b"\0"


def test_workers_read_it(image: Squashfs, tree: Path) -> None:
    """By the seam of pumps: native threads, no GIL."""
    file, whole = image.open_file("tail"), (tree / "tail").read_bytes()
    workers = Workers()
    ranges = [(offset, min(700, file.size - offset)) for offset in range(0, file.size, 13)]
    try:
        assert workers.read(file, ranges) == [whole[offset : offset + length] for offset, length in ranges]
    finally:
        workers.close()


def test_many_threads_many_files(image_path: Path, tree: Path) -> None:
    """Reads of all files from eight threads, with room for few blocks: nothing mixes, all of it ends."""
    image = filesystem.open(FileImage(image_path), blocks=Cache(4 << 20), metadata=Cache(4 << 20))
    names = [entry.name.decode() for entry in image.scan("/") if entry.kind is Kind.FILE]

    def read(name: str) -> bool:
        file = image.open_file(name)
        return file.read_at(0, file.size) == (tree / name).read_bytes()

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(read, names * 20))


def test_a_file_outlives_its_image(image_path: Path) -> None:
    """As long as the file is kept, so is what it reads from."""
    file = squashfs.open(FileImage(image_path)).open_file("tail")
    assert file.read_at(0, file.size) == content("tail", file.size)


def test_files_come_from_images_only() -> None:
    """There is no other way to make one."""
    with pytest.raises(TypeError):
        SquashfsFile()


def test_a_base_that_becomes_shorter(tool: Tool, tree: Path, tmp_path: Path) -> None:
    """An error that says where, not zeros."""
    place = make_image(tool, tree, tmp_path / "image", "-b", "4K", "-noD", "-noF")
    image = filesystem.open(FileImage(place), blocks=Cache(4 << 20), metadata=Cache(4 << 20))
    file = image.open_file("tail")
    with place.open("r+b") as short:
        short.truncate(200)
    with pytest.raises(squashfs.OutOfRangeError, match="shorter"):
        file.read_at(0, file.size)
