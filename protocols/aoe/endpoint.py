"""AoE targets on one interface: the raw socket, reads and writes of images, advertisements, counters.

A read whose bytes are in memory is answered inside the reader callback; any other goes to a pool thread, bounded per
initiator and in all, while the socket goes on being served. The data path here is the plain twin of the native pump.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from typing_extensions import Buffer

from protocols.aoe import wire
from protocols.aoe.advertising import AdvertisingPlan
from protocols.aoe.initiators import Initiator, InitiatorTable
from protocols.aoe.target import Flush, Identify, Outcome, Read, Reply, TargetSession, Write, completed, failed
from protocols.aoe.wire import AtaError, Command, ErrorCode, Flag, Header
from protocols.errors import SessionError, WireError
from protocols.ethernet import BROADCAST, format_mac, is_station, parse_mac
from protocols.link import Link, PacketPort
from storage import pool
from storage.errors import StorageError
from storage.image import Image, PaddedImage

log = structlog.get_logger().bind(protocol="aoe")
RESPONSE, FAILED = int(Flag.RESPONSE), int(Flag.RESPONSE | Flag.ERROR)  # numbers, as in Header


@dataclass(frozen=True, slots=True)
class Target:
    """An image at a shelf.slot address; `allowed` are the MACs that see it (none: every machine)."""

    shelf: int
    slot: int
    image: Image
    label: str
    allowed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TargetIdentified:
    """A machine's driver has found a target: an IDENTIFY that is no repeat of the one before."""

    mac: str
    shelf: int
    slot: int


@dataclass(frozen=True, slots=True)
class InitiatorAsked:
    """A machine's configuration query was answered by a target."""

    mac: str
    shelf: int
    slot: int


Event = TargetIdentified | InitiatorAsked


@dataclass(frozen=True, slots=True)
class AoeLimits:
    """What bounds the room."""

    targets: int = 255  # a broadcast query makes each one answer: the slots of one shelf
    buffers: int = 16  # requests one initiator keeps outstanding at a target, as vblade says it; the kernel caps at 64
    initiators: int = 4096  # accounts of (machine, target): 200 machines at 20 images
    in_flight_per_initiator: int = 64  # cold reads and writes of one machine; buffers of four targets
    in_flight: int = 1024  # of all machines; at MTU 9000 this is 9 MB of frames
    advertised: int = 512  # machines advertised to at one time: a classroom and a spare
    advertise_interval: float = 0.2  # seconds; a driver waits 100 ms on average, five frames a second bother nobody
    adverts_per_interval: int = 512  # frames; with many targets and machines they take turns, so 2,560 a second at most


