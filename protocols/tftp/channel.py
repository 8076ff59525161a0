"""One transfer on a socket and timer of its own: what drives the state machines of reading and writing.

RFC 1350 §4: each transfer has a port of its own. Here are uploads, and reads in netascii mode: rare, small, and each
block known only once the one before it was made. Reads in octet mode are the native pump's (pump.pyx).
"""

import asyncio
import socket
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Coroutine
from typing import ClassVar, Protocol

from structlog.typing import FilteringBoundLogger

from protocols.errors import WireError
from protocols.tftp.admission import Address
from protocols.tftp.content import Content
from protocols.tftp.events import Direction, TftpLimits, TransferFinished, TransferStarted
from protocols.tftp.options import Terms, announced_size
from protocols.tftp.reading import ReadTransfer
from protocols.tftp.refusals import STOPPING, refusal_of
from protocols.tftp.transfer import Outcome, Transfer
from protocols.tftp.wire import ErrorCode, Opcode, Request, build_error
from protocols.tftp.writing import WriteTransfer
from storage import pool
from storage.errors import StorageError
from storage.image import Image
from storage.upload import Upload

DRAIN = 32  # datagrams taken from one transfer's socket before others get their turn
DATA_HEAD = 4  # bytes before a DATA packet's payload
SMALLEST_RECEIVE = 1024  # bytes; ACKs and ERRORs with room for a long text
LATE_DUPLICATE = 1.0  # seconds; a repeated request this soon after a sign of life is the network's doing

ERROR_HEAD = Opcode.ERROR.to_bytes(2)


class Owner(Protocol):
    """What a channel asks of the server it belongs to."""

    counts: Counter[str]
    limits: TftpLimits
    log: FilteringBoundLogger

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run something of a channel's that must wait."""

    def on_started(self, started: TransferStarted) -> None:
        """A transfer sends its first answer."""

    def on_finished(self, finished: TransferFinished) -> None:
        """A transfer has its outcome."""

    def on_closed(self, peer: Address) -> None:
        """A channel's socket is gone."""


class Channel(ABC):
    """One transfer on its own socket: datagrams in and out, one lazily moved timer."""

    def __init__(
        self, server: Owner, sock: socket.socket, peer: Address, request: Request, transfer: Transfer, size: int
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

    @property
    def size(self) -> int:
        """Payload bytes that have surely arrived."""
        return self._transfer.size

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
        self._transfer.fail(STOPPING.code, STOPPING.message)
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


class ReadChannel(Channel):
    """Sends a file as the blocks of `content`."""

    direction = "read"

    def __init__(
        self,
        server: Owner,
        sock: socket.socket,
        peer: Address,
        request: Request,
        terms: Terms,
        image: Image,
        content: Content,
    ) -> None:
        self._image = image
        self._is_waiting_for_disk = False
        now = asyncio.get_running_loop().time()
        self._reading = ReadTransfer(terms, content, now, give_up_after=server.limits.give_up_after)
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


class WriteChannel(Channel):
    """Receives a file."""

    direction = "write"

    def __init__(
        self, server: Owner, sock: socket.socket, peer: Address, request: Request, terms: Terms, upload: Upload
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
