"""Reads named by file: what a boot reads of its root, in order, with bytes and times, and as the API says it.

Names are text, each byte that is no UTF-8 as U+DC80 to U+DCFF. Bytes and reads are those of the image, compressed as
they are there; a block that is read again counts once. What a read brings along because it is rounded to whole sectors
counts for the boot, but not for the files that it is of.
"""

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from typing_extensions import TypedDict  # pydantic, which checks what clients receive, can't read typing's before 3.12

from appliance.heat.recording import Recording, Run
from storage.squashfs.owners import Owner, Owners, Part

NAMES_MOST = 64  # of one range: a fragment of a megabyte may hold thousands of ends


class HotRange(TypedDict):
    """A file, a fragment or a table of metadata that was read."""

    part: str  # "file", "fragment", "metadata", "unknown"
    names: list[str]  # files that are in it; the table's name
    more_names: int  # files that are in it too
    offset: int  # in the image
    size: int  # bytes there
    bytes: int  # of those that were read
    after: float  # seconds from the recording's beginning to the first read
    boots: int  # recordings in which it was read


class BootHeat(TypedDict):
    """What one boot read of the image, as a whole."""

    client: str
    began: float
    seconds: float
    bytes: int  # of the image, each once
    reads: int  # requests
    jumps: int  # of a disk that reads each byte once: to before the last read, or more than 128 KiB behind its end
    way: int  # bytes that those jumps passed over, back or forth
    blocks: int  # of 128 KiB each, aligned, that were touched: what a page cache's readahead brings
    stretches: int  # of such blocks side by side: seeks, if they were read in the order of the disk
    dropped: int  # reads that found no room in the recording


class HeatReport(TypedDict):
    """What boots read of an image: the ranges in the order of the first read."""

    image: str
    boots: list[BootHeat]  # oldest first
    ranges: list[HotRange]


BLOCK = 128 << 10  # bytes; mksquashfs's block and Linux's readahead
SECTOR_MOST = 4096  # bytes; no disk's logical sector is larger

_Key = tuple[int, int, Part]


@dataclass(slots=True)
class _Heat:
    owner: Owner
    after: float
    size: int = 0
    boots: int = 1


class Covered:
    """Disjoint ranges, growing; says of each new one what was not covered before."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> list[tuple[int, int]]:
        """Cover a range; the parts of it that are new."""
        first = bisect_left(self._ends, start)  # the first that touches it or lies behind
        last = first
        fresh, at = [], start
        low, high = start, end
        while last < len(self._starts) and self._starts[last] <= end:
            if self._starts[last] > at:
                fresh.append((at, self._starts[last]))
            at = max(at, self._ends[last])
            low, high = min(low, self._starts[last]), max(high, self._ends[last])
            last += 1
        if at < end:
            fresh.append((at, end))
        self._starts[first:last], self._ends[first:last] = [low], [high]
        return fresh


def first_reads(runs: Iterable[Run]) -> Iterator[tuple[int, int, float]]:
    """Offset, end and seconds of what was read, each byte once, in order."""
    covered = Covered()
    for offset, length, at, _ in runs:
        for start, end in covered.add(offset, offset + length):
            yield start, end, at / 1e9


def behind_probe(runs: Sequence[Run]) -> Sequence[Run]:
    """The reads that came after those of the image's beginning, which tell a client what is in it.

    They go by the device, with readahead: hundreds of kilobytes of whatever file lies there. A file system that reads
    of that file reads it again.
    """
    end = 0
    for number, (offset, length, _, _) in enumerate(runs):
        if offset != end:
            return runs[number:]
        end += length
    return ()


def name_reads(recording: Recording, owners: Owners) -> list[_Heat]:
    """What a recording read, by owner, in the order of the first read. Takes milliseconds: not in the event loop."""
    found: dict[_Key, _Heat] = {}
    sector = sector_of(recording.runs)
    for start, end, after in first_reads(behind_probe(recording.runs)):
        at = start
        for owner in owners.within(start, end - start):
            part = min(end, owner.offset + owner.length) - max(at, owner.offset)
            if part <= 0:  # lies in one that was counted: only a damaged image has such
                continue
            if owner.offset > at:
                _count(found, nobodys(at, owner.offset), owner.offset - at, after)
            if not is_neighbour(owner, part, sector):
                _count(found, owner, part, after)
            at = min(end, owner.offset + owner.length)
        if at < end:
            _count(found, nobodys(at, end), end - at, after)
    return list(found.values())


def sector_of(runs: Iterable[Run]) -> int:
    """What the client's reads are rounded to: a power of two that all offsets and lengths are multiples of."""
    bits = SECTOR_MOST
    for offset, length, _, _ in runs:
        bits |= offset | length
    return bits & -bits


