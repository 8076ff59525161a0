"""The NBD server on TCP: connections, their bounds, and image reads for both sessions.

A connection has two phases. `_Negotiation` and `_Service` each drive one session; `_Service` is the bulk data
path, handed the transport, the image and the agreement, and is what a native pump replaces. Left out: TLS,
handing sockets to a successor.
"""

import asyncio
import os
import socket
import time
from collections import Counter
from collections.abc import Coroutine
from functools import partial
from typing import cast

import structlog

from protocols.errors import WireError
from protocols.nbd.admission import Admission
from protocols.nbd.events import Connection, ExportClosed, ExportOpened, ExportRefused, Find, Names, NbdEvent, Report
from protocols.nbd.exchange import Result, read_in_memory, sector_size, sector_view, steps_of
from protocols.nbd.handshake import Agreement, Ended, ExportAsked, Handshake, NamesAsked
from protocols.nbd.limits import NbdLimits
from protocols.nbd.transmission import Answer, Command, Transmission
from protocols.nbd.wire import CommandType
from storage.errors import StorageError
from storage.image import Image

__all__ = ["Connection", "ExportClosed", "ExportOpened", "ExportRefused", "NbdEvent", "NbdLimits", "NbdServer"]

RECEIVE_BUFFER = 256 << 10  # bytes; one kernel read, shared by all connections: it is emptied before the next
COMMANDS_PER_TURN = 256  # of one connection, before the others get the loop: a few milliseconds
BYTES_PER_TURN = 4 << 20  # likewise, for large reads
BACKLOG = 1024  # connections that wait to be accepted: all rooms reconnect at once when the server restarts
KEEPALIVE_IDLE = 60  # seconds; below the five minutes of common NAT tables (quirks N-7)
KEEPALIVE_INTERVAL = 30  # seconds


class _Peer(asyncio.BufferedProtocol):
    """One TCP connection: its socket, its bounds and its end; what is said over it is its phase's business."""

    def __init__(self, server: "NbdServer") -> None:
        self.server = server
        self.address, self.port = "", 0
        self.is_clogged = False  # the client does not read: its replies wait, and so do its requests
        self._phase: _Negotiation | _Service | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._reason = "hung_up"
        self._began = time.monotonic()
        self.log = structlog.get_logger().bind(protocol="nbd")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.address, self.port = transport.get_extra_info("peername")[:2]
        self.log = self.log.bind(client=self.address, port=self.port)
        if not self.server.admit(self):
            self.transport.abort()
            return
        self._tune(transport.get_extra_info("socket"))
        self.transport.set_write_buffer_limits(high=self.server.limits.unsent)
        seconds = self.server.limits.handshake_seconds
        self._deadline = asyncio.get_running_loop().call_later(seconds, self.abort, "handshake_timed_out")
        self._phase = _Negotiation(self)
        self._phase.advance()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._phase is not None:
            self._phase.session.receive(self.server.buffer[:nbytes])
            self.advance()

    def eof_received(self) -> bool:
        # After DISC some clients shut their side: what is in flight is still answered (proto.md: NBD_CMD_DISC).
        return isinstance(self._phase, _Service) and self._phase.is_leaving

    def pause_writing(self) -> None:
        self.is_clogged = True

    def resume_writing(self) -> None:
        self.is_clogged = False
        self.advance()

    def connection_lost(self, failure: Exception | None) -> None:
        if self._phase is None:
            return
        self._deadline.cancel()
        for task in self._tasks:
            task.cancel()
        reason = "reset" if failure is not None and self._reason == "hung_up" else self._reason
        self._tell_end(reason, time.monotonic() - self._began)
        self._phase = None
        self.server.forget(self)

    def advance(self) -> None:
        """Let the phase go on as far as it can; bytes that are no NBD end this connection and no other."""
        if self._phase is None or self.transport.is_closing():
            return
        try:
            self._phase.advance()
        except WireError as failure:
            self.log.debug("message_rejected", reason=str(failure))
            self.abort("malformed")
        else:
            self._steer_reading()

    def serve(self, agreement: Agreement, image: Image, rest: bytes) -> None:
        """Go over to transmission at the next advance; `rest` is what the client sent ahead."""
        self._deadline.cancel()
        self._phase = _Service(self, agreement, image)
        self.server.report(ExportOpened(self.address, self.port, agreement.export))
        self._phase.session.receive(rest)

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Run `work` as this connection's; a bug in it ends the connection, with a traceback, and no other's root."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    def leave(self, reason: str) -> None:
        """Close once what was written is sent."""
        self._reason = reason
        self.transport.close()

    def abort(self, reason: str) -> None:
        """Close at once."""
        self._reason = reason
        self.transport.abort()

    def snapshot(self) -> Connection | None:
        """What this connection has done, if it is in transmission."""
        return self._phase.snapshot() if isinstance(self._phase, _Service) else None

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            self.log.error("connection_crashed", exc_info=failure)
            self.abort("crashed")

    def _tune(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL)
        silence = int(self.server.limits.silence_seconds * 1000)  # the kernel wants milliseconds
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, silence)

    def _steer_reading(self) -> None:
        if self._phase is not None and self._phase.wants_data and not self.is_clogged:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def _tell_end(self, reason: str, seconds: float) -> None:
        self.server.counts[reason] += 1
        last = self.snapshot()
        if last is None:  # a list, a question, a port scan: no story to tell
            self.log.debug("negotiation_ended", reason=reason, seconds=round(seconds, 3))
            return
        moved = {"export": last.export, "bytes_read": last.bytes_read, "bytes_written": last.bytes_written}
        self.log.info("connection_closed", **moved, requests=last.requests, seconds=round(seconds, 3), reason=reason)
        end = (last.export, last.bytes_read, last.bytes_written, seconds, reason)
        self.server.report(ExportClosed(self.address, self.port, *end))


