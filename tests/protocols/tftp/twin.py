"""The native pump's twin: octet reads over asyncio, by the sans-IO state machine that the pump follows."""

import socket

from protocols.tftp.admission import Address
from protocols.tftp.channel import Owner, ReadChannel
from protocols.tftp.content import READ_AHEAD
from protocols.tftp.events import Download
from protocols.tftp.options import Terms
from protocols.tftp.wire import Request
from storage.image import Image


class PlainPath:
    """The data path that is a channel for each transfer."""

    def __init__(self, server: Owner, pumps: int) -> None:
        self._server = server

    def start(self) -> None:
        """Nothing to do."""

    def stop(self) -> None:
        """The channels end by themselves."""

    def open(self, sock: socket.socket, peer: Address, request: Request, terms: Terms, image: Image) -> ReadChannel:
        """As `PumpedPath.open`."""
        content = OctetContent(image.size, terms.blksize)
        return ReadChannel(self._server, sock, peer, request, terms, image, content)

    def downloads(self) -> list[Download]:
        """None but the channels' own."""
        return []


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
