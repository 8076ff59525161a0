"""Files inside images, kept for clients: each once, as many as have room, nowhere that could be left behind."""

import os
from pathlib import Path

import pytest

from appliance.images.unpacked import LEAST, UnpackedFiles
from storage.image import BytesImage, FileImage, Image
from storage.unpacked import UnpackedImage

SIZE = LEAST + 1


def file(number: int, size: int = SIZE) -> Image:
    """A file, different from all others."""
    return BytesImage(bytes([number]) * size)


def test_each_is_kept_once(tmp_path: Path) -> None:
    """Whoever asks; of another image it is another."""
    files = UnpackedFiles(tmp_path, 10 * SIZE)
    first = files.take("a", file(1))
    assert isinstance(first, UnpackedImage)
    assert files.take("a", file(1)) is first
    assert files.take("a", file(2)) is not first
    assert files.take("b", file(1)) is not first
    assert first.read_at(0, 10) == b"\1" * 10


def test_the_one_not_asked_for_longest_goes_first(tmp_path: Path) -> None:
    """Who is sending it still has it."""
    files = UnpackedFiles(tmp_path, 2 * SIZE)
    kept = {number: files.take("a", file(number)) for number in (1, 2)}
    assert files.take("a", file(1)) is kept[1]
    files.take("a", file(3))
    assert files.take("a", file(1)) is kept[1]
    assert files.take("a", file(2)) is not kept[2]
    assert kept[2].read_at(5, 1) == b"\2"


@pytest.mark.parametrize("size", [0, LEAST, 2 * SIZE + 1])
def test_what_is_too_small_or_too_large_is_sent_as_it_is(tmp_path: Path, size: int) -> None:
    """The one fits into a packet or two, the other would push out all else."""
    image = file(1, size)
    assert UnpackedFiles(tmp_path, 2 * SIZE).take("a", image) is image


@pytest.mark.parametrize("name", ["", "none"])
def test_the_store_has_no_name(tmp_path: Path, name: str) -> None:
    """On the disk, or in memory where the folder is none; nothing is left behind in either."""
    kept = UnpackedFiles(tmp_path / name, SIZE).take("a", file(1))
    assert isinstance(kept, UnpackedImage)
    assert isinstance(kept.store, FileImage)
    assert os.fstat(kept.store.fileno()).st_nlink == 0
    assert kept.read_at(0, SIZE) == b"\1" * SIZE
    assert kept.kept == SIZE
    assert list(tmp_path.iterdir()) == []
