"""Windows: a stretch of an image that is an image by itself."""

import os
from errno import EIO, ENXIO, EROFS
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import storage.image
import storage.window
from storage.errors import StorageError
from tests.storage import twin

CONTENT = bytes(range(256)) * 16
BLOCK = 4096


class Modules(NamedTuple):
    """Where images are, and where windows are."""

    image: ModuleType
    window: ModuleType


NATIVE, TWIN = Modules(storage.image, storage.window), Modules(twin, twin)


@pytest.fixture(params=[NATIVE, TWIN], ids=["native", "twin"])
def images(request: pytest.FixtureRequest) -> Modules:
    """The native ones, and the plain ones that they are compared with."""
    modules: Modules = request.param
    return modules


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000))
@pytest.mark.parametrize("modules", [NATIVE, TWIN], ids=["native", "twin"])
def test_reads_are_slices(modules: Modules, start: int, length: int, offset: int, count: int) -> None:
    """Of the stretch; what leaves it is refused, even where the base has bytes there."""
    base = modules.image.BytesImage(CONTENT)
    if start + length > len(CONTENT):
        with pytest.raises(ValueError, match=r"leave|outside"):
            modules.window.WindowImage(base, start, length)
        return
    window = modules.window.WindowImage(base, start, length)
    assert (window.size, window.start, window.base, window.writable) == (length, start, base, False)
    if offset + count <= length:
        wanted = CONTENT[start + offset : start + offset + count]
        assert window.read_at(offset, count) == window.read_at_now(offset, count) == wanted
        assert sum(run for run, _ in window.extents(offset, count)) == count
    else:
        for action in (window.read_at, window.read_at_now, window.place_at, window.extents):
            with pytest.raises(StorageError) as caught:
                action(offset, count)
            assert caught.value.errno == ENXIO


def test_its_bytes_lie_in_the_file(images: Modules, tmp_path: Path) -> None:
    """Of which it is a stretch, for sendfile; bytes in memory lie in none."""
    path = tmp_path / "file"
    path.write_bytes(CONTENT * 4)
    base = images.image.FileImage(path)
    base.read_at(0, base.size)
    window = images.window.WindowImage(images.window.WindowImage(base, 100, 9000), 50, 5000)
    assert window.place_at(7, 4000) == (base.fileno(), 157)
    assert images.window.WindowImage(images.image.BytesImage(CONTENT), 1, 9).place_at(0, 9) is None


def test_versions_tell_windows_apart(images: Modules) -> None:
    """Of one base and another, of one place and another: it is what an ETag is made of."""
    base, other = images.image.BytesImage(CONTENT), images.image.BytesImage(CONTENT[1:])
    places = [(base, 0, 9), (base, 1, 9), (base, 0, 8), (other, 0, 9)]
    assert len({images.window.WindowImage(*place).version for place in places}) == len(places)


def test_it_takes_no_writes(images: Modules, tmp_path: Path) -> None:
    """Also over a base that would take them."""
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    window = images.window.WindowImage(images.image.FileImage(path, writable=True), 0, 512)
    with pytest.raises(StorageError) as caught:
        window.write_at(0, b"x")
    assert caught.value.errno == EROFS


def test_a_base_that_becomes_shorter(images: Modules, tmp_path: Path) -> None:
    """EIO, as of the file itself."""
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    window = images.window.WindowImage(images.image.FileImage(path), 1000, 2000)
    os.truncate(path, 1500)
    with pytest.raises(StorageError) as caught:
        window.read_at(0, 2000)
    assert caught.value.errno == EIO


@pytest.mark.parametrize(("start", "length"), [(-1, 1), (0, -1), (1 << 64, 1), (0, 1 << 64), (1, (1 << 64) - 1)])
def test_numbers_that_are_no_places(images: Modules, start: int, length: int) -> None:
    """Negative, beyond 64 bits, or so large that their sum is."""
    with pytest.raises((OverflowError, ValueError)):
        images.window.WindowImage(images.image.BytesImage(CONTENT), start, length)
