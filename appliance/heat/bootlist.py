"""What boots of each image read first, on disk: one file an image, so that it outlives the appliance.

JSON: {"version": the image's, "boots": how many were folded in, "ranges": [[offset, length], ...]}, in the order of
the first boot, then what later ones read beside it. A list of another version of the image is no list of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from appliance.heat.reads import Covered
from appliance.statefile import StateFile

RANGES_MOST = 65536  # of one list; past them only the beginning of a boot is known
FILE_MOST = 4 << 20  # bytes of a file that is read: as many ranges, written out


class _Stored(TypedDict):
    version: str
    boots: int
    ranges: list[tuple[int, int]]


_STORED = TypeAdapter(_Stored)


@dataclass(frozen=True, slots=True)
class BootList:
    """Ranges (offset, length) of an image, disjoint, in the order in which boots read them."""

    boots: int
    ranges: tuple[tuple[int, int], ...]


NOTHING = BootList(0, ())


def fold(known: BootList, reads: Iterable[tuple[int, int]]) -> BootList:
    """A list with what one more boot read; ranges that follow each other become one."""
    covered, ranges = Covered(), list(known.ranges)
    for offset, length in ranges:
        covered.add(offset, offset + length)
    for offset, length in reads:
        for start, end in covered.add(offset, offset + length):
            if ranges and sum(ranges[-1]) == start:
                ranges[-1] = (ranges[-1][0], ranges[-1][1] + end - start)
            elif len(ranges) < RANGES_MOST:
                ranges.append((start, end - start))
    return BootList(known.boots + 1, tuple(ranges))


class BootLists:
    """The lists in a folder, which is made when the first is written. Its methods may wait for the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, image: str, version: str) -> BootList:
        """What is known of an image; NOTHING where there is no list of this version, or none that makes sense.

        Raises: OSError when there is one that can't be read.
        """
        try:
            stored = self._file(image).read()
        except ValueError:  # a damaged one is written again after the next boot
            return NOTHING
        if stored is None or stored["version"] != version:
            return NOTHING
        return BootList(stored["boots"], tuple((o, n) for o, n in stored["ranges"] if o >= 0 and n > 0))

    def save(self, image: str, version: str, known: BootList) -> None:
        """Write an image's list, whole or not at all. Raises: OSError."""
        stored: _Stored = {"version": version, "boots": known.boots, "ranges": list(known.ranges)}
        self._file(image).write(stored)

    def _file(self, image: str) -> StateFile[_Stored]:
        return StateFile(self._folder / f"{image}.json", _STORED, most=FILE_MOST)
