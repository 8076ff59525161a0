"""The native pump's twins: ATA by asyncio, one frame at a time and obviously correct, and the table of accounts."""

import asyncio
import errno
import socket
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass

from typing_extensions import Buffer

from protocols.aoe import wire
from protocols.aoe.endpoint import AoeServer
from protocols.aoe.initiators import Initiator
from protocols.aoe.target import Flush, Outcome, Read, Reply, TargetSession, Write, completed, failed
from protocols.aoe.wire import AtaCommand, AtaError, Command, ErrorCode, Flag, Header
from protocols.errors import SessionError, WireError
from protocols.ethernet import format_mac, is_station, packet_socket
from protocols.link import LARGEST_FRAME, Link
from storage.errors import StorageError
from storage.image import Image
from storage.trace import Trace

FRAMES_PER_WAKE = 64


@dataclass(slots=True)
class Account:
    """The running totals behind one Initiator."""

    since: float
    bytes_read: int = 0
    bytes_written: int = 0
    commands: int = 0
    is_identified: bool = False
    is_told: bool = False
    trace: Trace | None = None


class Ledger:
    """Accounts by machine and target, at most `limit`; past that, the one that was silent the longest is forgotten."""

    def __init__(self, limit: int) -> None:
        if not 0 < limit <= 1 << 24:
            raise ValueError(f"{limit} accounts")
        self._limit = limit
        self._accounts: OrderedDict[tuple[str, int, int], Account] = OrderedDict()

    def touch(self, mac: str, shelf: int, slot: int, now: float) -> Account:
        """The account of a machine at a target, opened at `now` when there is none."""
        key = (mac, shelf, slot)
        account = self._accounts.get(key)
        if account is not None:
            self._accounts.move_to_end(key)
            return account
        if len(self._accounts) >= self._limit:
            self._accounts.popitem(last=False)
        account = self._accounts[key] = Account(now)
        return account

    def note_command(self, mac: str, shelf: int, slot: int, now: float, *, read: int = 0, written: int = 0) -> None:
        """Count any command but IDENTIFY."""
        account = self.touch(mac, shelf, slot, now)
        account.is_identified = False
        account.commands += 1
        account.bytes_read += read
        account.bytes_written += written

    def note_identify(self, mac: str, shelf: int, slot: int, now: float) -> bool:
        """Count an IDENTIFY; whether it is a new one."""
        account = self.touch(mac, shelf, slot, now)
        is_new = not account.is_identified
        account.is_identified = True
        account.commands += 1
        return is_new

    def note_query(self, mac: str, shelf: int, slot: int, now: float) -> None:
        """Remember a configuration query."""
        self.touch(mac, shelf, slot, now).is_identified = False

    def trace(self, mac: str, shelf: int, slot: int, now: float, trace: Trace) -> None:
        """Have its reads noted."""
        self.touch(mac, shelf, slot, now).trace = trace

    def await_command(self, mac: str) -> None:
        """Have the machine's next commands told."""
        for key, account in self._accounts.items():
            if key[0] == mac:
                account.is_told = False

    def forget(self, shelf: int, slot: int) -> None:
        """Drop all accounts of a target that was removed."""
        for key in [key for key in self._accounts if key[1:] == (shelf, slot)]:
            del self._accounts[key]

    def snapshot(self) -> list[Initiator]:
        """Every machine that has sent a target an ATA command, the quietest first."""
        return [
            Initiator(*key, account.bytes_read, account.bytes_written, account.commands, account.since)
            for key, account in self._accounts.items()
            if account.commands
        ]