class _Negotiation:
    """The handshake over one connection: asks the policy for names and images."""

    def __init__(self, peer: _Peer) -> None:
        self.session = Handshake(peer.server.limits)
        self._peer = peer

    @property
    def wants_data(self) -> bool:
        return self.session.wants_data

    def advance(self) -> None:
        """Answer options until data or an answer is missing, or the client does not read."""
        while not self._peer.is_clogged and (event := self.session.next_event()) is not None:
            if isinstance(event, ExportAsked):
                self._peer.start(self._find(event.name))
            elif isinstance(event, NamesAsked):
                self.session.list_names(self._peer.server.names(self._peer.address))
            self._send()
            if isinstance(event, Ended):
                self._peer.leave(event.reason)
        self._send()

    async def _find(self, name: str) -> None:
        peer = self._peer
        try:
            image = sector_view(await peer.server.find(name, peer.address))
        except (OSError, StorageError) as failure:
            self._refuse(name, failure)
        else:
            agreement = self.session.found(sector_size(image), writable=image.writable)
            self._send()
            if agreement is not None:
                peer.serve(agreement, image, self.session.take_rest())
        peer.advance()

    def _refuse(self, name: str, failure: OSError | StorageError) -> None:
        # Our own words for the client: the system's name paths of ours.
        message = "export is not allowed" if isinstance(failure, PermissionError) else "no such export"
        self._peer.server.counts["refused"] += 1
        self._peer.log.info("export_refused", export=name, message=message, reason=str(failure))
        self._peer.server.report(ExportRefused(self._peer.address, name, message))
        self.session.missing(message, forbidden=isinstance(failure, PermissionError))

    def _send(self) -> None:
        if output := self.session.take_output():
            self._peer.transport.write(output)


