"""What is still being copied, and what of it is served: nothing."""

import lzma
import os
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from appliance.config import Config
from appliance.images.arrivals import SETTLE_SECONDS, WHY, ask_for_writers, is_arriving, is_fresh
from appliance.images.catalog import Catalog
from appliance.images.checksums import Checksums
from appliance.images.memory import Memory
from appliance.plan import Plans
from appliance.tree import Tree

SQUASHFS = b"hsqs" + bytes(36) + (4096).to_bytes(8, "little") + bytes(4048)
SERVER = CLIENT = "10.77.0.2"
# A copy that has written half of it and waits: as scp does on a slow line.
COPY = "import sys; f = open(sys.argv[1], 'wb', 0); f.write(b'h'); print('.', flush=True); input(); f.write(b'i')"


def tree_of(root: Path) -> tuple[Catalog, Tree]:
    """What the appliance makes of a folder."""
    catalog = Catalog(root / "image")
    catalog.load()
    sums = Checksums(catalog, Memory(root))
    plans = Plans(Config(), catalog, server=SERVER)
    return catalog, Tree(root, catalog=catalog, plans=plans, server=SERVER, checksums=sums)


@pytest.mark.parametrize("mode", ["rb", "r+b"])
def test_who_writes_is_known(tmp_path: Path, mode: str) -> None:
    """Reading it does no harm."""
    (tmp_path / "x").write_bytes(b"x")
    with (tmp_path / "x").open("rb") as ours, (tmp_path / "x").open(mode):
        assert is_arriving(ours.fileno()) is (mode == "r+b")


def test_a_process_that_copies_can_go_on(tmp_path: Path) -> None:
    """Whoever looks leaves no lease behind; what is copied is whole once it is closed."""
    place = tmp_path / "x"
    with subprocess.Popen([sys.executable, "-c", COPY, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as copy:
        assert copy.stdout is not None
        copy.stdout.readline()
        with place.open("rb") as ours:
            assert is_arriving(ours.fileno())
            copy.communicate(b"\n", timeout=60)
            assert not is_arriving(ours.fileno())
    assert place.read_bytes() == b"hi"


def test_where_the_kernel_cannot_say(tmp_path: Path) -> None:
    """There are leases on files only; nobody copies into what is none."""
    folder = os.open(tmp_path, os.O_RDONLY)
    assert ask_for_writers(folder) is None
    assert not is_arriving(folder)
    os.close(folder)


@pytest.mark.parametrize(("age", "fresh"), [(0, True), (SETTLE_SECONDS, False), (-5, False), (1, True)])
def test_then_its_age_counts(age: float, fresh: bool) -> None:
    """By the file's own time, unless that is to come."""
    assert is_fresh(1000.0 - age, 1000.0) is fresh


@pytest.mark.parametrize("name", ["new-1", "new-1.xz"])
async def test_an_image_that_is_being_copied_is_not_there(tmp_path: Path, name: str) -> None:
    """Neither offered nor summed nor served, plain or compressed, until it is whole; nor is the appliance stopped."""
    data = SQUASHFS if name == "new-1" else lzma.compress(SQUASHFS)
    (tmp_path / "image").mkdir()
    with (tmp_path / "image" / name).open("wb", buffering=0) as copy:
        copy.write(data[:50])
        catalog, tree = tree_of(tmp_path)
        assert (list(catalog), list(catalog.packed)) == ([], [])
        for path in (f"image/{name}", "image/new-1.md5"):
            with pytest.raises(FileNotFoundError):
                await tree.open(path, CLIENT)
        copy.write(data[50:])
        assert catalog.refresh()[0] == []
    catalog.refresh()
    assert [each.name for each in (*catalog, *catalog.packed)] == [name]
    served = await tree.open(f"image/{name}", CLIENT)
    assert served.read_at(0, served.size) == data


def test_it_is_told_once(tmp_path: Path) -> None:
    """By the first look after the start: whoever copied it sees why it is not there yet."""
    (tmp_path / "image").mkdir()
    with (tmp_path / "image/new").open("wb"), structlog.testing.capture_logs() as logged:
        catalog, _ = tree_of(tmp_path)
        assert logged == []
        assert catalog.refresh() == ([], {"new": WHY})
        assert catalog.refresh() == ([], {})


async def test_rsyncs_part_is_no_image(tmp_path: Path) -> None:
    """It is renamed when it is whole."""
    (tmp_path / "image").mkdir()
    part = tmp_path / "image/.new-1.Xa3bQ9"
    part.write_bytes(SQUASHFS)
    catalog, tree = tree_of(tmp_path)
    assert list(catalog) == []
    part.rename(tmp_path / "image/new-1")
    catalog.refresh()
    assert (await tree.open("image/new-1", CLIENT)).size == 4096
