"""The NBD server on TCP: its connections, their bounds, and the native pump that serves them.

`Peer` (channel.py) takes a connection through the handshake; then its socket goes to a pump (pump.pyx), a thread
that asyncio hears of by one descriptor. Left out: TLS, handing sockets to a successor.
"""

import asyncio
import os
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from errno import EIO
from functools import partial

from typing_extensions import Buffer

from protocols.nbd.admission import Admission
from protocols.nbd.channel import DataPath, Peer, Server, tell_end
from protocols.nbd.events import (
    Connection,
    ExportClosed,
    ExportOpened,
    ExportRefused,
    Find,
    Names,
    NbdEvent,
    Report,
    TraceReads,
)
from protocols.nbd.exchange import steps_of
from protocols.nbd.handshake import Agreement
from protocols.nbd.limits import NbdLimits
from protocols.nbd.pump import NbdPump
from protocols.nbd.pumped import Closed, Failed, StatusAsked, Sums
from protocols.nbd.transmission import Command, build_status, error_of
from protocols.nbd.wire import CommandType, build_error_chunk
from storage.errors import StorageError
from storage.image import Image
from storage.workers import Workers

__all__ = ["Connection", "ExportClosed", "ExportOpened", "ExportRefused", "NbdEvent", "NbdLimits", "NbdServer"]

RECEIVE_BUFFER = 256 << 10  # bytes; one kernel read, shared by all connections: it is emptied before the next
BACKLOG = 1024  # connections that wait to be accepted: all rooms reconnect at once when the server restarts


class _HandOver:
    """The phase between two: the handshake's last words leave the transport, then the pump gets the socket."""

    is_leaving = False
    wants_data = False

    def __init__(self, path: "PumpedPath", peer: Peer, agreement: Agreement, image: Image, rest: bytes) -> None:
        self.session = self
        self._path, self._peer = path, peer
        self._agreement, self._image = agreement, image
        self._rest = bytearray(rest)
        # The client may still have all of the handshake's replies to read: resume_writing tells when none is left.
        peer.transport.set_write_buffer_limits(high=0)

    def receive(self, data: Buffer) -> None:
        """Bytes that came before reading stopped."""
        self._rest += data

    def snapshot(self) -> None:
        """Nothing is moved yet."""

    def advance(self) -> None:
        """Hand over once nothing is left to send."""
        if not self._peer.is_clogged:
            self._path.adopt(self._peer, self._agreement, self._image, bytes(self._rest))


class _Pumped:
    """One of a pump's clients: what its numbers don't say."""

    __slots__ = ("agreement", "began", "has_failed", "image", "peer", "since")

    def __init__(self, peer: Peer, agreement: Agreement, image: Image) -> None:
        self.peer, self.agreement, self.image = peer, agreement, image
        self.began, self.since = time.monotonic(), time.time()
        self.has_failed = False

    def connection(self, sums: Sums) -> Connection:
        """The client as the timeline knows it."""
        done = (sums.bytes_read, sums.bytes_written, sums.requests)
        return Connection(self.peer.address, self.peer.port, self.agreement.export, *done, self.since)


@dataclass(eq=False, slots=True)
class _Hall:
    """One pump, and its clients by seat."""

    pump: NbdPump
    clients: dict[int, _Pumped] = field(default_factory=dict)