class _Service:
    """Transmission over one connection: the data path that a native pump takes over."""

    def __init__(self, peer: _Peer, agreement: Agreement, image: Image) -> None:
        self.session = Transmission(agreement, peer.server.limits)
        self.is_leaving = False
        self._peer = peer
        self._image = image
        self._export = agreement.export
        self._queued: list[bytes | memoryview] = []
        self._queued_bytes = 0
        self._again: asyncio.Handle | None = None
        self._bytes_read = self._bytes_written = self._requests = 0
        self._since = time.time()
        self._has_failed = False

    @property
    def wants_data(self) -> bool:
        return self.session.wants_data and self._again is None

    def snapshot(self) -> Connection:
        peer = self._peer
        done = (self._bytes_read, self._bytes_written, self._requests)
        return Connection(peer.address, peer.port, self._export, *done, self._since)

    def advance(self) -> None:
        """Take requests until there is none, a bound is reached, the client does not read, or the turn is over."""
        began = self._bytes_read
        for _ in range(COMMANDS_PER_TURN):
            if self._bytes_read - began >= BYTES_PER_TURN:
                self._go_on_later()
                break
            event = None if self._peer.is_clogged else self.session.next_event()
            if event is None:
                break
            if isinstance(event, Command):
                self._begin(event)
            elif isinstance(event, Answer):
                self._queue([event.data])
            else:
                self.is_leaving = True
        else:
            self._go_on_later()
        self._send()
        if self.is_leaving and not self.session.requests_in_flight:
            self._peer.leave("disconnected")

    def _go_on_later(self) -> None:
        self._again = self._again or asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._again = None
        self._peer.advance()

    def _begin(self, command: Command) -> None:
        self._requests += 1
        try:
            data = read_in_memory(self._image, command)
        except StorageError as failure:
            self._queue([self._fail(command, failure)])
            return
        if data is None:
            self._peer.start(self._finish(command))
        else:
            self._bytes_read += len(data)
            self._queue(self.session.answer_read(command, data))

    async def _finish(self, command: Command) -> None:
        result: Result = None
        try:
            for step in steps_of(self._image, command, self._peer.server.limits):
                result = await asyncio.get_running_loop().run_in_executor(None, step)
        except StorageError as failure:
            self._queue([self._fail(command, failure)])
        else:
            self._queue(self._reply(command, result))
        self._send()
        self._peer.advance()

    def _fail(self, command: Command, failure: StorageError) -> bytes:
        self._peer.server.counts["commands_failed"] += 1
        if not self._has_failed:  # once a connection: a broken disk fails every read of every client
            self._has_failed = True
            self._peer.log.error("command_failed", export=self._export, offset=command.offset, reason=str(failure))
        return self.session.fail(command, failure.errno, os.strerror(failure.errno))

    def _reply(self, command: Command, result: Result) -> list[bytes | memoryview]:
        if isinstance(result, bytes):
            self._bytes_read += len(result)
            return self.session.answer_read(command, result)
        if isinstance(result, list):
            return [self.session.answer_status(command, result)]
        if command.type == CommandType.WRITE:
            self._bytes_written += command.length
        return [self.session.succeed(command)]

    def _queue(self, pieces: list[bytes | memoryview]) -> None:
        self._queued += pieces
        self._queued_bytes += sum(map(len, pieces))
        if self._queued_bytes >= self._peer.server.limits.unsent:
            self._send()

    def _send(self) -> None:
        if self._queued:
            pieces, self._queued, self._queued_bytes = self._queued, [], 0
            self._peer.transport.writelines(pieces)


class NbdServer:
    """Serves images as NBD exports: `bind`, then `run` until cancelled.

    `find` gives the image of an export's name (empty: the default) for a client's address, or raises
    FileNotFoundError or PermissionError; `names` lists what a client may see; `report` takes events and
    neither blocks nor raises. `counts` has what is counted, not logged.
    """

    def __init__(self, *, find: Find, names: Names, report: Report, limits: NbdLimits | None = None) -> None:
        self.find = find
        self.names = names
        self.report = report
        self.limits = limits or NbdLimits()
        self.counts: Counter[str] = Counter()
        self.buffer = memoryview(bytearray(RECEIVE_BUFFER))
        self._peers: set[_Peer] = set()
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
        self._listener = await loop.create_server(partial(_Peer, self), sock=sock, backlog=BACKLOG, start_serving=False)

    async def run(self) -> None:
        """Serve until cancelled, then close every connection. A client's kernel reconnects if told to persist."""
        if self._listener is None:
            raise RuntimeError("bind comes before run")
        await self._listener.start_serving()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._listener.close()
            for peer in tuple(self._peers):
                peer.abort("stopped")
            while self._peers:
                self._emptied.clear()
                await self._emptied.wait()

    def close(self) -> None:
        """Let go of the listening socket; for an owner that binds but never runs."""
        if self._listener is not None:
            self._listener.close()

    def connections(self) -> list[Connection]:
        """Every connection that is in transmission now."""
        return [found for peer in self._peers if (found := peer.snapshot()) is not None]

    def admit(self, peer: _Peer) -> bool:
        """Take a new connection in, unless a bound is reached or the server is stopping."""
        is_open = self._listener is not None and self._listener.is_serving()
        if not is_open or not self._admission.admit(peer.address):
            self.counts["turned_away"] += 1
            return False
        self._peers.add(peer)
        return True

    def forget(self, peer: _Peer) -> None:
        """Let a closed connection go."""
        self._peers.discard(peer)
        self._admission.release(peer.address)
        if not self._peers:
            self._emptied.set()
