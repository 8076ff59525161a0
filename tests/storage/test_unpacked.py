"""storage.unpacked: what is read once is kept where sendfile finds it; the native layer and its plain twin alike."""

import os
import random
import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from errno import EROFS
from pathlib import Path
from typing import Protocol

import pytest

from storage import squashfs
from storage.errors import StorageError
from storage.image import BytesImage, FileImage, Image
from storage.squashfs import SquashfsError
from storage.squashfs.file import SquashfsFile
from storage.unpacked import UnpackedImage
from tests.storage.squashfs.trees import Tool, make_image

PIECE = 128 << 10
CONTENT = bytes(range(256)) * 1500  # it compresses; two pieces and a part of a third
NOISE = random.Random(3).randbytes(len(CONTENT))  # it does not, so that it is stored as it is


class TwinImage:
    """The layer once more: a set of pieces, and whole pieces read."""

    def __init__(self, base: Image, store: Image) -> None:
        self.base, self.store, self.size, self.version = base, store, base.size, base.version
        self._kept: set[int] = set()

    @property
    def kept(self) -> int:
        """Bytes in the store."""
        return sum(min(self.size - n * PIECE, PIECE) for n in self._kept)

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes."""
        for number in range(offset // PIECE, -(-(offset + length) // PIECE) if length else 0):
            start = number * PIECE
            stop = min(self.size, start + PIECE)
            part = (max(offset, start), min(offset + length, stop))
            if number not in self._kept and self.base.place_at(part[0], part[1] - part[0]) is None:
                self.store.write_at(start, self.base.read_at(start, stop - start))
                self._kept.add(number)
        return self.base.read_at(offset, length)


class Layer(Protocol):
    """What both are."""

    @property
    def kept(self) -> int: ...
    def read_at(self, offset: int, length: int) -> bytes: ...


Make = Callable[[Image, Image], Layer]


@pytest.fixture(params=[UnpackedImage, TwinImage], ids=["native", "twin"])
def make(request: pytest.FixtureRequest) -> Make:
    """The layer that is tested."""
    made: Make = request.param
    return made


@pytest.fixture(scope="session")
def image(tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with a file of compressed blocks, and one of blocks as they are."""
    root = tmp_path_factory.mktemp("unpacked") / "root"
    root.mkdir()
    (root / "packed").write_bytes(CONTENT)
    (root / "stored").write_bytes(NOISE)
    return make_image(tool, root, root.parent / "image", "-no-fragments")


def file_in(image: Path, name: str) -> SquashfsFile:
    """A file in an image, nothing of which was decompressed yet."""
    return squashfs.filesystem.open(
        FileImage(image), blocks=squashfs.Cache(8 << 20), metadata=squashfs.Cache(4 << 20)
    ).open_file(name)


def store_of(folder: Path, size: int) -> FileImage:
    """An empty file as a store."""
    place = folder / "store"
    place.touch()
    os.truncate(place, size)
    return FileImage(place, writable=True)


def test_bytes_are_the_bases(make: Make, image: Path, tmp_path: Path) -> None:
    """Read once, read again, within a piece and over several."""
    layer = make(file_in(image, "packed"), store_of(tmp_path, len(CONTENT)))
    for offset, length in ((0, 1), (PIECE - 1, 2), (5, len(CONTENT) - 5), (0, len(CONTENT)), (len(CONTENT), 0)):
        for _ in range(2):
            assert layer.read_at(offset, length) == CONTENT[offset : offset + length]


def test_what_was_read_is_in_the_store(make: Make, image: Path, tmp_path: Path) -> None:
    """Whole pieces of it, and no others."""
    layer = make(file_in(image, "packed"), store_of(tmp_path, len(CONTENT)))
    assert layer.kept == 0
    layer.read_at(PIECE + 5, 1)
    assert layer.kept == PIECE
    assert (tmp_path / "store").read_bytes()[PIECE : 2 * PIECE] == CONTENT[PIECE : 2 * PIECE]
    layer.read_at(2 * PIECE, 1)
    assert layer.kept == len(CONTENT) - PIECE


def test_what_a_file_has_as_it_is_stays_there(make: Make, image: Path, tmp_path: Path) -> None:
    """Blocks that would not compress are sent from the image's file."""
    layer = make(file_in(image, "stored"), store_of(tmp_path, len(NOISE)))
    assert layer.read_at(0, len(NOISE)) == NOISE
    assert layer.kept == 0


