"""storage.squashfs.pieces: all bytes of many files, by the native reader and its plain twin."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from storage import squashfs
from storage.image import BytesImage, FileImage
from storage.squashfs import Cache, CorruptError, Kind, Squashfs, filesystem
from tests.storage.squashfs import twin
from tests.storage.squashfs.trees import Tool, content, make_image

BLOCK = 4096
MIB = 1 << 20
LARGE = 5 * MIB + 77


@pytest.fixture(params=[squashfs.open, twin.Squashfs], ids=["native", "twin"])
def opened(request: pytest.FixtureRequest, image_path: Path) -> Any:
    """The image, opened by the reader that is tested."""
    return request.param(FileImage(image_path))


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> int:
    """How many read at once."""
    number: int = request.param
    return number


@pytest.fixture(scope="module")
def large_path(tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of a large file between two small ones."""
    root = tmp_path_factory.mktemp("pieces")
    (root / "tree").mkdir()
    for name, size in (("1", BLOCK), ("2", LARGE), ("3", BLOCK)):
        (root / "tree" / name).write_bytes(content(name, size))
    return make_image(tool, root / "tree", root / "image", "-comp", "lz4")


@pytest.fixture
def large(large_path: Path) -> Squashfs:
    """It, with caches of its own."""
    return filesystem.open(FileImage(large_path), blocks=Cache(8 << 20), metadata=Cache(4 << 20))


def files_of(opened: Any) -> dict[int, bytes]:
    """The paths of all files, by reference."""
    return {entry.reference: path for path, entry in opened.walk() if entry.kind is Kind.FILE}


def join(pieces: Iterator[tuple[int, int, bytes]]) -> dict[int, bytes]:
    """Whole files, of pieces that follow each other."""
    found: dict[int, bytes] = {}
    for reference, offset, data in pieces:
        assert len(found.get(reference, b"")) == offset
        found[reference] = found.get(reference, b"") + data
    return found


def threads_now() -> set[str]:
    """Of this process, Python's and others, those included that ended a moment ago."""
    return {task.name for task in Path("/proc/self/task").iterdir()}


def test_every_file(opened: Any, tree_of: Callable[[int], Path], threads: int) -> None:
    """All of its bytes, empty ones too, in the order that was asked for."""
    paths, tree = files_of(opened), tree_of(BLOCK)
    found = join(opened.read_files(iter(paths), threads=threads))
    assert list(found) == list(paths)
    assert len(found) > 300
    for reference, path in paths.items():
        assert found[reference] == (Path(tree) / path.decode(errors="surrogateescape")).read_bytes()


def test_no_files(opened: Any) -> None:
    """Nothing."""
    assert list(opened.read_files([])) == []


@pytest.mark.parametrize(("path", "expected"), [("names", errno.EISDIR), ("soft", errno.EINVAL)])
def test_what_is_no_file(opened: Any, path: str, expected: int) -> None:
    """As when it is opened."""
    with pytest.raises(OSError) as raised:
        list(opened.read_files([opened.lookup(path, follow=False)]))
    assert raised.value.errno == expected


def test_large_files_come_in_pieces(large: Squashfs, threads: int) -> None:
    """Of whole blocks, so that none is decompressed twice."""
    references = [large.lookup(name) for name in "123"]
    pieces = [
        (reference, offset, len(data)) for reference, offset, data in large.read_files(references, threads=threads)
    ]
    assert pieces[0] == (references[0], 0, BLOCK)
    assert pieces[-1] == (references[2], 0, BLOCK)
    assert all(offset % 131072 == 0 and length <= MIB for _, offset, length in pieces)
    assert join(large.read_files(references, threads=threads)) == {
        r: content(n, s) for r, n, s in zip(references, "123", (BLOCK, LARGE, BLOCK), strict=True)
    }


def test_whole_blocks_leave_the_cache_alone(large: Squashfs) -> None:
    """Only ends, which other files' ends lie beside, are kept; what the cache has is taken from there."""
    file, small = large.lookup("2"), large.lookup("1")
    large.open_file(file).read_at(0, 1)
    assert join(large.read_files([file, small])) == {file: content("2", LARGE), small: content("1", BLOCK)}
    assert (large.blocks.hits, large.blocks.misses) == (1, 2)


def test_what_is_refused_is_passed_by(image_path: Path, threads: int) -> None:
    """Files before it come first, and whoever goes on gets the ones behind it."""
    opened = squashfs.open(FileImage(image_path))
    names = ["tail", "names", "size-1+0", "size-0+0", "soft", "size-1+1"]
    pieces = opened.read_files([opened.lookup(name, follow=False) for name in names], threads=threads)
    assert len(next(pieces)[2]) == BLOCK + BLOCK // 3
    with pytest.raises(IsADirectoryError):
        next(pieces)
    assert [len(next(pieces)[2]) for _ in range(2)] == [BLOCK, 0]
    with pytest.raises(OSError, match="Invalid"):
        next(pieces)
    assert [len(data) for _, _, data in pieces] == [BLOCK + 1]


def test_damage_is_passed_by(large_path: Path, threads: int) -> None:
    """A file with a broken block ends there; the ones around it are read, and what was read ahead of time again."""
    data = bytearray(large_path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = b"\xff" * 2000
    image = filesystem.open(BytesImage(bytes(data)), blocks=Cache(4 << 20), metadata=Cache(4 << 20))
    first, broken, last = (image.lookup(name) for name in "123")
    pieces = image.read_files([first, broken, last], threads=threads)
    got: list[tuple[int, int, bytes]] = []
    with pytest.raises(CorruptError):
        got.extend(pieces)
    assert {reference for reference, _, _ in got} <= {first, broken}
    assert [reference for reference, _, _ in pieces] == [last]


def test_threads_with_iterators_of_their_own(large: Squashfs) -> None:
    """Side by side, with room for few blocks."""
    references = [large.lookup(name) for name in "123"]

    def read(_: int) -> int:
        return sum(len(data) for _, _, data in large.read_files(references))

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(read, range(12))) == {2 * BLOCK + LARGE}


def test_helpers_end_with_the_iterator(large: Squashfs) -> None:
    """Also when nobody reads to the end: what they are at is finished first."""
    before = threads_now()
    pieces = large.read_files([large.lookup("2")], threads=3)
    next(pieces)
    helpers = threads_now() - before
    assert len(helpers) == 2
    del pieces
    deadline = time.monotonic() + 10
    while helpers & threads_now():  # the kernel lists a thread a moment longer than it takes to join it
        assert time.monotonic() < deadline
        os.sched_yield()


@pytest.mark.parametrize("number", [-1, 0, 17])
def test_too_many_threads(large: Squashfs, number: int) -> None:
    """Or none."""
    with pytest.raises(ValueError, match=f"{number} threads: from 1 to 16"):
        large.read_files([], threads=number)


def test_an_iterator_is_not_for_two(large: Squashfs) -> None:
    """Who asks while another one's read is under way is refused."""
    pieces: Iterator[tuple[int, int, bytes]]

    def references() -> Iterator[int]:
        next(pieces)
        yield large.root

    pieces = large.read_files(references())
    with pytest.raises(ValueError, match="another thread"):
        next(pieces)
