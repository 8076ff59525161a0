"""Prefetching: what earlier boots of an image read is brought into the page cache ahead of the next machine.

From a machine's first packet to its root being mounted it takes ten seconds and more, in which the disk is idle. The
list of ranges (bootlist.py) is gone through in the order of the boot, a few megabytes at a time and those in the order
of the disk; one image at a time, in a thread of its own, so that neither clients nor other files wait for it.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import structlog

from appliance.heat.bootlist import BootList, BootLists, fold
from appliance.heat.reads import first_reads
from appliance.heat.recording import Recording
from appliance.images.catalog import Entry
from storage.errors import StorageError
from storage.image import FileImage

WINDOW = 4 << 20  # bytes asked of the disk at once: what a client's own cold read may have to wait behind
GAP = 64 << 10  # bytes between two ranges that are read along: less than a disk's head takes to pass them over
CHUNK = 1 << 20  # bytes of one read

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PrefetchLimits:
    """What bounds prefetching."""

    bytes: int = 512 << 20  # of one replay, and at most half of the memory that is free
    boots: int = 3  # that an image's list is made from; what a boot reads hardly changes
    rest_seconds: float = 30.0  # from one replay of an image to the next: a room of machines starts as one


class Prefetcher:
    """Learns from recordings, and replays what it learnt; all of it happens in `run`, and the rest in `keep`."""

    def __init__(
        self,
        lists: BootLists,
        find: Callable[[str], Entry | None],
        limits: PrefetchLimits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`find` gives the image of a name."""
        self.counts: Counter[str] = Counter()
        self._lists = lists
        self._find = find
        self._limits = limits or PrefetchLimits()
        self._clock = clock
        self._wanted: dict[str, Entry] = {}  # by name: as many as there are images
        self._learned: dict[str, Recording] = {}  # the latest of each image
        self._rested: dict[str, float] = {}  # when each may be replayed again
        self._called = asyncio.Event()

    def want(self, entry: Entry) -> None:
        """A machine is on its way to this image."""
        if self._clock() >= self._rested.get(entry.name, 0.0):
            self._wanted[entry.name] = entry
            self._called.set()

    def learn(self, recording: Recording) -> None:
        """A boot of an image was recorded."""
        self._learned[recording.image] = recording
        self._called.set()

    async def run(self) -> None:
        """Replay and learn until cancelled."""
        with ThreadPoolExecutor(1, "prefetch") as thread:
            while True:
                await self._called.wait()
                self._called.clear()
                while self._learned:  # first, since a machine that starts again ends a recording, and wants its list
                    name, recording = next(iter(self._learned.items()))
                    await in_thread(thread, self._fold_in, recording)
                    if self._learned[name] is recording:  # else a later one came meanwhile
                        del self._learned[name]
                while self._wanted:
                    entry = self._wanted.pop(next(iter(self._wanted)))
                    await self._replay(thread, entry)

    async def _replay(self, thread: ThreadPoolExecutor, entry: Entry) -> None:
        began = self._clock()
        try:
            known = await in_thread(thread, self._lists.load, entry.name, entry.image.version)
            if not known.ranges:
                return  # and no rest: the first boot may be over within it
            self._rested[entry.name] = began + self._limits.rest_seconds
            fetched = await self._fetch(thread, entry.image, known)
        except (OSError, StorageError) as failure:
            log.warning("prefetch_failed", image=entry.name, reason=str(failure))
            return
        self.counts["replays"] += 1
        self.counts["bytes"] += fetched
        seconds = round(self._clock() - began, 3)
        log.info("image_prefetched", image=entry.name, bytes=fetched, ranges=len(known.ranges), seconds=seconds)

    async def _fetch(self, thread: ThreadPoolExecutor, image: FileImage, known: BootList) -> int:
        fetched, budget = 0, min(self._limits.bytes, free_memory() // 2)
        for window in windows(known.ranges, image.size):
            if fetched + sum(length for _, length in window) > budget:
                break
            fetched += await in_thread(thread, bring_in, image, window)
        return fetched

    def keep(self) -> None:
        """Learn what `run` did not get to before it was cancelled; may wait for the disk."""
        for recording in self._learned.values():
            self._fold_in(recording)
        self._learned.clear()

    def _fold_in(self, recording: Recording) -> None:
        entry = self._find(recording.image)
        if entry is None:
            return
        name, version = entry.name, entry.image.version
        try:
            known = self._lists.load(name, version)
            if known.boots < self._limits.boots:
                reads = ((start, end - start) for start, end, _ in first_reads(recording.runs))
                self._lists.save(name, version, fold(known, reads))
        except OSError as failure:
            log.warning("boot_list_failed", image=name, reason=str(failure))


async def in_thread(thread: ThreadPoolExecutor, work: Callable[P, T], *words: P.args, **named: P.kwargs) -> T:
    """As asyncio.to_thread, in a thread of ours: a slow disk must not keep the others from reading theirs."""
    return await asyncio.get_running_loop().run_in_executor(thread, partial(work, *words, **named))


def windows(ranges: Sequence[tuple[int, int]], size: int) -> Iterator[list[tuple[int, int]]]:
    """Ranges inside an image of that size, some megabytes at a time; each lot in the order of the disk, gaps closed."""
    window: list[tuple[int, int]] = []
    room = WINDOW
    for offset, length in ranges:
        end = min(offset + length, size)
        for start in range(offset, end, CHUNK):
            part = min(CHUNK, end - start)
            if part > room:
                yield close_gaps(window)
                window, room = [], WINDOW
            window.append((start, part))
            room -= part
    if window:
        yield close_gaps(window)


def close_gaps(window: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges sorted, as one where little is between two."""
    closed: list[tuple[int, int]] = []
    for offset, length in sorted(window):
        if closed and offset - sum(closed[-1]) <= GAP:
            closed[-1] = (closed[-1][0], offset + length - closed[-1][0])
        else:
            closed.append((offset, length))
    return closed


def bring_in(image: FileImage, window: list[tuple[int, int]]) -> int:
    """Have the page cache hold these ranges, and wait until it does; bytes of those that were not there.

    Raises: OSError, StorageError.
    """
    cold = [(offset, length) for offset, length in window if not image.is_cached(offset, length)]
    for offset, length in cold:
        os.posix_fadvise(image.fileno(), offset, length, os.POSIX_FADV_WILLNEED)  # all at once: the disk has a queue
    for offset, length in cold:
        for start in range(offset, offset + length, CHUNK):
            image.read_at(start, min(CHUNK, offset + length - start))
    return sum(length for _, length in cold)


def free_memory() -> int:
    """Bytes that could be had without anything being swapped out."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
