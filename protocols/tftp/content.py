"""A file as numbered blocks: which bytes of it are needed next, and what goes into block n.

Blocks count from 1 without wrapping. Only a block shorter than blksize ends a transfer, so a file of a whole number
of blocks is followed by an empty one (RFC 1350 §6). The native pump cuts octets by itself: those here are for the few
transfers that it can't number.
"""

from typing import Protocol

from protocols.tftp import netascii

READ_AHEAD = 64 << 10  # bytes; one read feeds over a hundred blocks of 512, and 1000 transfers hold 64 MiB


class Content(Protocol):
    """What a read transfer sends from."""

    def require(self, first: int, count: int) -> tuple[int, int] | None:
        """(offset, length) of the file still needed for blocks from `first`, or None when they can be sent.

        Blocks before `first` will not be asked for again.
        """

    def supply(self, offset: int, data: bytes) -> None:
        """Bytes that `require` named; if it has named others since, it will name those again."""

    def payload(self, number: int) -> memoryview:
        """The payload of a block that `require` covered; shorter than blksize for the last one only."""

    def size_through(self, number: int) -> int:
        """How many payload bytes blocks 1 to `number` hold."""


class OctetContent:
    """Bytes as they are: block n starts at (n - 1) * blksize."""

    __slots__ = ("_blksize", "_chunk", "_size", "_start")

    def __init__(self, size: int, blksize: int) -> None:
        self._size = size
        self._blksize = blksize
        self._chunk = memoryview(b"")
        self._start = 0  # offset of the chunk in the file

    def require(self, first: int, count: int) -> tuple[int, int] | None:
        """As `Content.require`; asks for READ_AHEAD bytes where fewer would do."""
        begin = (first - 1) * self._blksize
        end = min(begin + count * self._blksize, self._size)
        if begin >= end or (self._start <= begin and end <= self._start + len(self._chunk)):
            return None
        return begin, min(max(count * self._blksize, READ_AHEAD), self._size - begin)

    def supply(self, offset: int, data: bytes) -> None:
        """As `Content.supply`."""
        self._start = offset
        self._chunk = memoryview(data)

    def payload(self, number: int) -> memoryview:
        """As `Content.payload`; a slice, not a copy."""
        begin = (number - 1) * self._blksize
        length = min(self._blksize, self._size - begin)
        return self._chunk[begin - self._start :][:length]

    def size_through(self, number: int) -> int:
        """As `Content.size_through`."""
        return min(number * self._blksize, self._size)


class NetasciiContent:
    """Text with its line ends converted on the way: one block in memory, made from the one before it."""

    __slots__ = ("_blksize", "_encoded", "_first", "_passed", "_read", "_size")

    def __init__(self, size: int, blksize: int) -> None:
        self._size = size
        self._blksize = blksize
        self._read = 0  # bytes of the file that were converted
        self._encoded = b""  # what of them is not yet acknowledged
        self._first = 1  # the block that _encoded starts with
        self._passed = 0  # payload bytes of the blocks before it

    def require(self, first: int, count: int) -> tuple[int, int] | None:
        """As `Content.require`, for the present block or the one after it; `count` is always 1."""
        if first > self._first:
            self._passed += len(self.payload(self._first))
            self._encoded = self._encoded[self._blksize :]
            self._first = first
        if len(self._encoded) >= self._blksize * count or self._read == self._size:
            return None
        return self._read, min(max(self._blksize, READ_AHEAD), self._size - self._read)

    def supply(self, offset: int, data: bytes) -> None:
        """As `Content.supply`; what is required never changes before it is supplied."""
        self._read = offset + len(data)
        self._encoded += netascii.encode(data)

    def payload(self, number: int) -> memoryview:
        """As `Content.payload`, for the block that was required last."""
        return memoryview(self._encoded)[: self._blksize]

    def size_through(self, number: int) -> int:
        """As `Content.size_through`, for the present block and the one before it."""
        return self._passed + (len(self.payload(number)) if number == self._first else 0)
