"""Prefetching: from one boot's recording to the next one's page cache."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from appliance.heat.bootlist import BootList, BootLists
from appliance.heat.prefetch import GAP, WINDOW, Prefetcher, PrefetchLimits, bring_in, close_gaps, windows
from appliance.heat.recording import Recording
from appliance.images.catalog import Catalog
from storage.image import FileImage
from tests.clock import Clock

MIB = 1 << 20
PATIENCE = 20.0  # seconds; only a hang reaches it
SIZE = 16 * MIB


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """One image, on a disk."""
    (tmp_path / "image").mkdir()
    with (tmp_path / "image/root").open("wb") as file:
        file.write(b"hsqs".ljust(40, b"\0") + SIZE.to_bytes(8, "little") + os.urandom(SIZE - 48))
        os.fsync(file.fileno())
    catalog = Catalog(tmp_path / "image")
    catalog.load()
    return catalog


@pytest.fixture
def lists(tmp_path: Path) -> BootLists:
    """No boot is known yet."""
    return BootLists(tmp_path / "boots")


def image_of(catalog: Catalog) -> FileImage:
    """The image."""
    entry = catalog.get("root")
    assert entry is not None
    return entry.image


def forget(image: FileImage) -> None:
    """Nothing of it is in the page cache any more; where that can't be, the test has no subject."""
    os.posix_fadvise(image.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if image.is_cached(0, 4096) or image.is_cached(8 * MIB, 4096):
        pytest.skip("this file system keeps its files in memory")


@asynccontextmanager
async def running(prefetcher: Prefetcher) -> AsyncIterator[None]:
    """While it runs."""
    task = asyncio.create_task(prefetcher.run())
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def counted(prefetcher: Prefetcher, replays: int) -> None:
    """Until so many replays are over."""
    while prefetcher.counts["replays"] < replays:  # noqa: ASYNC110 -- nothing else tells of a count
        await asyncio.sleep(0)


async def test_what_a_boot_read_is_there_for_the_next(catalog: Catalog, lists: BootLists) -> None:
    """And nothing else: the rest of the disk is left alone."""
    image = image_of(catalog)
    lists.save("root", image.version, BootList(1, ((8 * MIB, 2 * MIB), (MIB, 4096))))
    forget(image)
    entry = catalog.get("root")
    assert entry is not None
    prefetcher = Prefetcher(lists, catalog.get)
    async with running(prefetcher):
        prefetcher.want(entry)
        await counted(prefetcher, 1)
    assert image.is_cached(8 * MIB, 2 * MIB)
    assert image.is_cached(MIB, 4096)
    assert not image.is_cached(14 * MIB, 4096)
    assert prefetcher.counts["bytes"] == 2 * MIB + 4096


async def test_a_recording_becomes_the_list(catalog: Catalog, lists: BootLists) -> None:
    """Of as many boots as are wanted."""
    image = image_of(catalog)
    prefetcher = Prefetcher(lists, catalog.get, PrefetchLimits(boots=2))
    async with running(prefetcher):
        for boot, offset in enumerate((0, MIB, 2 * MIB), 1):
            prefetcher.learn(Recording("root", "a", 0.0, 1.0, ((offset, 4096, 0, 1),), 0))
            while (known := lists.load("root", image.version)).boots < min(boot, 2):  # noqa: ASYNC110 -- likewise
                await asyncio.sleep(0)
    assert known == BootList(2, ((0, 4096), (MIB, 4096)))


async def test_what_comes_at_the_end_is_kept(catalog: Catalog, lists: BootLists) -> None:
    """A recording that ended when the job no longer runs; an image that is gone is none."""
    prefetcher = Prefetcher(lists, catalog.get)
    async with running(prefetcher):
        pass
    prefetcher.learn(Recording("root", "a", 0.0, 1.0, ((MIB, 4096, 0, 1),), 0))
    prefetcher.learn(Recording("gone", "a", 0.0, 1.0, ((MIB, 4096, 0, 1),), 0))
    for _ in range(2):
        prefetcher.keep()
    assert lists.load("root", image_of(catalog).version) == BootList(1, ((MIB, 4096),))


async def test_machines_that_start_together_are_one_replay(catalog: Catalog, lists: BootLists) -> None:
    """Until some time has passed; a boot of which nothing is known is none."""
    entry, clock = catalog.get("root"), Clock()
    assert entry is not None
    lists.save("root", entry.image.version, BootList(1, ((0, 4096),)))
    prefetcher = Prefetcher(lists, catalog.get, clock=clock)
    async with running(prefetcher):
        prefetcher.want(entry)
        await counted(prefetcher, 1)
        prefetcher.want(entry)
        clock.now += 31
        prefetcher.want(entry)
        await counted(prefetcher, 2)
    assert prefetcher.counts["replays"] == 2


async def test_the_budget_is_kept(catalog: Catalog, lists: BootLists) -> None:
    """A window that would pass it is not begun."""
    image, entry = image_of(catalog), catalog.get("root")
    assert entry is not None
    lists.save("root", image.version, BootList(1, ((0, SIZE),)))
    forget(image)
    prefetcher = Prefetcher(lists, catalog.get, PrefetchLimits(bytes=WINDOW + MIB))
    async with running(prefetcher):
        prefetcher.want(entry)
        await counted(prefetcher, 1)
    assert prefetcher.counts["bytes"] == WINDOW


async def test_a_list_that_can_not_be_read_stops_nothing(catalog: Catalog, lists: BootLists, tmp_path: Path) -> None:
    """It is said, and the next image has its turn."""
    (tmp_path / "boots/root.json").mkdir(parents=True)
    entry = catalog.get("root")
    assert entry is not None
    prefetcher = Prefetcher(lists, catalog.get)
    async with running(prefetcher):
        prefetcher.want(entry)
        prefetcher.learn(Recording("root", "a", 0.0, 1.0, ((0, 4096, 0, 1),), 0))
        prefetcher.learn(Recording("gone", "a", 0.0, 1.0, ((0, 4096, 0, 1),), 0))
        with capture_logs() as said:
            while len(said) < 2:  # noqa: ASYNC110 -- nothing else tells of a failure
                await asyncio.sleep(0)
        (tmp_path / "boots/root.json").rmdir()
        lists.save("root", entry.image.version, BootList(1, ((0, 4096),)))
        prefetcher.want(entry)
        await counted(prefetcher, 1)
    assert [line["event"] for line in said] == ["boot_list_failed", "prefetch_failed"]


def test_what_is_in_memory_is_not_read(catalog: Catalog) -> None:
    """It costs a look."""
    image = image_of(catalog)
    image.read_at(0, MIB)
    assert bring_in(image, [(0, MIB)]) == 0


def test_windows_are_of_a_size_and_in_the_order_of_the_boot() -> None:
    """Each in the order of the disk; nothing behind the end of the image."""
    lots = list(windows([(8 * MIB, 2 * MIB), (0, 2 * MIB), (4 * MIB, MIB), (15 * MIB, 4 * MIB)], SIZE))
    assert lots == [[(0, 2 * MIB), (8 * MIB, 2 * MIB)], [(4 * MIB, MIB), (15 * MIB, MIB)]]


def test_small_gaps_are_read_along() -> None:
    """Large ones are not."""
    assert close_gaps([(GAP + 100, 10), (0, 100)]) == [(0, GAP + 110)]
    assert close_gaps([(GAP + 101, 10), (0, 100)]) == [(0, 100), (GAP + 101, 10)]
