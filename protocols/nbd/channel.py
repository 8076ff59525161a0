"""One connection of the NBD server until its transmission begins: its socket, its deadline and its end.

The handshake is a phase of it. What comes then is the data path's business: it hands the socket to the native pump,
or, in tests, enters a phase of its own.
"""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Coroutine
from typing import Protocol, cast

import structlog
from typing_extensions import Buffer

from protocols.errors import WireError
from protocols.nbd.events import Connection, ExportClosed, ExportOpened, ExportRefused, Find, Names, Report, TraceReads
from protocols.nbd.exchange import sector_size, sector_view
from protocols.nbd.handshake import Agreement, Ended, ExportAsked, Handshake, NamesAsked
from protocols.nbd.limits import NbdLimits
from storage.errors import StorageError
from storage.image import Image

KEEPALIVE_IDLE = 60  # seconds; below the five minutes of common NAT tables (quirks N-7)
KEEPALIVE_INTERVAL = 30  # seconds


class Session(Protocol):
    """Takes what the client sends."""

    def receive(self, data: Buffer) -> None:
        """Take bytes, any number of them."""


class Phase(Protocol):
    """What is said over a connection."""

    @property
    def session(self) -> Session:
        """Takes what the client sends."""

    @property
    def wants_data(self) -> bool:
        """Whether more bytes would be looked at now."""

    @property
    def is_leaving(self) -> bool:
        """Whether the client said good-bye, so that its silence is no hanging up."""

    def advance(self) -> None:
        """Go on as far as possible. Raises: WireError when the client's bytes are no NBD."""

    def snapshot(self) -> Connection | None:
        """What was moved in transmission, if this is it."""


class DataPath(Protocol):
    """Serves connections whose handshake is over."""

    def begin(self, peer: "Peer", agreement: Agreement, image: Image, rest: bytes) -> None:
        """Take over `peer`; `rest` is what the client sent ahead."""

    def start(self) -> None:
        """Begin to serve, on the running loop."""

    def stop(self) -> None:
        """End what was taken over, and tell of it."""

    def connections(self) -> list[Connection]:
        """Every connection taken over, unless it is a phase of its peer."""


class Server(Protocol):
    """What a connection asks of its server."""

    limits: NbdLimits
    counts: Counter[str]
    buffer: memoryview
    find: Find
    names: Names
    report: Report
    trace_reads: TraceReads
    path: DataPath

    def admit(self, peer: "Peer") -> bool:
        """Take a new connection in, unless a bound is reached or the server is stopping."""

    def forget(self, peer: "Peer") -> None:
        """Let a connection go that is closed, or another's."""

    def release(self, address: str) -> None:
        """Count a client's connection out: another may come."""


def tell_end(
    server: Server, log: structlog.typing.FilteringBoundLogger, last: Connection, seconds: float, reason: str
) -> None:
    """Tell the end of a connection that was in transmission: counted, logged, reported."""
    server.counts[reason] += 1
    moved = {"export": last.export, "bytes_read": last.bytes_read, "bytes_written": last.bytes_written}
    log.info("connection_closed", **moved, requests=last.requests, seconds=round(seconds, 3), reason=reason)
    end = (last.export, last.bytes_read, last.bytes_written, seconds, reason)
    server.report(ExportClosed(last.client, last.port, *end))


class Peer(asyncio.BufferedProtocol):
    """One TCP connection: its socket, its bounds and its end; what is said over it is its phase's business."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.address, self.port = "", 0
        self.is_clogged = False  # the client does not read: its replies wait, and so do its requests
        self._phase: Phase | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._reason = "hung_up"
        self.began = time.monotonic()
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
        self._phase = Negotiation(self)
        self._phase.advance()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._phase is not None:
            self._phase.session.receive(self.server.buffer[:nbytes])
            self.advance()

    def eof_received(self) -> bool:
        # After DISC some clients shut their side: what is in flight is still answered (proto.md: NBD_CMD_DISC).
        return self._phase is not None and self._phase.is_leaving

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
        self._tell_end(reason, time.monotonic() - self.began)
        self._phase = None
        self.server.forget(self)
        self.server.release(self.address)

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

    def enter(self, phase: Phase) -> None:
        """Go over to another phase at the next advance."""
        self._phase = phase

    def is_served(self, export: str) -> None:
        """The handshake is over: its deadline ends, and the story of the export begins."""
        self._deadline.cancel()
        self.log.debug("export_opened", export=export)
        self.server.report(ExportOpened(self.address, self.port, export))

    def share_socket(self) -> socket.socket:
        """The connection's socket once more. Raises: OSError as dup does."""
        found: socket.socket = self.transport.get_extra_info("socket")
        return socket.fromfd(found.fileno(), socket.AF_INET, socket.SOCK_STREAM)

    def let_go(self) -> None:
        """The connection is another's now; the transport ends without ending it."""
        self._phase = None
        self.transport.abort()
        self.server.forget(self)

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
        return self._phase.snapshot() if self._phase is not None else None

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
        last = self.snapshot()
        if last is not None:
            tell_end(self.server, self.log, last, seconds, reason)
            return
        self.server.counts[reason] += 1  # a list, a question, a port scan: no story to tell
        self.log.debug("negotiation_ended", reason=reason, seconds=round(seconds, 3))


class Negotiation:
    """The handshake over one connection: asks the policy for names and images."""

    is_leaving = False

    def __init__(self, peer: Peer) -> None:
        self.session = Handshake(peer.server.limits)
        self._peer = peer

    @property
    def wants_data(self) -> bool:
        return self.session.wants_data

    def snapshot(self) -> Connection | None:
        """Nothing is moved yet."""
        return None

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
                peer.server.path.begin(peer, agreement, image, self.session.take_rest())
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