class AoeServer:
    """Serves targets to every machine on one Ethernet segment."""

    def __init__(self, *, report: Callable[[Event], None], limits: AoeLimits | None = None) -> None:
        """`report` gets each Event; it neither blocks nor raises."""
        self._report = report
        self._limits = limits or AoeLimits()
        self.counts: Counter[str] = Counter()
        self._targets: dict[tuple[int, int], tuple[TargetSession, Image]] = {}
        self._initiators = InitiatorTable(self._limits.initiators)
        self._plan = AdvertisingPlan(self._limits.advertised)
        self._in_flight: Counter[str] = Counter()
        self._port = PacketPort(wire.ETHERTYPE, on_frame=self._on_frame, on_link=self._on_link, counts=self.counts)
        self._source = bytes(6)
        self._tasks: asyncio.TaskGroup | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def bind(self, interface: str) -> None:
        """Open the raw socket. Raises: OSError (ENODEV: no such interface, EPERM: CAP_NET_RAW is missing)."""
        await self._port.bind(interface)
        self._take_link(self._port.link)

    async def run(self) -> None:
        """Serve until cancelled, through every down, up and re-creation of the interface."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                if self._port.link.is_up:
                    self._advertise_all()
                self._arm()
                await self._port.run()
        finally:
            self._tasks = None
            self._disarm()

    def close(self) -> None:
        """Close what `bind` opened; needed only where `run` was never started."""
        self._port.close()

    def add(self, target: Target) -> None:
        """Serve a target from now on, and say so to the LAN when running.

        A read-only image that is no whole number of sectors is filled up with zeros.
        Raises: ValueError for an address that is taken or reserved, an image AoE can't serve, or one target too many.
        """
        key = (target.shelf, target.slot)
        name = f"AoE target e{target.shelf}.{target.slot} ({target.label})"
        if not 0 <= target.shelf < wire.ANY_SHELF or target.shelf == wire.MISSET_SHELF:
            raise ValueError(f"{name}: shelf is 0 to 65534, and not 4095, which the Linux driver refuses")
        if not 0 <= target.slot < wire.ANY_SLOT:
            raise ValueError(f"{name}: slot is 0 to 254")
        if key in self._targets:
            raise ValueError(f"{name}: the address is taken")
        if len(self._targets) >= self._limits.targets:
            raise ValueError(f"{name}: more than {self._limits.targets} targets")
        image = whole_sectors(target.image, name)
        session = TargetSession(
            target.shelf,
            target.slot,
            sectors=image.size // wire.SECTOR_BYTES,
            writable=image.writable,
            label=target.label,
            buffers=self._limits.buffers,
            mtu=self._port.link.mtu,
            allowed=sorted(target.allowed),
        )
        self._targets[key] = (session, image)
        if self._tasks is not None and self._port.link.is_up:
            self._advertise_target(session)

    def remove(self, shelf: int, slot: int) -> None:
        """Serve a target no longer; its initiators see no answers. Raises: KeyError when there is none."""
        del self._targets[shelf, slot]
        self._initiators.forget(shelf, slot)

    def advertise(self, mac: str, seconds: float) -> None:
        """Tell one machine of its targets, at once and then again and again for `seconds`.

        It ends early, target by target, with the machine's first ATA command; another call extends it.
        """
        address = parse_mac(mac)
        mac = format_mac(address)
        self._plan.start(mac, asyncio.get_running_loop().time() + seconds)
        for session, _ in self._targets.values():
            if session.admits(mac):
                self._send_advert(session, address)
        self._arm()

    def initiators(self) -> list[Initiator]:
        """Who uses which target, and how much it moved."""
        return self._initiators.snapshot()

    # Link and advertisements

    def _take_link(self, link: Link) -> None:
        self._source = parse_mac(link.mac)
        for session, _ in self._targets.values():
            session.fit(link.mtu)

    def _on_link(self, link: Link) -> None:
        """The link came up, or has another MTU or MAC: drivers learn of both from an advertisement."""
        self._take_link(link)
        self._advertise_all()

    def _advertise_all(self) -> None:
        for session, _ in self._targets.values():
            self._advertise_target(session)

    def _advertise_target(self, session: TargetSession) -> None:
        """A broadcast, or, for a target with a mask, a frame to each machine that may see it (A-1, A-2)."""
        for destination in [parse_mac(mac) for mac in session.mask] or [BROADCAST]:
            self._send_advert(session, destination)

    def _send_advert(self, session: TargetSession, destination: bytes) -> None:
        # Tag 0, since the driver leaves tags with bit 31 to user space and drops them.
        header = self._header(session, destination, RESPONSE, Command.CONFIG, tag=0)
        self.counts["adverts"] += self._port.send((header, session.describe()))

    def _header(
        self, session: TargetSession, destination: bytes, flags: int, command: int, *, tag: int, error: int = 0
    ) -> bytes:
        """The header of anything a target says: from our interface's own MAC, under its own address."""
        return wire.build_header(
            Header(destination, self._source, wire.VERSION, flags, error, session.shelf, session.slot, command, tag)
        )

    def _arm(self) -> None:
        """Have the next round of advertisements come, when anyone waits for one."""
        if self._timer is None and self._tasks is not None and len(self._plan):
            self._timer = asyncio.get_running_loop().call_later(self._limits.advertise_interval, self._on_round)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_round(self) -> None:
        self._timer = None
        left = self._limits.adverts_per_interval
        for mac, heard in self._plan.due(asyncio.get_running_loop().time()):
            for key, (session, _) in self._targets.items():
                if key not in heard and session.admits(mac):
                    self._send_advert(session, parse_mac(mac))
                    left -= 1
            if left <= 0:
                break
        self._arm()

    # Requests

    def _on_frame(self, frame: memoryview) -> None:
        try:
            header = wire.parse_header(frame)
        except WireError as error:
            self._refuse_malformed(error)
            return
        if header.flags & RESPONSE or not is_station(header.source):
            self.counts["not_requests"] += 1
            return
        mac = format_mac(header.source)
        argument = frame[wire.HEADER_BYTES :]
        found = self._addressed(header)
        if not found:
            self.counts["unaddressed"] += 1
        for session, image in found:
            if session.admits(mac):
                self._serve(session, image, mac, header, argument)
            else:
                self.counts["masked"] += 1

    def _addressed(self, header: Header) -> list[tuple[TargetSession, Image]]:
        """The targets a request is for: one, none, or, by a wildcard, many."""
        if header.shelf != wire.ANY_SHELF and header.slot != wire.ANY_SLOT:
            exact = self._targets.get((header.shelf, header.slot))
            return [exact] if exact else []
        return [
            found
            for (shelf, slot), found in self._targets.items()
            if header.shelf in (wire.ANY_SHELF, shelf) and header.slot in (wire.ANY_SLOT, slot)
        ]

    def _serve(self, session: TargetSession, image: Image, mac: str, header: Header, argument: memoryview) -> None:
        """Have a target answer a request: the one place where its errors become replies."""
        try:
            outcome = session.answer(mac, header, argument)
        except WireError as error:
            self._refuse_malformed(error)
            self._reply_error(session, header, ErrorCode.BAD_ARGUMENT, argument)
        except SessionError as refusal:
            self.counts["refused"] += 1
            log.debug("request_refused", mac=mac, shelf=session.shelf, slot=session.slot, reason=refusal.message)
            self._reply_error(session, header, refusal.reply_code, argument)
        else:
            self._account(session, mac, header, outcome)
            self._carry_out(session, image, mac, header, outcome)

    def _account(self, session: TargetSession, mac: str, header: Header, outcome: Outcome) -> None:
        if header.command not in (Command.ATA, Command.CONFIG):
            return
        account = self._initiators.touch(mac, session.shelf, session.slot, asyncio.get_running_loop().time())
        if header.command == Command.CONFIG:
            account.note_query()
            if outcome is not None:
                self._report(InitiatorAsked(mac, session.shelf, session.slot))
            return
        self._plan.note_command(mac, session.shelf, session.slot)
        match outcome:
            case Read(length=length):
                account.note_command(read=length)
            case Write(data=data):
                account.note_command(written=len(data))
            case Identify():
                if account.note_identify():
                    self._report(TargetIdentified(mac, session.shelf, session.slot))
            case _:
                account.note_command()

    def _carry_out(self, session: TargetSession, image: Image, mac: str, header: Header, outcome: Outcome) -> None:
        match outcome:
            case None:
                return
            case Reply():
                self._reply(session, header, outcome)
            case Identify():
                self._reply(session, header, completed(outcome.ata, outcome.data))
            case Read():
                try:
                    data = image.read_at_now(outcome.offset, outcome.length)
                except StorageError as error:
                    self._reply_failure(session, header, outcome, error)
                else:
                    if data is None:
                        self._start(session, image, mac, header, outcome)
                    else:
                        self._reply(session, header, completed(outcome.ata, data))
            case Write():
                # The frame's buffer takes the next frame as soon as this call returns: keep the bytes.
                self._start(
                    session, image, mac, header, Write(outcome.ata, outcome.offset, memoryview(bytes(outcome.data)))
                )
            case Flush():
                self._start(session, image, mac, header, outcome)

    # Image work that waits

    def _start(
        self, session: TargetSession, image: Image, mac: str, header: Header, wish: Read | Write | Flush
    ) -> None:
        """Carry out a wish on the pool; past the limits it is dropped, and the initiator sends it again."""
        if (
            self._tasks is None
            or self._in_flight.total() >= self._limits.in_flight
            or self._in_flight[mac] >= self._limits.in_flight_per_initiator
        ):
            self.counts["dropped_in_flight"] += 1
            return
        self._in_flight[mac] += 1
        self._tasks.create_task(self._finish(session, image, mac, header, wish))

    async def _finish(
        self, session: TargetSession, image: Image, mac: str, header: Header, wish: Read | Write | Flush
    ) -> None:
        try:
            reply = completed(wish.ata, await carry_out(image, wish))
        except StorageError as error:
            self._reply_failure(session, header, wish, error)
        else:
            self._reply(session, header, reply)
        finally:
            self._in_flight[mac] -= 1
            if not self._in_flight[mac]:
                del self._in_flight[mac]

    # Replies

    def _reply(self, session: TargetSession, header: Header, reply: Reply, error: int = 0) -> None:
        flags = FAILED if error else RESPONSE
        answer = self._header(session, header.source, flags, header.command, tag=header.tag, error=error)
        self.counts["replies"] += self._port.send((answer, *reply.parts))

    def _reply_error(self, session: TargetSession, header: Header, error: int, argument: Buffer) -> None:
        """An AoE error gives the request's argument back, of ATA only the registers: never more than came in."""
        echo = memoryview(argument)[: wire.ATA_BYTES] if header.command == Command.ATA else argument
        self._reply(session, header, Reply((echo,)), error)

    def _reply_failure(
        self, session: TargetSession, header: Header, wish: Read | Write | Flush, error: StorageError
    ) -> None:
        self.counts["image_errors"] += 1
        log.error("image_failed", shelf=session.shelf, slot=session.slot, errno=error.errno, reason=str(error))
        self._reply(session, header, failed(wish.ata, AtaError.UNC if isinstance(wish, Read) else AtaError.ABRT))

    def _refuse_malformed(self, error: WireError) -> None:
        self.counts["malformed"] += 1
        log.debug("frame_malformed", reason=str(error))


async def carry_out(image: Image, wish: Read | Write | Flush) -> bytes:
    """Do what an ATA command asked of the image; the data it reads. Raises: StorageError."""
    match wish:
        case Read():
            return await pool.read(image, wish.offset, wish.length)
        case Write():
            await pool.write(image, wish.offset, wish.data)
        case Flush():
            await pool.flush(image)
    return b""


def whole_sectors(image: Image, name: str) -> Image:
    """The image, or for a read-only one of odd size a layer that fills the last sector. Raises: ValueError."""
    if image.size == 0:
        raise ValueError(f"{name}: the image is empty")
    if image.size % wire.SECTOR_BYTES == 0:
        return image
    if image.writable:
        raise ValueError(f"{name}: a writable image has to be whole sectors of {wire.SECTOR_BYTES} bytes")
    return PaddedImage(image, multiple=wire.SECTOR_BYTES)
