"""The native pump's twin: transmission over asyncio transports, one request at a time and obviously correct."""

import asyncio
import os
import time

from protocols.nbd.channel import Peer, Server
from protocols.nbd.events import Connection
from protocols.nbd.exchange import Result, read_in_memory, steps_of
from protocols.nbd.handshake import Agreement
from protocols.nbd.transmission import Answer, Command, Transmission
from protocols.nbd.wire import CommandType
from storage.errors import StorageError
from storage.image import Image

COMMANDS_PER_TURN = 256  # of one connection, before the others get the loop: a few milliseconds
BYTES_PER_TURN = 4 << 20  # likewise, for large reads


class PlainPath:
    """The data path that is a phase of each peer."""

    def __init__(self, server: Server) -> None:
        """The peers know their server."""

    def begin(self, peer: Peer, agreement: Agreement, image: Image, rest: bytes) -> None:
        """Serve on over the peer's own transport."""
        service = Service(peer, agreement, image)
        peer.enter(service)
        peer.is_served(agreement.export)
        service.session.receive(rest)

    def start(self) -> None:
        """Nothing to do."""

    def stop(self) -> None:
        """The peers end by themselves."""

    def connections(self) -> list[Connection]:
        """None but the peers' own."""
        return []


class Service:
    """Transmission over one connection."""

    def __init__(self, peer: Peer, agreement: Agreement, image: Image) -> None:
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
        self._trace = peer.server.trace_reads(agreement.export, peer.address)
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
        if self._trace is not None and command.type == CommandType.READ:
            self._trace.note(command.offset, command.length)
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
