"""Whose bytes of an image are: from an offset to the files, or the table of metadata, that lie there.

Made by one walk over all files. A file's blocks lie one behind the other, so that a file is one interval, however many
blocks it has; its end may lie in a fragment, which it shares with others. Kept are two sorted arrays of numbers for
each of the two kinds and every path once: some 100 bytes a file.
"""

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from storage.image import Image
from storage.squashfs.errors import OutOfRangeError
from storage.squashfs.filesystem import Squashfs
from storage.squashfs.values import Kind

FILES_MOST = 1 << 20  # names that are kept; the bytes of files past them are nobody's
NO_TABLE = (1 << 64) - 1
SUPERBLOCK_BYTES = 96
POSITION = struct.Struct("<Q")


class Part(Enum):
    """What a range of an image is."""

    FILE = "file"
    FRAGMENT = "fragment"  # ends of several files, compressed together
    METADATA = "metadata"
    UNKNOWN = "unknown"  # files without a name here, padding


@dataclass(frozen=True, slots=True)
class Owner:
    """A range of the image that belongs together: `names` are the files in it, or the table's own name.

    Equal files, and hard links, share their blocks, and so an owner.
    """

    part: Part
    offset: int
    length: int
    names: tuple[bytes, ...]


class Intervals:
    """Ranges with the numbers of those that lie in them, sorted by offset; several may share one."""

    def __init__(self, found: list[tuple[int, int, int]]) -> None:
        """`found`: offset, length and number of each."""
        found.sort()
        self._starts = array("Q", (start for start, _, _ in found))
        self._lengths = array("Q", (length for _, length, _ in found))
        self._numbers = array("L", (number for _, _, number in found))

    def within(self, offset: int, end: int) -> Iterator[tuple[int, int, list[int]]]:
        """Ranges that overlap with that from `offset` to `end`, in order: where, how long, and whose."""
        # The one that begins before, whose beginning its equals have as well.
        first = bisect_right(self._starts, offset) - 1
        while first > 0 and self._starts[first - 1] == self._starts[first]:
            first -= 1
        at = max(first, 0)
        while at < len(self._starts) and self._starts[at] < end:
            start, length, numbers = self._starts[at], 0, []
            while at < len(self._starts) and self._starts[at] == start:
                length = max(length, self._lengths[at])
                numbers.append(self._numbers[at])
                at += 1
            if start + length > offset:
                yield start, length, numbers


class Owners:
    """The map of one image; made by `map_owners`."""

    def __init__(
        self,
        names: list[bytes],
        blocks: list[tuple[int, int, int]],
        fragments: list[tuple[int, int, int]],
        tables: list[Owner],
    ) -> None:
        self._names = names
        self._blocks = Intervals(blocks)
        self._fragments = Intervals(fragments)
        self._tables = tables

    def within(self, offset: int, length: int) -> list[Owner]:
        """Everything that overlaps with a range of the image, in the order of the image; each whole, not cut."""
        end = offset + length
        found = [owner for owner in self._tables if owner.offset < end and offset < owner.offset + owner.length]
        for part, intervals in ((Part.FILE, self._blocks), (Part.FRAGMENT, self._fragments)):
            for start, size, numbers in intervals.within(offset, end):
                found.append(Owner(part, start, size, tuple(self._names[number] for number in numbers)))
        return sorted(found, key=lambda owner: owner.offset)


def map_owners(files: Squashfs) -> Owners:
    """Walk over all of an image: seconds for a hundred thousand files, so not in the event loop.

    Raises: StorageError as walking does.
    """
    names: list[bytes] = []
    blocks: list[tuple[int, int, int]] = []
    fragments: list[tuple[int, int, int]] = []
    for path, entry in files.walk():
        if entry.kind is not Kind.FILE:
            continue
        if len(names) == FILES_MOST:
            break
        start, length, fragment, fragment_length = files.open_file(entry.reference).layout
        if length:
            blocks.append((start, length, len(names)))
        if fragment_length:
            fragments.append((fragment, fragment_length, len(names)))
        names.append(path)
    return Owners(names, blocks, fragments, name_tables(files.image))


def name_tables(image: Image) -> list[Owner]:
    """The tables of metadata and where each lies, in the order of the image, which `open` has checked.

    A table of fixed entries is blocks, and behind them the array of their positions, which the superblock names.
    """
    superblock = image.read_at(0, SUPERBLOCK_BYTES)
    (used,) = struct.unpack_from("<Q", superblock, 40)
    owners, xattrs, inodes, directories, fragments, export = struct.unpack_from("<6Q", superblock, 48)
    begins = [(0, b"superblock"), (inodes, b"inode table"), (directories, b"directory table")]
    for name, table, behind in (
        (b"fragment table", fragments, 0),
        (b"export table", export, 0),
        (b"id table", owners, 0),
        (b"xattr table", xattrs, 0),
    ):
        if table != NO_TABLE and table + behind + POSITION.size <= used:
            (first,) = POSITION.unpack(image.read_at(table, POSITION.size))
            begins.append((first if directories <= first < table else table, name))
    begins.sort()
    ends = [begin for begin, _ in begins[1:]] + [used]
    if begins[0][1] != b"superblock" or ends[0] < SUPERBLOCK_BYTES:
        raise OutOfRangeError("a table lies over the superblock", 0)
    ends[0] = SUPERBLOCK_BYTES
    return [
        Owner(Part.METADATA, begin, end - begin, (name,))
        for (begin, name), end in zip(begins, ends, strict=True)
        if end > begin
    ]