def test_a_place_is_told_once_all_is_kept(image: Path, tmp_path: Path) -> None:
    """In the store, at the same offset."""
    layer = UnpackedImage(file_in(image, "packed"), store_of(tmp_path, len(CONTENT)))
    layer.read_at(0, PIECE)
    assert layer.place_at(0, PIECE + 1) is None
    place = layer.place_at(1000, 5000)
    assert place is not None
    assert os.pread(place[0], 5000, place[1]) == CONTENT[1000:6000]


def test_a_read_that_must_not_wait(image: Path, tmp_path: Path) -> None:
    """None until it was decompressed; then from the store."""
    layer = UnpackedImage(file_in(image, "packed"), store_of(tmp_path, len(CONTENT)))
    assert layer.read_at_now(0, 100) is None
    layer.read_at(0, 1)
    assert layer.read_at_now(0, 100) == CONTENT[:100]
    assert layer.read_at_now(0, PIECE + 1) is None


def test_many_threads_read_at_once(image: Path, tmp_path: Path) -> None:
    """One fills a piece, the others need not wait for the store."""
    layer = UnpackedImage(file_in(image, "packed"), store_of(tmp_path, len(CONTENT)))
    with ThreadPoolExecutor(8) as threads:
        read = list(threads.map(lambda at: layer.read_at(at % 7, len(CONTENT) - 7), range(64)))
    assert all(data == CONTENT[at % 7 :][: len(CONTENT) - 7] for at, data in enumerate(read))
    assert layer.kept == len(CONTENT)


def test_a_store_without_room_keeps_nothing(image: Path, tmp_path: Path) -> None:
    """The bytes come all the same; here no file may grow beyond one piece."""
    layer = UnpackedImage(file_in(image, "packed"), store_of(tmp_path, len(CONTENT)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (PIECE, before[1]))
    try:
        assert layer.read_at(0, len(CONTENT)) == CONTENT
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert layer.kept == PIECE


def test_a_damaged_image_says_what_is_wrong(image: Path, tmp_path: Path) -> None:
    """As without the layer; nothing of it is kept."""
    whole = image.read_bytes()
    (tmp_path / "torn").write_bytes(whole[:96] + b"\xff" * 64 + whole[160:])
    layer = UnpackedImage(file_in(tmp_path / "torn", "packed"), store_of(tmp_path, len(CONTENT)))
    with pytest.raises(SquashfsError):
        layer.read_at(0, 1)
    assert layer.kept == 0


def test_it_is_read_only(image: Path, tmp_path: Path) -> None:
    """Though its store is not."""
    layer = UnpackedImage(file_in(image, "packed"), store_of(tmp_path, len(CONTENT)))
    with pytest.raises(StorageError) as refused:
        layer.write_at(0, b"x")
    assert refused.value.errno == EROFS


def test_holes_are_the_bases(image: Path, tmp_path: Path) -> None:
    """What the base knows is not forgotten."""
    layer = UnpackedImage(file_in(image, "packed"), store_of(tmp_path, len(CONTENT)))
    assert layer.extents(0, len(CONTENT)) == [(len(CONTENT), False)]
    assert (layer.size, layer.version) == (len(CONTENT), layer.base.version)


@pytest.mark.parametrize("size", [0, len(CONTENT) - 1])
def test_a_store_has_to_fit(image: Path, tmp_path: Path, size: int) -> None:
    """And has to be writable."""
    with pytest.raises(ValueError, match=f"of {len(CONTENT)} bytes"):
        UnpackedImage(file_in(image, "packed"), store_of(tmp_path, size))
    with pytest.raises(ValueError, match="writable"):
        UnpackedImage(file_in(image, "packed"), BytesImage(bytes(len(CONTENT))))


def test_a_store_that_became_shorter_is_not_believed(image: Path, tmp_path: Path) -> None:
    """The base has the bytes still."""
    layer = UnpackedImage(file_in(image, "packed"), store_of(tmp_path, len(CONTENT)))
    layer.read_at(0, len(CONTENT))
    os.truncate(tmp_path / "store", 0)
    assert layer.read_at(5, 100) == CONTENT[5:105]
