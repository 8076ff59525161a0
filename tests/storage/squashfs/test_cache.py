"""storage.squashfs.cache: a fixed size, one load for all who wait, counted."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.image import BytesImage, FileImage
from storage.squashfs import Cache, CorruptError, Squashfs, filesystem
from storage.squashfs.cache import CAPACITY_LEAST
from storage.workers import Workers
from tests.storage.squashfs.trees import Tool, content, make_image

BLOCK = 131072
BLOCKS = 100  # of the file that is read: more than the smallest cache has room for


@pytest.fixture(scope="module")
def place(tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of one file of 100 blocks, and one small one."""
    root = tmp_path_factory.mktemp("cache")
    (root / "tree").mkdir()
    (root / "tree/file").write_bytes(content("cache", BLOCKS * BLOCK))
    (root / "tree/small").write_bytes(content("small", 1000))
    return make_image(tool, root / "tree", root / "image", "-comp", "lz4")


@pytest.fixture
def image(place: Path) -> Squashfs:
    """With the smallest caches there are."""
    return filesystem.open(FileImage(place), blocks=Cache(CAPACITY_LEAST), metadata=Cache(CAPACITY_LEAST))


@pytest.fixture
def workers() -> Iterator[Workers]:
    """Eight native threads."""
    made = Workers()
    yield made
    made.close()


def at_once(threads: int, action: Callable[[], object]) -> None:
    """The same from several threads that start together."""
    barrier = threading.Barrier(threads)

    def run() -> None:
        barrier.wait()
        action()

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(run) for _ in range(threads)]:
            done.result()


def test_too_small() -> None:
    """Less than some blocks is no cache."""
    with pytest.raises(ValueError, match="too small"):
        Cache(CAPACITY_LEAST - 1)


def test_counts(image: Squashfs) -> None:
    """The first read of a block is a miss, every other a hit."""
    file = image.open_file("file")
    file.read_at(0, 1)
    assert (image.blocks.hits, image.blocks.misses) == (0, 1)
    file.read_at(1, 1)
    assert file.read_at_now(BLOCK - 1, 1) is not None
    assert (image.blocks.hits, image.blocks.misses, image.blocks.waits) == (2, 1, 0)


def test_what_is_not_there_now_is_no_miss(image: Squashfs) -> None:
    """A miss is a decompression; this one is only asked for."""
    assert image.open_file("file").read_at_now(0, 1) is None
    assert (image.blocks.hits, image.blocks.misses) == (0, 0)


def test_never_holds_more_than_its_size(image: Squashfs) -> None:
    """Whatever is read; what goes is counted."""
    file = image.open_file("file")
    most = 0
    for number in range(BLOCKS):
        file.read_at(number * BLOCK, 1)
        most = max(most, image.blocks.used)
    assert most <= CAPACITY_LEAST
    assert image.blocks.evictions == BLOCKS - most // BLOCK


def test_the_one_not_used_for_longest_goes(image: Squashfs) -> None:
    """A block that is used again and again stays."""
    file = image.open_file("file")
    for number in range(BLOCKS):
        file.read_at(number * BLOCK, 1)
        assert file.read_at_now(0, 1) is not None
    assert file.read_at_now((BLOCKS - 1) * BLOCK, 1) is not None
    assert file.read_at_now(BLOCK, 1) is None


def test_rooms_of_other_sizes_make_place_for_each_other(
    place: Path, image: Squashfs, tool: Tool, tmp_path: Path
) -> None:
    """Two images of unlike block sizes in one cache make place for each other."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_bytes(content("other", 8 << 20))
    path = make_image(tool, tmp_path / "tree", tmp_path / "image", "-b", "4K", "-comp", "lz4")
    other = filesystem.open(FileImage(path), blocks=image.blocks, metadata=image.metadata).open_file("file")
    file = image.open_file("file")
    for _ in range(2):
        assert file.read_at(0, file.size) == content("cache", BLOCKS * BLOCK)
        assert other.read_at(0, other.size) == content("other", 8 << 20)
        assert image.blocks.used <= CAPACITY_LEAST


def test_one_load_for_all(image: Squashfs) -> None:
    """Sixteen threads want every block at the same time: each is decompressed once."""
    file = image.open_file("file")
    some = 20 * BLOCK
    at_once(16, lambda: file.read_at(0, some))
    assert image.blocks.misses == 20
    assert image.blocks.hits == 15 * 20


def test_images_that_go_give_back(place: Path) -> None:
    """All that was theirs, once the last file of theirs is gone."""
    blocks, metadata = Cache(CAPACITY_LEAST), Cache(CAPACITY_LEAST)
    file = filesystem.open(FileImage(place), blocks=blocks, metadata=metadata).open_file("file")
    file.read_at(0, BLOCK)
    assert blocks.used > BLOCK
    assert metadata.used > 0
    del file
    assert (blocks.used, metadata.used) == (0, 0)


def test_images_do_not_mix(place: Path, image: Squashfs) -> None:
    """The same places of two images are two blocks."""
    other = filesystem.open(FileImage(place), blocks=image.blocks, metadata=image.metadata)
    image.open_file("file").read_at(0, 1)
    assert other.open_file("file").read_at_now(0, 1) is None


def test_thrashing(image: Squashfs) -> None:
    """Threads that push out each other's blocks all get the right ones."""
    file, whole = image.open_file("file"), content("cache", BLOCKS * BLOCK)

    def read() -> None:
        for number in range(BLOCKS):
            assert file.read_at(number * BLOCK + 5, 100) == whole[number * BLOCK + 5 :][:100]

    at_once(8, read)
    assert image.blocks.used <= CAPACITY_LEAST


def test_a_damaged_block_is_everybodys(place: Path) -> None:
    """Who loads it and who waits are told the same, nothing of it stays, and the next one who asks tries again."""
    data = bytearray(place.read_bytes())
    start = 96 + 8 + 2  # the first block is behind the superblock and LZ4's options
    data[start : start + 1000] = b"\xff" * 1000
    image = filesystem.open(BytesImage(bytes(data)), blocks=Cache(CAPACITY_LEAST), metadata=Cache(CAPACITY_LEAST))
    file = image.open_file("file")

    def read() -> None:
        with pytest.raises(CorruptError):
            file.read_at(0, BLOCK)

    at_once(16, read)
    assert image.blocks.used == 0
    assert image.blocks.hits + image.blocks.misses == 16
    at_once(1, read)


def test_room_that_all_wait_for(tool: Tool, tmp_path: Path, workers: Workers) -> None:
    """Blocks of 1 MiB, room for three, eight threads: some wait for others, and all end."""
    (tmp_path / "tree").mkdir()
    whole = content("large", 32 << 20)
    (tmp_path / "tree/file").write_bytes(whole)
    path = make_image(tool, tmp_path / "tree", tmp_path / "image", "-b", "1M", "-comp", "lz4")
    image = filesystem.open(FileImage(path), blocks=Cache(CAPACITY_LEAST), metadata=Cache(CAPACITY_LEAST))
    ranges = [(offset, 3 << 19) for offset in range(0, 30 << 20, 1 << 19)]
    read = workers.read(image.open_file("file"), ranges)
    assert read == [whole[offset : offset + length] for offset, length in ranges]
    assert image.blocks.used <= CAPACITY_LEAST
