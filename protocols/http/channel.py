"""Connections of the HTTP server: the door before each, and the long bodies that leave by native pumps.

aiohttp reads requests and writes heads; while a body goes out its transport is idle, and the pump writes to the socket.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from errno import ETIMEDOUT
from typing import Protocol, cast

from aiohttp import web

from protocols.http.lobby import HttpLimits, Lobby
from protocols.http.pump import HttpPump
from protocols.http.pumped import Ended
from protocols.http.refusal import busy
from protocols.http.wire import add_host
from storage.errors import StorageError
from storage.image import Image
from storage.workers import Workers

LOCAL = "127.0.0.1"  # who a client of the unix socket is


@dataclass(slots=True, eq=False)
class Exchange:
    """One request and how far its answer got."""

    request: web.Request
    client: str
    name: str = ""
    status: int = 0
    size: int = 0


class Door(asyncio.Protocol):
    """Stands before aiohttp's protocol on each TCP connection: where there is no room, it answers 503 (quirks I-6).

    The answer waits for the request's first bytes, since closing a connection that has unread ones resets it, and a
    reset can overtake the answer.
    """

    __slots__ = ("_client", "_counts", "_deadline", "_factory", "_inner", "_is_told", "_limits", "_lobby", "_transport")

    def __init__(
        self, lobby: Lobby, limits: HttpLimits, counts: Counter[str], factory: Callable[[], asyncio.Protocol]
    ) -> None:
        self._lobby = lobby
        self._limits = limits
        self._counts = counts
        self._factory = factory
        self._client = LOCAL
        self._inner = asyncio.Protocol()  # deaf and dumb: who is refused talks to nobody
        self._transport: asyncio.Transport | None = None  # of one that is refused
        self._is_told = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if peer := transport.get_extra_info("peername"):  # None: it was reset before we looked
            self._client = peer[0]
        if self._lobby.enter(self._client):
            self._inner = self._factory()
            self._inner.connection_made(transport)
            return
        self._counts["turned_away"] += 1
        self._transport = cast(asyncio.Transport, transport)
        if self._lobby.start_refusal():
            self._deadline = asyncio.get_running_loop().call_later(self._limits.turn_away, self._transport.abort)
        else:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            self._inner.data_received(add_host(data))
        elif not self._is_told:
            self._is_told = True
            self._transport.write(busy(self._limits.retry_after))
            self._transport.write_eof()

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, failure: Exception | None) -> None:
        self._inner.connection_lost(failure)
        if self._transport is None:
            self._lobby.leave(self._client)
        elif self._deadline is not None:
            self._deadline.cancel()
            self._lobby.end_refusal()


@asynccontextmanager
async def lend_socket(request: web.Request, stall: float) -> AsyncIterator[int]:
    """The descriptor of a request's connection, whose transport neither reads nor writes meanwhile.

    What the client sends waits in the kernel: so it can't have us keep more than its next requests, and while the
    answer goes out nobody looks. Raises: ConnectionError when the client is gone, TimeoutError when it does not take
    within `stall` seconds what was written already.
    """
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client is gone")
    was_reading = transport.is_reading()  # aiohttp itself pauses a client that sent too much
    transport.pause_reading()
    transport.set_write_buffer_limits(high=0)  # so that draining is emptying
    try:
        async with asyncio.timeout(stall):
            await request.writer.drain()
        if transport.is_closing():
            raise ConnectionResetError("the client is gone")
        yield transport.get_extra_info("socket").fileno()
    finally:
        transport.set_write_buffer_limits()
        if was_reading:
            transport.resume_reading()


class BodyPath(Protocol):
    """Sends bodies too long for one piece."""

    def start(self) -> None:
        """Begin to serve, on the running loop."""

    def stop(self) -> None:
        """End whatever is under way."""

    async def send(self, exchange: Exchange, response: web.StreamResponse, image: Image, at: int, stop: int) -> None:
        """Send those bytes of `image`, and count them in `exchange`; nothing else uses the connection meanwhile.

        Raises: TimeoutError when the client takes nothing in, ConnectionError when it left, StorageError when the
        image can't be read.
        """

    def count(self) -> None:
        """Bring every exchange's count of bytes up to date."""


class _Line:
    """One pump, and the exchanges whose bodies it sends."""

    def __init__(self, pump: HttpPump) -> None:
        self.pump = pump
        self.under_way: dict[int, tuple[Exchange, int, asyncio.Future[Ended]]] = {}

    async def carry(self, exchange: Exchange, fd: int, image: Image, at: int, stop: int) -> Ended:
        """Have a body sent; once this returns or raises, nothing more of it will be."""
        number = self.pump.send(fd, image, at, stop - at)
        told: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        before = exchange.size
        self.under_way[number] = (exchange, before, told)
        try:
            ended = await told
        except asyncio.CancelledError:
            self.pump.stop(number)
            self.count()
            raise
        else:
            exchange.size = before + ended.size  # not added: it may have been counted on the way
            return ended
        finally:
            del self.under_way[number]

    def hear(self, events: list[Ended]) -> None:
        """Wake whom the pump's events concern."""
        for event in events:
            _, _, told = self.under_way.get(event.number, (None, 0, None))
            if told is not None and not told.done():  # else it was cancelled
                told.set_result(event)

    def count(self) -> None:
        """Bring the exchanges' counts up to date."""
        progress = self.pump.progress()
        for number, (exchange, before, told) in self.under_way.items():
            if not told.done() or told.cancelled():
                exchange.size = before + progress[number]


class PumpedPath:
    """Bodies by native pumps, each with the fewest of them."""

    def __init__(self, limits: HttpLimits, pumps: int) -> None:
        self._limits = limits
        self._pumps = pumps
        self._workers: Workers | None = None
        self._lines: list[_Line] = []

    def start(self) -> None:
        """Start the pumps and listen to them. Raises: OSError as threads and epoll do."""
        self._workers = Workers()
        for _ in range(self._pumps):
            line = _Line(HttpPump(workers=self._workers, stall=self._limits.stall))
            self._lines.append(line)
            line.pump.start()
            asyncio.get_running_loop().add_reader(line.pump.fileno(), self._hear, line)

    def stop(self) -> None:
        """End every body under way, and the pumps."""
        for line in self._lines:
            asyncio.get_running_loop().remove_reader(line.pump.fileno())
            line.hear(line.pump.close())
        self._lines.clear()
        if self._workers is not None:
            self._workers.close()

    async def send(self, exchange: Exchange, response: web.StreamResponse, image: Image, at: int, stop: int) -> None:
        """Lend the connection's socket to a pump until the body is over."""
        async with lend_socket(exchange.request, self._limits.stall) as fd:
            line = min(self._lines, key=lambda line: len(line.under_way))
            require_sent(await line.carry(exchange, fd, image, at, stop))

    def count(self) -> None:
        """Ask the pumps how far they got."""
        for line in self._lines:
            line.count()

    def _hear(self, line: _Line) -> None:
        line.hear(line.pump.events())


def require_sent(ended: Ended) -> None:
    """Pass a body that went out whole. Raises: TimeoutError, ConnectionError or StorageError, as it ended."""
    if ended.reason == "stalled" or ended.errno == ETIMEDOUT:  # the kernel's own patience is as long
        raise TimeoutError(ETIMEDOUT, "the client takes nothing in")
    if ended.reason == "failed":
        raise StorageError(f"reading failed after {ended.size} bytes: {os.strerror(ended.errno)}", ended.errno)
    if ended.reason != "sent":
        raise ConnectionResetError(ended.errno, os.strerror(ended.errno))
