"""The TFTP server on real sockets: the request port, one socket and one timer for each transfer, logs and counts.

RFC 1350 §4: requests come to one port, and each transfer then has a port of its own on the same address, so that
answers come from the address that was asked (quirk T-15: bind the interface's address, not 0.0.0.0).
Leaves out: single-port mode (quirk T-14), multicast (T-19).
"""

import asyncio
import socket
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import fields
from typing import ClassVar, cast

import asyncio_dgram
import structlog
from asyncio_dgram.aio import DatagramServer

from protocols.datagram import udp_socket
from protocols.errors import WireError
from protocols.tftp.admission import Address, Admission
from protocols.tftp.content import NetasciiContent, OctetContent
from protocols.tftp.events import (
    Direction,
    Report,
    RequestRefused,
    TftpEvent,
    TftpLimits,
    TransferFinished,
    TransferStarted,
)
from protocols.tftp.options import Mode, Terms, announced_size, negotiate
from protocols.tftp.reading import ReadTransfer
from protocols.tftp.refusals import BAD_MODE, BUSY, NOT_FOUND, Refusal, refusal_of
from protocols.tftp.transfer import Outcome, Transfer
from protocols.tftp.wire import ErrorCode, Opcode, Request, build_error, parse_packet
from protocols.tftp.writing import WriteTransfer
from storage import pool
from storage.errors import StorageError
from storage.image import Image
from storage.upload import Upload

__all__ = ["OpenRead", "OpenWrite", "RequestRefused", "TftpEvent", "TftpLimits", "TftpServer", "TransferFinished",
           "TransferStarted"]  # fmt: skip

DRAIN = 32  # datagrams taken from one transfer's socket before others get their turn
DATA_HEAD = 4  # bytes before a DATA packet's payload
SMALLEST_RECEIVE = 1024  # bytes; ACKs and ERRORs with room for a long text
LATE_DUPLICATE = 1.0  # seconds; a repeated request this soon after a sign of life is the network's doing
BUSY_LOG_INTERVAL = 5.0  # seconds; one warning for a whole storm of refusals

ERROR_HEAD = Opcode.ERROR.to_bytes(2)

OpenRead = Callable[[str, str], Awaitable[Image]]
OpenWrite = Callable[[str, str, int | None], Awaitable[Upload]]


