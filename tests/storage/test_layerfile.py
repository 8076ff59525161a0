"""storage.layerfile: layers made, found again, and refused where they are not what they should be."""

import os
import stat
from errno import EBADMSG, ESTALE
from pathlib import Path

import pytest

from storage import layerfile
from storage.errors import StorageError
from storage.image import BytesImage, FileImage
from storage.layer import map_bytes
from storage.layerfile import BaseChangedError, fingerprint, make_layer, open_layer
from tests.storage.layers import BASE, CLUSTER, SIZE, shared_base


def test_a_blank_one_is_its_bytes(tmp_path: Path) -> None:
    """As large as it was made, beginning as it was told to, for its owner's eyes."""
    place = tmp_path / "layer"
    make_layer(place, SIZE, start=b"start")
    assert place.stat().st_size == SIZE
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    layer = open_layer(place)
    assert (layer.size, layer.used) == (SIZE, CLUSTER)
    assert layer.read_at(0, SIZE) == b"start".ljust(SIZE, b"\0")


def test_it_takes_no_room(tmp_path: Path) -> None:
    """Before anything is written to it."""
    make_layer(tmp_path / "layer", 1 << 34)
    make_layer(tmp_path / "over", 1 << 34, base=shared_base())
    assert (tmp_path / "layer").stat().st_blocks * 512 < 64 << 10
    assert (tmp_path / "over").stat().st_blocks * 512 < 64 << 10


def test_what_was_written_is_there_again(tmp_path: Path) -> None:
    """Over a base, with its quota."""
    place = tmp_path / "layer"
    make_layer(place, SIZE, base=shared_base())
    layer = open_layer(place, base=shared_base())
    layer.write_at(5, b"mine")
    layer.sync()
    again = open_layer(place, base=shared_base(), quota=3 * CLUSTER)
    assert again.read_at(0, len(BASE)) == BASE[:5] + b"mine" + BASE[9:]
    assert (again.used, again.quota) == (CLUSTER, 3 * CLUSTER)


def test_a_new_one_takes_the_olds_place(tmp_path: Path) -> None:
    """In one step, whatever a killed process left; who has the old one open keeps it."""
    place = tmp_path / "layer"
    (tmp_path / "layer.part").write_bytes(b"left over")
    make_layer(place, SIZE)
    old = open_layer(place)
    old.write_at(0, b"old")
    make_layer(place, SIZE)
    assert open_layer(place).read_at(0, SIZE) == bytes(SIZE)
    assert old.read_at(0, 3) == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["layer"]


def test_over_another_base_it_is_refused(tmp_path: Path) -> None:
    """One of another size or content: the two together would be no file system."""
    place = tmp_path / "layer"
    make_layer(place, SIZE, base=shared_base())
    for other in (BASE + b"x", b"x" + BASE[1:], BASE[:-1] + b"x"):
        with pytest.raises(BaseChangedError) as raised:
            open_layer(place, base=BytesImage(other))
        assert raised.value.errno == ESTALE


@pytest.mark.parametrize("size", [0, -1, layerfile.LAYER_MOST + 1])
def test_sizes_that_no_layer_has(tmp_path: Path, size: int) -> None:
    """Nothing is made then."""
    with pytest.raises(ValueError):
        make_layer(tmp_path / "layer", size)
    assert not any(tmp_path.iterdir())


def test_a_start_longer_than_the_layer(tmp_path: Path) -> None:
    """Is a mistake of ours."""
    with pytest.raises(ValueError):
        make_layer(tmp_path / "layer", 4, start=b"start")


def test_every_byte_of_the_header_counts(tmp_path: Path) -> None:
    """One that is spoilt is told, never taken for another size."""
    place = tmp_path / "layer"
    make_layer(place, SIZE, base=shared_base())
    whole = place.read_bytes()
    start = len(whole) - CLUSTER
    for at in range(start, start + layerfile.HEADER.size + layerfile.CHECKSUM.size):
        place.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(StorageError) as raised:
            open_layer(place, base=shared_base())
        assert raised.value.errno == EBADMSG


@pytest.mark.parametrize("length", [0, 1, CLUSTER - 1, CLUSTER, SIZE])
def test_one_that_was_cut_off(tmp_path: Path, length: int) -> None:
    """And one with more at its end."""
    place = tmp_path / "layer"
    make_layer(place, SIZE, base=shared_base())
    header = place.read_bytes()[-CLUSTER:]
    os.truncate(place, length)
    with pytest.raises(StorageError):
        open_layer(place, base=shared_base())
    place.write_bytes(bytes(length) + header)
    with pytest.raises(StorageError):
        open_layer(place, base=shared_base())


def test_an_empty_file_is_no_blank_layer(tmp_path: Path) -> None:
    """Nor is one that is too large."""
    place = tmp_path / "layer"
    for size in (0, layerfile.LAYER_MOST + 1):
        place.touch()
        os.truncate(place, size)
        with pytest.raises(StorageError) as raised:
            open_layer(place)
        assert raised.value.errno == EBADMSG


def test_a_fingerprint_is_of_ends_and_samples(tmp_path: Path) -> None:
    """So that it takes no longer with a large base."""
    place = tmp_path / "base"
    place.touch()
    os.truncate(place, 1 << 30)
    image = FileImage(place, writable=True)
    seen = {fingerprint(image)}
    for offset in (0, 1 << 19, (1 << 30) - 1, 1 << 29):
        image.write_at(offset, b"x")
        seen.add(fingerprint(image))
    assert len(seen) == 5
    assert map_bytes(1 << 30) == 8 * CLUSTER


def test_an_empty_base_is_one_too() -> None:
    """As a layer over nothing but its own size."""
    assert len(fingerprint(BytesImage(b""))) == 32