class PlainPath:
    """The data path as a reader callback: cold reads, writes and flushes on pool threads."""

    def __init__(self, server: AoeServer) -> None:
        self.server = server
        self._counts: Counter[str] = Counter()
        self._ledger = Ledger(server.limits.initiators)
        self._targets: dict[tuple[int, int], tuple[TargetSession, Image]] = {}
        self._in_flight: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._socket: socket.socket | None = None
        self._index = 0
        self._buffer = memoryview(bytearray(LARGEST_FRAME))

    def start(self) -> None:
        """The socket comes with the link."""

    def stop(self) -> None:
        """Let go of the socket and of what waits."""
        self.take_counts()
        for task in self._tasks:
            task.cancel()
        self._close()

    def open(self, link: Link) -> None:
        """Receive on a link; one that was made again needs another socket."""
        if link.index == self._index:
            return
        try:
            sock = packet_socket(link.name, wire.ETHERTYPE)
        except OSError as failure:
            if failure.errno != errno.ENODEV:
                raise
            self._counts["rebinds_failed"] += 1
            return
        self._close()
        self._socket, self._index = sock, link.index
        asyncio.get_running_loop().add_reader(sock, self._drain, sock)

    def _close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def add(self, session: TargetSession, image: Image) -> None:
        """Answer for a target."""
        self._targets[session.shelf, session.slot] = (session, image)

    def remove(self, shelf: int, slot: int) -> None:
        """No longer."""
        del self._targets[shelf, slot]
        self._ledger.forget(shelf, slot)

    def admit(self, session: TargetSession) -> None:
        """The session itself is asked."""

    def note_identify(self, mac: str, shelf: int, slot: int) -> bool:
        """In the ledger, now."""
        return self._ledger.note_identify(mac, shelf, slot, time.monotonic())

    def note_query(self, mac: str, shelf: int, slot: int) -> None:
        """In the ledger, now."""
        self._ledger.note_query(mac, shelf, slot, time.monotonic())

    def trace(self, mac: str, shelf: int, slot: int, trace: Trace) -> None:
        """In the ledger, now."""
        self._ledger.trace(mac, shelf, slot, time.monotonic(), trace)

    def await_command(self, mac: str) -> None:
        """In the ledger."""
        self._ledger.await_command(mac)

    def initiators(self) -> list[Initiator]:
        """Of the ledger."""
        return self._ledger.snapshot()

    def take_counts(self) -> None:
        """Add what was counted to the server's counts."""
        counts, self._counts = self._counts, Counter()
        self.server.count(counts)

    def _drain(self, sock: socket.socket) -> None:
        for _ in range(FRAMES_PER_WAKE):
            try:
                size = sock.recv_into(self._buffer)
            except BlockingIOError:
                return
            except OSError as failure:
                if failure.errno != errno.ENETDOWN:
                    raise
                self._counts["link_down"] += 1
                return
            frame = self._buffer[:size]
            found = self._found(frame)
            if found is None:
                self.server.on_frame(frame, self)
            else:
                self._answer(*found, frame)

    def _found(self, frame: memoryview) -> tuple[TargetSession, Image, Header] | None:
        """The target of an ATA command other than IDENTIFY; None for whatever is not one of a machine it admits."""
        try:
            header = wire.parse_header(frame)
            command = wire.parse_ata(frame[wire.HEADER_BYTES :]).command
        except WireError:
            return None
        found = self._targets.get((header.shelf, header.slot))
        is_request = not header.flags & Flag.RESPONSE and is_station(header.source) and header.version == wire.VERSION
        if found is None or not is_request or header.command != Command.ATA or command == AtaCommand.IDENTIFY:
            return None
        return (*found, header) if found[0].admits(format_mac(header.source)) else None

    def _answer(self, session: TargetSession, image: Image, header: Header, frame: Buffer) -> None:
        mac = format_mac(header.source)
        argument = memoryview(frame)[wire.HEADER_BYTES :]
        try:
            outcome = session.answer(mac, header, argument)
        except SessionError as refusal:
            self._counts["refused"] += 1
            self.server.reply(session, header, Reply((argument[: wire.ATA_BYTES],)), ErrorCode(refusal.reply_code))
            return
        self._account(session, mac, outcome)
        if isinstance(outcome, Reply):
            self.server.reply(session, header, outcome)
        elif isinstance(outcome, Read):
            self._read(session, image, mac, header, outcome)
        elif isinstance(outcome, Write):
            wish = Write(outcome.ata, outcome.offset, memoryview(bytes(outcome.data)))
            self._start(session, image, mac, header, wish)
        elif isinstance(outcome, Flush):
            self._start(session, image, mac, header, outcome)

    def _account(self, session: TargetSession, mac: str, outcome: Outcome) -> None:
        where = (mac, session.shelf, session.slot)
        now = time.monotonic()
        read = outcome.length if isinstance(outcome, Read) else 0
        written = len(outcome.data) if isinstance(outcome, Write) else 0
        account = self._ledger.touch(*where, now)
        self._ledger.note_command(*where, now, read=read, written=written)
        if account.trace is not None and isinstance(outcome, Read):
            account.trace.note(outcome.offset, outcome.length)
        if not account.is_told:
            account.is_told = True
            self.server.on_command(*where)

    def _read(self, session: TargetSession, image: Image, mac: str, header: Header, wish: Read) -> None:
        try:
            data = image.read_at_now(wish.offset, wish.length)
        except StorageError:
            self._fail(session, header, wish)
        else:
            if data is None:
                self._start(session, image, mac, header, wish)
            else:
                self.server.reply(session, header, completed(wish.ata, data))

    def _start(
        self, session: TargetSession, image: Image, mac: str, header: Header, wish: Read | Write | Flush
    ) -> None:
        limits = self.server.limits
        if self._in_flight.total() >= limits.in_flight or self._in_flight[mac] >= limits.in_flight_per_initiator:
            self._counts["dropped_in_flight"] += 1
            return
        self._in_flight[mac] += 1
        task = asyncio.get_running_loop().create_task(self._finish(session, image, mac, header, wish))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(
        self, session: TargetSession, image: Image, mac: str, header: Header, wish: Read | Write | Flush
    ) -> None:
        try:
            reply = completed(wish.ata, await asyncio.to_thread(carry_out, image, wish))
        except StorageError:
            self._fail(session, header, wish)
        else:
            self.server.reply(session, header, reply)
        finally:
            self._in_flight[mac] -= 1

    def _fail(self, session: TargetSession, header: Header, wish: Read | Write | Flush) -> None:
        self._counts["image_errors"] += 1
        error = AtaError.UNC if isinstance(wish, Read) else AtaError.ABRT
        self.server.reply(session, header, failed(wish.ata, error))


def carry_out(image: Image, wish: Read | Write | Flush) -> bytes:
    """Do what an ATA command asked of the image, waiting for it; the data it reads. Raises: StorageError."""
    match wish:
        case Read():
            return image.read_at(wish.offset, wish.length)
        case Write():
            image.write_at(wish.offset, wish.data)
        case Flush():
            image.sync()
    return b""