class PumpedPath:
    """Transmission by native pumps: their descriptors in the loop, and what they tell as events and log lines."""

    def __init__(self, server: Server, pumps: int = 1) -> None:
        self._server = server
        self._pumps = pumps
        self._workers: Workers | None = None
        self._halls: list[_Hall] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start the pumps and watch them. Raises: OSError as threads and epoll do."""
        self._workers = Workers()
        for _ in range(self._pumps):
            hall = _Hall(NbdPump(self._server.limits, workers=self._workers))
            asyncio.get_running_loop().add_reader(hall.pump.fileno(), self._hear, hall)
            self._halls.append(hall)
            hall.pump.start()

    def stop(self) -> None:
        """End every client, and tell of it."""
        for task in self._tasks:
            task.cancel()
        for hall in self._halls:
            asyncio.get_running_loop().remove_reader(hall.pump.fileno())
            for event in hall.pump.close():
                self._on_event(hall, event)
        self._halls.clear()
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    def connections(self) -> list[Connection]:
        """Every client of the pumps."""
        return [
            hall.clients[seat].connection(sums)
            for hall in self._halls
            for seat, sums in hall.pump.connections().items()
        ]

    def unsent(self) -> int:
        """Bytes of replies that wait for clients to read."""
        return sum(sums.unsent for hall in self._halls for sums in hall.pump.connections().values())

    def begin(self, peer: Peer, agreement: Agreement, image: Image, rest: bytes) -> None:
        """Hand the peer's socket over as soon as it has nothing left to send."""
        peer.enter(_HandOver(self, peer, agreement, image, rest))

    def adopt(self, peer: Peer, agreement: Agreement, image: Image, rest: bytes) -> None:
        """Give the peer's socket to the pump with the fewest; where that fails, this peer ends and no other."""
        hall = min(self._halls, key=lambda hall: len(hall.clients))
        try:
            with peer.share_socket() as sock:
                trace = self._server.trace_reads(agreement.export, peer.address)
                seat = hall.pump.adopt(sock, image, agreement, rest, trace)
        except OSError as failure:  # no descriptors left, or no room for one more epoll watch
            peer.log.error("connection_dropped", reason=str(failure))
            peer.abort("dropped")
            return
        client = hall.clients[seat] = _Pumped(peer, agreement, image)
        peer.let_go()
        peer.is_served(client.agreement.export)

    def _hear(self, hall: _Hall) -> None:
        for event in hall.pump.events():
            self._on_event(hall, event)

    def _on_event(self, hall: _Hall, event: Closed | Failed | StatusAsked) -> None:
        if isinstance(event, Closed):
            self._on_closed(hall, event)
        elif isinstance(event, Failed):
            self._on_failed(hall, event)
        else:
            self._on_status_asked(hall, event)

    def _on_closed(self, hall: _Hall, event: Closed) -> None:
        client = hall.clients.pop(event.seat)
        seconds = time.monotonic() - client.peer.began
        tell_end(self._server, client.peer.log, client.connection(event.sums), seconds, event.reason)
        self._server.release(client.peer.address)

    def _on_failed(self, hall: _Hall, event: Failed) -> None:
        self._server.counts["commands_failed"] += 1
        client = hall.clients[event.seat]
        if not client.has_failed:  # once a connection: a broken disk fails every read of every client
            client.has_failed = True
            facts = {"export": client.agreement.export, "offset": event.offset, "reason": os.strerror(event.errno)}
            client.peer.log.error("command_failed", **facts)

    def _on_status_asked(self, hall: _Hall, event: StatusAsked) -> None:
        if event.seat not in hall.clients:
            return
        command = Command(CommandType.BLOCK_STATUS, event.flags, event.cookie, event.offset, event.length)
        task = asyncio.get_running_loop().create_task(self._find_status(hall, event.seat, command))
        self._tasks.add(task)
        task.add_done_callback(partial(self._on_status_found, hall, event.seat, command))

    async def _find_status(self, hall: _Hall, seat: int, command: Command) -> None:
        client = hall.clients[seat]
        runs: list[tuple[int, bool]] = []
        for step in steps_of(client.image, command, self._server.limits):
            found = await asyncio.get_running_loop().run_in_executor(None, step)
            runs += found if isinstance(found, list) else []
        hall.pump.answer(seat, build_status(command, runs, client.agreement, self._server.limits))

    def _on_status_found(self, hall: _Hall, seat: int, command: Command, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        failure = None if task.cancelled() else task.exception()
        if failure is None:
            return
        number = failure.errno if isinstance(failure, StorageError) else EIO
        if not isinstance(failure, StorageError) and (client := hall.clients.get(seat)) is not None:
            client.peer.log.error("command_crashed", exc_info=failure)
        if seat in hall.clients:
            self._on_failed(hall, Failed(seat, command.offset, number))
            hall.pump.answer(seat, build_error_chunk(command.cookie, error_of(number), os.strerror(number)))


class NbdServer:
    """Serves images as NBD exports: `bind`, then `run` until cancelled.

    `find` gives the image of an export's name (empty: the default) for a client's address, or raises
    FileNotFoundError or PermissionError; `names` lists what a client may see; `report` takes events and
    neither blocks nor raises; `trace_reads` is asked at the start of each transmission where its reads are to be noted,
    and neither blocks nor raises. `counts` has what is counted, not logged. Transmission is served by as many native
    pumps (threads) as `pumps` says, 1 or more, or by what `path` makes.
    """

    def __init__(
        self,
        *,
        find: Find,
        names: Names,
        report: Report,
        limits: NbdLimits | None = None,
        trace_reads: TraceReads = lambda export, client: None,
        pumps: int = 1,
        path: Callable[[Server], DataPath] | None = None,
    ) -> None:
        self.find = find
        self.names = names
        self.report = report
        self.trace_reads = trace_reads
        self.limits = limits or NbdLimits()
        self.counts: Counter[str] = Counter()
        self.buffer = memoryview(bytearray(RECEIVE_BUFFER))
        self.path = path(self) if path else PumpedPath(self, pumps)
        self._peers: set[Peer] = set()
        self._admission = Admission(self.limits)
        self.port = 0  # the TCP port, once it is bound
        self._listener: asyncio.Server | None = None
        self._emptied = asyncio.Event()

    async def bind(self, address: str, port: int = 10809) -> None:
        """Open the listening socket; connections wait in it until `run`. Raises: OSError as bind and listen do."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            # A restarted server must not wait for its old connections' TIME_WAIT: its clients' roots hang on it.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
        loop = asyncio.get_running_loop()
        self.port = sock.getsockname()[1]
        self._listener = await loop.create_server(partial(Peer, self), sock=sock, backlog=BACKLOG, start_serving=False)

    async def run(self) -> None:
        """Serve until cancelled, then close every connection. A client's kernel reconnects if told to persist."""
        if self._listener is None:
            raise RuntimeError("bind comes before run")
        self.path.start()
        try:
            await self._listener.start_serving()
            await asyncio.get_running_loop().create_future()
        finally:
            self._listener.close()
            for peer in tuple(self._peers):
                peer.abort("stopped")
            self.path.stop()
            while self._peers:
                self._emptied.clear()
                await self._emptied.wait()

    def close(self) -> None:
        """Let go of the listening socket; for an owner that binds but never runs."""
        if self._listener is not None:
            self._listener.close()

    def connections(self) -> list[Connection]:
        """Every connection that is in transmission now."""
        return self.path.connections() + [found for peer in self._peers if (found := peer.snapshot()) is not None]

    def admit(self, peer: Peer) -> bool:
        """Take a new connection in, unless a bound is reached or the server is stopping."""
        is_open = self._listener is not None and self._listener.is_serving()
        if not is_open or not self._admission.admit(peer.address):
            self.counts["turned_away"] += 1
            return False
        self._peers.add(peer)
        return True

    def forget(self, peer: Peer) -> None:
        """Let a connection go that is closed, or another's."""
        self._peers.discard(peer)
        if not self._peers:
            self._emptied.set()

    def release(self, address: str) -> None:
        """Count a client's connection out: another may come."""
        self._admission.release(address)