def is_neighbour(owner: Owner, part: int, sector: int) -> bool:
    """Whether so many bytes of a file were read only because the sector that they are in has others' as well.

    Blocks are packed without gaps and read whole, in whole sectors: each read touches those that lie beside it. Tables
    are read on: less than a sector of one is what was left of it.
    """
    return owner.part in (Part.FILE, Part.FRAGMENT) and part < min(sector, owner.length)


def nobodys(start: int, end: int) -> Owner:
    """The owner of bytes that have none."""
    return Owner(Part.UNKNOWN, start, end - start, ())


def _count(found: dict[_Key, _Heat], owner: Owner, size: int, after: float) -> None:
    heat = found.setdefault((owner.offset, owner.length, owner.part), _Heat(owner, after))
    heat.size += size


def report_heat(image: str, recordings: Sequence[Recording], owners: Owners) -> HeatReport:
    """All recordings together: ranges by their earliest first read, each with the most that a boot read of it."""
    joined: dict[_Key, _Heat] = {}
    for recording in recordings:
        for heat in name_reads(recording, owners):
            key = (heat.owner.offset, heat.owner.length, heat.owner.part)
            known = joined.setdefault(key, heat)
            if known is not heat:
                known.after = min(known.after, heat.after)
                known.size = max(known.size, heat.size)
                known.boots += 1
    ranges = sorted(joined.values(), key=lambda heat: heat.after)
    return {
        "image": image,
        "boots": [sum_up(recording) for recording in recordings],
        "ranges": [_report_range(heat) for heat in ranges],
    }


def sum_up(recording: Recording) -> BootHeat:
    """One boot in numbers."""
    once = list(first_reads(recording.runs))
    jumps = find_jumps((start, end) for start, end, _ in once)
    blocks = touched_blocks(recording.runs)
    return {
        "client": recording.client,
        "began": round(recording.began, 3),
        "seconds": round(recording.seconds, 3),
        "bytes": sum(end - start for start, end, _ in once),
        "reads": sum(run[3] for run in recording.runs),
        "jumps": len(jumps),
        "way": sum(jumps),
        "blocks": len(blocks),
        "stretches": sum(block - 1 not in blocks for block in blocks),
        "dropped": recording.dropped,
    }


def find_jumps(ranges: Iterable[tuple[int, int]]) -> list[int]:
    """How far a disk moves each time it has to: its readahead, and squashfs's rounding, are no jumps."""
    jumps = []
    last_start = last_end = 0
    for start, end in ranges:
        if not last_start <= start <= last_end + BLOCK:
            jumps.append(abs(start - last_end))
        last_start, last_end = start, end
    return jumps


def touched_blocks(runs: Iterable[Run]) -> set[int]:
    """The blocks of 128 KiB that were read in."""
    return {
        block for offset, length, _, _ in runs for block in range(offset // BLOCK, (offset + length - 1) // BLOCK + 1)
    }


def _report_range(heat: _Heat) -> HotRange:
    owner = heat.owner
    return {
        "part": owner.part.value,
        "names": [os.fsdecode(name) for name in owner.names[:NAMES_MOST]],
        "more_names": max(0, len(owner.names) - NAMES_MOST),
        "offset": owner.offset,
        "size": owner.length,
        "bytes": heat.size,
        "after": round(heat.after, 6),
        "boots": heat.boots,
    }
