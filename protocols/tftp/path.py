"""The way of reads through native pumps: each pump in the loop, and what it tells as events and log lines."""

import asyncio
import os
import socket
from itertools import cycle
from typing import Protocol

from protocols.tftp.admission import Address
from protocols.tftp.channel import Owner
from protocols.tftp.events import Download, TransferFinished, TransferStarted
from protocols.tftp.options import Terms
from protocols.tftp.pump import TftpPump
from protocols.tftp.pumped import Counted, Ended
from protocols.tftp.wire import Request
from storage.image import Image
from storage.workers import Workers


class Transfer(Protocol):
    """One that was admitted, and whose file is open."""

    request: Request

    def start(self) -> None:
        """Tell the world; unless it was sent already, send the first answer."""

    def repeat(self) -> bool:
        """The client sent its request again: answer again, or know it for a late duplicate; False if it began anew."""

    def supersede(self) -> None:
        """The client began something else with the same port: that has this one's place from now on."""

    def stop(self) -> None:
        """The server ends."""


class ReadPath(Protocol):
    """What carries reads in octet mode."""

    def start(self) -> None:
        """Before the first `open`. Raises: OSError."""

    def stop(self) -> None:
        """End every transfer, telling its client."""

    def open(self, sock: socket.socket, peer: Address, request: Request, terms: Terms, image: Image) -> Transfer:
        """A transfer on a socket of its own. Raises: OSError; then the socket stays the caller's."""

    def downloads(self) -> list[Download]:
        """The transfers under way that are not channels."""


class _PumpedRead:
    """One of a pump's transfers: what its numbers don't say."""

    __slots__ = ("_has_place", "_line", "_peer", "_server", "_size", "_started_at", "_terms", "request", "seat")

    def __init__(
        self, server: Owner, line: "_Line", peer: Address, request: Request, terms: Terms, size: int, seat: int
    ) -> None:
        self.request = request
        self.seat = seat
        self._server, self._line, self._peer = server, line, peer
        self._terms, self._size = terms, size
        self._started_at = asyncio.get_running_loop().time()
        self._has_place = True

    def start(self) -> None:
        """As `Transfer.start`; the pump has sent it."""
        terms, (client, port) = self._terms, self._peer
        self._server.on_started(
            TransferStarted(client, port, self.request.filename, "read", self._size, terms.blksize, terms.windowsize)
        )

    def repeat(self) -> bool:
        """As `Transfer.repeat`."""
        return self._line.pump.repeat(self.seat)

    def supersede(self) -> None:
        """As `Transfer.supersede`."""
        self._line.abandon(self.seat)
        self.leave()

    def stop(self) -> None:
        """Nothing: the pump ends all of its own at once."""

    def download(self, size: int) -> Download:
        """How far it got, by what the pump says."""
        return Download(self._peer[0], self.request.filename, size)

    def end(self, end: Ended) -> None:
        """The pump is done with it."""
        name, seconds = self.request.filename, asyncio.get_running_loop().time() - self._started_at
        if end.errno:
            cause = os.strerror(end.errno)
            self._server.log.warning("storage_failed", client=self._peer[0], name=name, cause=cause)
        self._server.on_finished(
            TransferFinished(*self._peer, name, "read", end.outcome, end.size, seconds, end.resent)
        )
        self.leave()

    def leave(self) -> None:
        """Its place is free for another."""
        if self._has_place:
            self._has_place = False
            self._server.on_closed(self._peer)


class _Line:
    """One pump in the loop, and its transfers by seat."""

    def __init__(self, server: Owner, workers: Workers) -> None:
        self._server = server
        self._reads: dict[int, _PumpedRead] = {}
        self.pump = TftpPump(workers=workers)
        self.pump.start()
        asyncio.get_running_loop().add_reader(self.pump.fileno(), self._on_news)

    def open(self, sock: socket.socket, peer: Address, request: Request, terms: Terms, image: Image) -> _PumpedRead:
        """As `ReadPath.open`."""
        seat = self.pump.adopt(sock, peer, image, terms, self._server.limits.give_up_after)
        read = self._reads[seat] = _PumpedRead(self._server, self, peer, request, terms, image.size, seat)
        return read

    def stop(self) -> None:
        """As `ReadPath.stop`."""
        asyncio.get_running_loop().remove_reader(self.pump.fileno())
        self._tell(self.pump.close())

    def abandon(self, seat: int) -> None:
        """End a transfer whose client began something else, unless it just ended by itself."""
        end = self.pump.abandon(seat)
        if end is not None:
            self._tell([end])

    def downloads(self) -> list[Download]:
        """As `ReadPath.downloads`."""
        return [self._reads[seat].download(size) for seat, size in self.pump.sizes().items()]

    def _on_news(self) -> None:
        self._tell(self.pump.events())

    def _tell(self, events: list[Counted | Ended]) -> None:
        for event in events:
            if isinstance(event, Counted):
                self._server.counts[event.name] += event.number
            else:
                self._reads.pop(event.seat).end(event)


class PumpedPath:
    """Reads by native pumps, which take turns at new transfers."""

    def __init__(self, server: Owner, pumps: int) -> None:
        self._server = server
        self._pumps = pumps
        self._lines: list[_Line] = []
        self._workers: Workers | None = None

    def start(self) -> None:
        """As `ReadPath.start`."""
        self._workers = Workers()
        self._lines = [_Line(self._server, self._workers) for _ in range(self._pumps)]
        self._next = cycle(self._lines)

    def stop(self) -> None:
        """As `ReadPath.stop`."""
        for line in self._lines:
            line.stop()
        self._lines = []
        if self._workers is not None:
            self._workers.close()

    def open(self, sock: socket.socket, peer: Address, request: Request, terms: Terms, image: Image) -> _PumpedRead:
        """As `ReadPath.open`."""
        return next(self._next).open(sock, peer, request, terms, image)

    def downloads(self) -> list[Download]:
        """As `ReadPath.downloads`."""
        return [download for line in self._lines for download in line.downloads()]
