"""The TFTP server on real sockets: the request port, one socket for each transfer, logs and counts.

RFC 1350 §4: requests come to one port, and each transfer then has a port of its own on the same address, so that
answers come from the address that was asked (quirk T-15: bind the interface's address, not 0.0.0.0). What was agreed
on is carried out by native pumps (pump.pyx), and where those don't go by a channel (channel.py).
Where a client is to see one port only (quirk T-14), its transfer's socket has the request port too, but is connected to
it: the kernel tells them apart. Leaves out: multicast (T-19).
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import cast

import asyncio_dgram
import structlog
from asyncio_dgram.aio import DatagramServer

from protocols.datagram import udp_socket
from protocols.errors import WireError
from protocols.pacing import pace_socket
from protocols.tftp.admission import Address, Admission
from protocols.tftp.channel import Owner, ReadChannel, WriteChannel
from protocols.tftp.content import NetasciiContent, OctetContent
from protocols.tftp.events import (
    Download,
    Report,
    RequestRefused,
    TftpEvent,
    TftpLimits,
    TransferFinished,
    TransferStarted,
)
from protocols.tftp.options import Ceilings, Mode, Terms, announced_size, negotiate
from protocols.tftp.path import PumpedPath, ReadPath, Transfer
from protocols.tftp.refusals import BAD_MODE, BUSY, NOT_FOUND, Refusal, refusal_of
from protocols.tftp.transfer import Outcome
from protocols.tftp.wire import BLOCK_NUMBERS, Opcode, Request, build_error, parse_packet
from storage.errors import StorageError
from storage.image import Image
from storage.upload import Upload

__all__ = [
    "Ceilings",
    "Download",
    "OpenRead",
    "OpenWrite",
    "RequestRefused",
    "TftpEvent",
    "TftpLimits",
    "TftpServer",
    "TransferFinished",
    "TransferStarted",
]

BUSY_LOG_INTERVAL = 5.0  # seconds; one warning for a whole storm of refusals


OpenRead = Callable[[str, str], Awaitable[Image]]
OpenWrite = Callable[[str, str, int | None], Awaitable[Upload]]


class TftpServer:
    """Serves files that `open_read` and `open_write` allow; tells `report` what happens.

    `open_read(name, client)` and `open_write(name, client, announced size)` raise FileNotFoundError, PermissionError,
    FileExistsError or StorageError; `report` takes the events and never blocks. `counts` holds what is counted.
    `ceilings` gives the most that is agreed to with the client of an address, where it is not the same for all.
    `path` makes what carries reads, given the server and how many `pumps` to use (threads, each with transfers of
    its own).
    """

    def __init__(
        self,
        *,
        open_read: OpenRead,
        open_write: OpenWrite,
        report: Report,
        limits: TftpLimits | None = None,
        ceilings: Callable[[str], Ceilings] | None = None,
        pumps: int = 1,
        path: Callable[[Owner, int], ReadPath] = PumpedPath,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._open_read = open_read
        self._open_write = open_write
        self._report = report
        self.limits = limits or TftpLimits()
        self._ceilings = ceilings or (lambda client: self.limits.ceilings())
        self.log = structlog.get_logger().bind(protocol="tftp")
        self._stream: DatagramServer | None = None
        self._request_socket: socket.socket | None = None  # the stream's
        self._tasks: set[asyncio.Task[None]] = set()
        self._interface: str | None = None
        self._admission = Admission(most=self.limits.transfers, most_per_client=self.limits.transfers_per_client)
        self._transfers: dict[Address, Transfer] = {}  # those of the admitted whose file is open
        self._path = path(self, pumps)
        self._busy_logged_at = float("-inf")

    async def bind(self, address: str, port: int = 69, interface: str | None = None) -> None:
        """Open the request port; nothing is served before `run`. Raises: OSError as bind does."""
        self._interface = interface
        self._request_socket = udp_socket(address, port, interface=interface)
        stream = await asyncio_dgram.from_socket(self._request_socket)
        assert isinstance(stream, DatagramServer)  # noqa: S101 -- it is a client only for a connected socket
        self._stream = stream

    @property
    def port(self) -> int:
        """The request port, once bound."""
        return int(self._bound().sockname[1])

    def downloads(self) -> list[Download]:
        """Every read under way, and how far it got."""
        channels = [(peer[0], each) for peer, each in self._transfers.items() if isinstance(each, ReadChannel)]
        plain = [Download(client, each.request.filename, each.size) for client, each in channels]
        return plain + self._path.downloads()

    async def run(self) -> None:
        """Serve until cancelled; then every transfer is told that it failed, and all sockets are closed."""
        self._path.start()
        try:
            while True:
                await self._serve_request()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._path.stop()
            self.close()

    def close(self) -> None:
        """End every transfer and close all sockets; for a server that was bound but never run."""
        for transfer in list(self._transfers.values()):
            transfer.stop()
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
        transfer = self._transfers.get(peer)
        if transfer is None or (transfer.request == request and transfer.repeat()):
            self.counts["repeated"] += 1
            return True
        transfer.supersede()
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
            transfer = await self._open_transfer(request, mode, peer)
        except (OSError, StorageError) as error:
            self._admission.leave(peer)
            await self._refuse(request, peer, refusal_of(error), error)
            return
        self._transfers[peer] = transfer
        transfer.start()

    async def _open_transfer(self, request: Request, mode: Mode, peer: Address) -> Transfer:
        """Raises: OSError or StorageError when the file or a socket for it can't be had; nothing stays open then."""
        ceilings = self._ceilings(peer[0])
        if request.opcode is Opcode.RRQ:
            image = await self._open_read(request.filename, peer[0])
            terms = negotiate(request, mode, image.size, ceilings)
            with self._own_socket(peer, ceilings) as sock:
                return self._begin_read(sock, peer, request, terms, image)
        upload = await self._open_write(request.filename, peer[0], announced_size(request))
        terms = negotiate(request, mode, 0, ceilings)
        try:
            with self._own_socket(peer, ceilings) as sock:
                return WriteChannel(self, sock, peer, request, terms, upload)
        except OSError:
            upload.abort()
            raise

    def _begin_read(self, sock: socket.socket, peer: Address, request: Request, terms: Terms, image: Image) -> Transfer:
        is_plain = terms.wrap == 0 or image.size < (BLOCK_NUMBERS - 1) * terms.blksize  # as pumps number blocks
        if terms.mode is Mode.OCTET and is_plain:
            return self._path.open(sock, peer, request, terms, image)
        kind = OctetContent if terms.mode is Mode.OCTET else NetasciiContent
        return ReadChannel(self, sock, peer, request, terms, image, kind(image.size, terms.blksize))

    @contextmanager
    def _own_socket(self, peer: Address, ceilings: Ceilings) -> Iterator[socket.socket]:
        """A fresh port on the address that requests come to (RFC 1350 §4), closed where no transfer takes it."""
        address, port = self._bound().sockname[:2]
        if ceilings.single_port:
            sock = udp_socket(address, port, interface=self._interface, beside=self._request_socket)
        else:
            sock = udp_socket(address, 0, interface=self._interface)
        try:
            if ceilings.single_port:
                sock.connect(peer)
            pace_socket(sock, ceilings.rate)
            yield sock
        except BaseException:
            sock.close()
            raise

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
            self.log.warning("transfers_exhausted", **facts, transfers=len(self._transfers))

    # What transfers call.

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run something that must wait; a bug in it is logged and ends nobody else's transfer, nor the server."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self.counts["crashed"] += 1
            self.log.error("transfer_crashed", exc_info=failure)

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
        facts |= {"outcome": str(finished.outcome), "seconds": round(finished.seconds, 3)}
        getattr(self.log, level)("transfer_finished", **facts)

    def on_closed(self, peer: Address) -> None:
        """A transfer has ended, or made way: its client's port may begin another."""
        del self._transfers[peer]
        self._admission.leave(peer)