class TftpServer:
    """Serves files that `open_read` and `open_write` allow; tells `report` what happens.

    `open_read(name, client)` and `open_write(name, client, announced size)` raise FileNotFoundError, PermissionError,
    FileExistsError or StorageError; `report` takes the events and never blocks. `counts` holds what is counted.
    """

    def __init__(
        self, *, open_read: OpenRead, open_write: OpenWrite, report: Report, limits: TftpLimits | None = None
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._open_read = open_read
        self._open_write = open_write
        self._report = report
        self.limits = limits or TftpLimits()
        self.log = structlog.get_logger().bind(protocol="tftp")
        self._stream: DatagramServer | None = None
        self._group: asyncio.TaskGroup | None = None
        self._interface: str | None = None
        self._admission = Admission(most=self.limits.transfers, most_per_client=self.limits.transfers_per_client)
        self._channels: dict[Address, _Channel] = {}  # those of the admitted whose file is open
        self._busy_logged_at = float("-inf")

    async def bind(self, address: str, port: int = 69, interface: str | None = None) -> None:
        """Open the request port; nothing is served before `run`. Raises: OSError as bind does."""
        self._interface = interface
        stream = await asyncio_dgram.from_socket(udp_socket(address, port, interface=interface))
        assert isinstance(stream, DatagramServer)  # noqa: S101 -- it is a client only for a connected socket
        self._stream = stream

    @property
    def port(self) -> int:
        """The request port, once bound."""
        return int(self._bound().sockname[1])

    async def run(self) -> None:
        """Serve until cancelled; then every transfer is told that it failed, and all sockets are closed."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                while True:
                    await self._serve_request()
        finally:
            self.close()

    def close(self) -> None:
        """End every transfer and close all sockets; for a server that was bound but never run."""
        for channel in list(self._channels.values()):
            channel.stop()
        self._bound().close()

    def _bound(self) -> DatagramServer:
        assert self._stream is not None, "bind first"  # noqa: S101 -- our own order of calls, never input
        return self._stream

    async def _serve_request(self) -> None:
        try:
            datagram, source = await self._bound().recv()
        except OSError:  # what an earlier send met (no route, a firewall): that client asks again
            self.counts["send_failed"] += 1
            return
        peer = cast(Address, source)  # of an IPv4 socket always
        try:
            packet = parse_packet(datagram)
        except WireError as error:
            self.counts["malformed"] += 1
            self.log.debug("packet_malformed", peer=peer[0], reason=str(error))
            return
        if not isinstance(packet, Request) or peer[1] == 0:
            self.counts["stray"] += 1
        elif not self._is_repeated(packet, peer):
            await self._admit(packet, peer)

    def _is_repeated(self, request: Request, peer: Address) -> bool:
        """Whether a request of the same port is already being served (quirk T-8); one that began anew is dropped."""
        if not self._admission.holds(peer):
            return False
        channel = self._channels.get(peer)
        if channel is None or (channel.request == request and channel.repeat()):
            self.counts["repeated"] += 1
            return True
        channel.supersede()
        return False

    async def _admit(self, request: Request, peer: Address) -> None:
        mode = request.mode.lower()
        if mode not in tuple(Mode):
            await self._refuse(request, peer, BAD_MODE)
        elif not self._admission.has_room(peer[0]):
            await self._refuse(request, peer, BUSY)
        else:
            self._admission.enter(peer)
            self.spawn(self._open(request, Mode(mode), peer))

    async def _open(self, request: Request, mode: Mode, peer: Address) -> None:
        try:
            channel = await self._open_channel(request, mode, peer)
        except (OSError, StorageError) as error:
            self._admission.leave(peer)
            await self._refuse(request, peer, refusal_of(error), error)
            return
        self._channels[peer] = channel
        channel.start()

    async def _open_channel(self, request: Request, mode: Mode, peer: Address) -> "_Channel":
        """Raises: OSError or StorageError when the file or a socket for it can't be had; nothing stays open then."""
        ceilings = self.limits.ceilings()
        if request.opcode is Opcode.RRQ:
            image = await self._open_read(request.filename, peer[0])
            terms = negotiate(request, mode, image.size, ceilings)
            return _ReadChannel(self, self._transfer_socket(), peer, request, terms, image)
        upload = await self._open_write(request.filename, peer[0], announced_size(request))
        try:
            sock = self._transfer_socket()
        except OSError:
            upload.abort()
            raise
        return _WriteChannel(self, sock, peer, request, negotiate(request, mode, 0, ceilings), upload)

    def _transfer_socket(self) -> socket.socket:
        """A fresh port on the address that requests come to (RFC 1350 §4)."""
        return udp_socket(self._bound().sockname[0], 0, interface=self._interface)

    async def _refuse(self, request: Request, peer: Address, refusal: Refusal, cause: Exception | None = None) -> None:
        """Answer with ERROR, from the request port: a miss costs no socket, and PXE loaders miss a lot (quirk G-2)."""
        self.counts["refused"] += 1
        facts = {"client": peer[0], "name": request.filename, "code": int(refusal.code), "reason": refusal.message}
        if refusal is BUSY:
            self.counts["busy"] += 1
            self._warn_busy(facts)
        elif refusal is NOT_FOUND:
            self.log.debug("request_refused", **facts)
        else:
            self.log.warning("request_refused", **facts, cause=str(cause or refusal.message))
        self._report(RequestRefused(peer[0], request.filename, int(refusal.code), refusal.message))
        try:
            await self._bound().send(build_error(refusal.code, refusal.message), peer)
        except OSError:  # of an earlier send, kept by the stream: this client asks again
            self.counts["send_failed"] += 1

    def _warn_busy(self, facts: dict[str, object]) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._busy_logged_at >= BUSY_LOG_INTERVAL:
            self._busy_logged_at = now
            self.log.warning("transfers_exhausted", **facts, transfers=len(self._channels))

    # What channels call.

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run something of a channel's that must wait."""
        assert self._group is not None  # noqa: S101 -- channels exist only while run does
        self._group.create_task(work)

    def on_started(self, started: TransferStarted) -> None:
        """A transfer sends its first answer."""
        self.counts["started"] += 1
        self._report(started)

    def on_finished(self, finished: TransferFinished) -> None:
        """A transfer has its outcome; its one line in the log."""
        self.counts[finished.outcome] += 1
        self._report(finished)
        level = "error" if finished.outcome is Outcome.FAILED else "info"
        if finished.outcome is Outcome.PROBED:
            level = "debug"  # every UEFI client does it before its real request (quirk T-1)
        facts = {f.name: getattr(finished, f.name) for f in fields(finished)}
        getattr(self.log, level)("transfer_finished", **facts | {"outcome": str(finished.outcome)})

    def on_closed(self, peer: Address) -> None:
        """A channel's socket is gone."""
        del self._channels[peer]
        self._admission.leave(peer)


class _Channel(ABC):
    """One transfer on its own socket: datagrams in and out, one lazily moved timer."""

    def __init__(
        self, server: TftpServer, sock: socket.socket, peer: Address, request: Request, transfer: Transfer, size: int
    ) -> None:
        self.request = request
        self._server = server
        self._sock = sock
        self._peer = peer
        self._transfer = transfer
        self._announced = size
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        # Holds what the socket does not take at once; when it overflows the oldest are lost, as on any network.
        self._backlog: deque[bytes] = deque(maxlen=2 * transfer.terms.windowsize + 2)
        self._largest = max(SMALLEST_RECEIVE, DATA_HEAD + transfer.terms.blksize + 1)
        self._is_reported = False

    direction: ClassVar[Direction]

    def start(self) -> None:
        """Tell the world, and send the first answer."""
        terms = self._transfer.terms
        client, port = self._peer
        self._server.on_started(
            TransferStarted(
                client, port, self.request.filename, self.direction, self._announced, terms.blksize, terms.windowsize
            )
        )
        self._loop.add_reader(self._sock, self._on_readable)
        self._pump()

    def repeat(self) -> bool:
        """The client sent its request again: answer again, or know it for a late duplicate; False if it began anew."""
        now = self._loop.time()
        heard_at = self._transfer.heard_at
        is_answered = self._transfer.repeat_answer(now) or (heard_at is not None and now - heard_at < LATE_DUPLICATE)
        self._pump()
        return is_answered

    def supersede(self) -> None:
        """The client began something else with the same port."""
        self._transfer.abandon()
        self._pump()

    def stop(self) -> None:
        """The server ends."""
        self._transfer.fail(ErrorCode.NOT_DEFINED, "the server stops")
        self._pump()

    @abstractmethod
    def _move_bytes(self, now: float) -> None:
        """Bring bytes of the file to the transfer, or from it. Raises: StorageError."""

    @abstractmethod
    def _release(self) -> None:
        """The transfer has its outcome: let go of the file."""

    def _on_readable(self) -> None:
        for _ in range(DRAIN):
            try:
                datagram, source = self._sock.recvfrom(self._largest)
            except BlockingIOError:
                break
            except OSError:  # the interface went down, perhaps for a moment
                self._server.counts["receive_failed"] += 1
                break
            if source == self._peer:
                self._on_datagram(datagram)
            else:
                self._on_stranger(datagram, source)
        self._pump()

    def _on_datagram(self, datagram: bytes) -> None:
        try:
            self._transfer.receive(datagram, self._loop.time())
        except WireError as error:
            self._server.counts["malformed"] += 1
            self._server.log.debug("packet_malformed", peer=self._peer[0], reason=str(error))

    def _on_stranger(self, datagram: bytes, source: Address) -> None:
        """ERROR 5 to whoever is not our client, but never in answer to an ERROR; the transfer goes on (quirk T-13)."""
        self._server.counts["unknown_tid"] += 1
        if datagram[:2] != ERROR_HEAD:
            self._send_to(build_error(ErrorCode.UNKNOWN_TID, "unknown transfer ID"), source)

    def _on_timer(self) -> None:
        self._timer = None
        self._transfer.handle_timer(self._loop.time())
        self._pump()

    def _pump(self) -> None:
        """Do all that the transfer asks for at this moment."""
        if self._sock.fileno() < 0:
            return  # a disk read ended after its transfer did
        try:
            self._move_bytes(self._loop.time())
        except StorageError as error:
            self._on_storage_error(error)
        self._send()
        if self._transfer.outcome is not None and not self._is_reported:
            self._is_reported = True
            self._release()
            self._server.on_finished(self._describe_end(self._transfer.outcome))
        if self._transfer.is_closed:
            self._close()
        else:
            self._arm()

    def _on_storage_error(self, error: StorageError) -> None:
        refusal = refusal_of(error)
        self._server.log.warning("storage_failed", client=self._peer[0], name=self.request.filename, cause=str(error))
        self._transfer.fail(refusal.code, refusal.message)

    def _send(self) -> None:
        self._backlog.extend(self._transfer.take_datagrams())
        while self._backlog:
            if not self._send_to(self._backlog[0], self._peer):
                self._loop.add_writer(self._sock, self._on_writable)
                return
            self._backlog.popleft()

    def _on_writable(self) -> None:
        self._loop.remove_writer(self._sock)
        self._send()

    def _send_to(self, datagram: bytes, target: Address) -> bool:
        """False when the socket is full. Any other failure counts as a lost packet: the timer takes care of it."""
        try:
            self._sock.sendto(datagram, target)
        except BlockingIOError:
            return False
        except OSError:
            self._server.counts["send_failed"] += 1
        return True

    def _arm(self) -> None:
        """Move the timer only forward in time; one that fires early finds nothing to do (cheaper per packet)."""
        deadline = self._transfer.next_timeout()
        if deadline is None or (self._timer is not None and self._timer.when() <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._on_timer)

    def _describe_end(self, outcome: Outcome) -> TransferFinished:
        return TransferFinished(
            *self._peer,
            self.request.filename,
            self.direction,
            outcome,
            self._transfer.size,
            self._loop.time() - self._started_at,
            self._transfer.resent,
        )

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        self._server.on_closed(self._peer)


class _ReadChannel(_Channel):
    """Sends a file: the data path that a native pump may replace."""

    direction = "read"

    def __init__(
        self, server: TftpServer, sock: socket.socket, peer: Address, request: Request, terms: Terms, image: Image
    ) -> None:
        content = OctetContent if terms.mode is Mode.OCTET else NetasciiContent
        self._image = image
        self._is_waiting_for_disk = False
        self._reading = ReadTransfer(
            terms,
            content(image.size, terms.blksize),
            asyncio.get_running_loop().time(),
            give_up_after=server.limits.give_up_after,
        )
        super().__init__(server, sock, peer, request, self._reading, image.size)

    def _move_bytes(self, now: float) -> None:
        while not self._is_waiting_for_disk and (wanted := self._reading.wants()) is not None:
            data = self._image.read_at_now(*wanted)
            if data is None:
                self._is_waiting_for_disk = True
                self._server.spawn(self._read_from_disk(*wanted))
            else:
                self._reading.supply(wanted[0], data, now)
        self._reading.advance(now)

    async def _read_from_disk(self, offset: int, length: int) -> None:
        try:
            data = await pool.read(self._image, offset, length)
        except StorageError as error:
            self._on_storage_error(error)
        else:
            self._reading.supply(offset, data, self._loop.time())
        self._is_waiting_for_disk = False
        self._pump()

    def _release(self) -> None:
        """Nothing: the image is closed when nobody holds it, and this channel is about to go."""


class _WriteChannel(_Channel):
    """Receives a file."""

    direction = "write"

    def __init__(
        self, server: TftpServer, sock: socket.socket, peer: Address, request: Request, terms: Terms, upload: Upload
    ) -> None:
        self._upload = upload
        self._writing = WriteTransfer(
            terms, asyncio.get_running_loop().time(), give_up_after=server.limits.give_up_after
        )
        super().__init__(server, sock, peer, request, self._writing, announced_size(request) or 0)

    def _move_bytes(self, now: float) -> None:
        for piece in self._writing.take_received():
            self._upload.write(piece)
        if self._writing.is_complete and self._writing.outcome is None:
            self._upload.commit()
            self._writing.confirm(now)

    def _release(self) -> None:
        self._upload.abort()  # nothing, once it is committed
