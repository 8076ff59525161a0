"""AoE targets on one interface: queries, masks, reservations, advertisements, counters.

ATA commands, but for IDENTIFY, are the data path's (channel.py), which also receives: what reaches this module is rare.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
from typing_extensions import Buffer

from protocols.aoe import wire
from protocols.aoe.advertising import AdvertisingPlan
from protocols.aoe.channel import Accounts, DataPath, PumpedPath, Server
from protocols.aoe.events import Event, InitiatorAsked, TargetIdentified, TraceReads
from protocols.aoe.initiators import Initiator
from protocols.aoe.limits import AoeLimits
from protocols.aoe.target import Identify, Outcome, Reply, TargetSession, completed
from protocols.aoe.wire import Command, ErrorCode, Flag, Header
from protocols.errors import SessionError, WireError
from protocols.ethernet import BROADCAST, format_mac, is_station, parse_mac
from protocols.link import Link, PacketPort
from storage.image import Image, PaddedImage

__all__ = ["AoeLimits", "AoeServer", "Event", "InitiatorAsked", "Target", "TargetIdentified"]

log = structlog.get_logger(protocol="aoe")  # not .bind(): that would settle now how it logs
RESPONSE, FAILED = int(Flag.RESPONSE), int(Flag.RESPONSE | Flag.ERROR)  # numbers, as in Header


@dataclass(frozen=True, slots=True)
class Target:
    """An image at a shelf.slot address; `allowed` are the MACs that see it (none: every machine)."""

    shelf: int
    slot: int
    image: Image
    label: str
    allowed: frozenset[str] = frozenset()


class AoeServer:
    """Serves targets to every machine on one Ethernet segment."""

    def __init__(
        self,
        *,
        report: Callable[[Event], None],
        limits: AoeLimits | None = None,
        trace_reads: TraceReads = lambda mac, shelf, slot: None,
        pumps: int = 1,
        reservations: bool = False,
        path: Callable[[Server], DataPath] = PumpedPath,
    ) -> None:
        """`report` gets each Event; `path` makes what serves ATA, by `pumps` threads.

        Without `reservations` no initiator can reserve a read-only target, or put itself on its MAC mask: others that
        boot from it would be shut out. One that can be written to always does as AoEr11 §3.3 and §3.4 say.
        `trace_reads` is asked whenever a machine's driver has found a target. It and `report` neither block nor raise.
        """
        self._report = report
        self._trace_reads = trace_reads
        self.limits = limits or AoeLimits()
        self.pumps = pumps
        self._reservations = reservations
        self._counts: Counter[str] = Counter()
        self._targets: dict[tuple[int, int], tuple[TargetSession, Image]] = {}
        self._plan = AdvertisingPlan(self.limits.advertised)
        self._path = path(self)
        self._port = PacketPort(wire.ETHERTYPE, on_frame=None, on_link=self._on_link, counts=self._counts)
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
                self._start_path()
                if self._port.link.is_up:
                    self._advertise_all()
                self._arm()
                await self._port.run()
        finally:
            self._tasks = None
            self._disarm()
            self._path.stop()

    def _start_path(self) -> None:
        self._path.start()
        for session, image in self._targets.values():
            self._path.add(session, image)
        if self._port.link.is_up:
            self._path.open(self._port.link)

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
        if len(self._targets) >= self.limits.targets:
            raise ValueError(f"{name}: more than {self.limits.targets} targets")
        image = whole_sectors(target.image, name)
        session = TargetSession(
            target.shelf,
            target.slot,
            sectors=image.size // wire.SECTOR_BYTES,
            writable=image.writable,
            label=target.label,
            buffers=self.limits.buffers,
            mtu=self._port.link.mtu,
            allowed=sorted(target.allowed),
            claimable=self._reservations or image.writable,
        )
        self._targets[key] = (session, image)
        if self._tasks is not None:
            self._path.add(session, image)
            if self._port.link.is_up:
                self._advertise_target(session)

    def remove(self, shelf: int, slot: int) -> None:
        """Serve a target no longer; its initiators see no answers. Raises: KeyError when there is none."""
        del self._targets[shelf, slot]
        if self._tasks is not None:
            self._path.remove(shelf, slot)

    def advertise(self, mac: str, seconds: float) -> None:
        """Tell one machine of its targets, at once and then again and again for `seconds`.

        It ends early, target by target, with the machine's first ATA command; another call extends it.
        """
        address = parse_mac(mac)
        mac = format_mac(address)
        self._plan.start(mac, asyncio.get_running_loop().time() + seconds)
        self._path.await_command(mac)
        for session, _ in self._targets.values():
            if session.admits(mac):
                self._send_advert(session, address)
        self._arm()

    def initiators(self) -> list[Initiator]:
        """Who uses which target, and how much it moved; none while the server does not run."""
        return self._path.initiators()

    @property
    def counts(self) -> Counter[str]:
        """What was counted, not logged, up to now."""
        self._path.take_counts()
        return self._counts

    def count(self, counts: Mapping[str, int]) -> None:
        """Take over what the data path counted."""
        self._counts.update(counts)

    # Link and advertisements

    def _take_link(self, link: Link) -> None:
        self._source = parse_mac(link.mac)
        for session, _ in self._targets.values():
            session.fit(link.mtu)

    def _on_link(self, link: Link) -> None:
        """The link came up, or has another MTU or MAC: drivers learn of both from an advertisement."""
        self._take_link(link)
        if self._tasks is not None:
            self._path.open(link)
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
        self._counts["adverts"] += self._port.send((header, session.describe()))

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
            self._timer = asyncio.get_running_loop().call_later(self.limits.advertise_interval, self._on_round)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_round(self) -> None:
        self._timer = None
        left = self.limits.adverts_per_interval
        for mac, heard in self._plan.due(asyncio.get_running_loop().time()):
            for key, (session, _) in self._targets.items():
                if key not in heard and session.admits(mac):
                    self._send_advert(session, parse_mac(mac))
                    left -= 1
            if left <= 0:
                break
        self._arm()

    # Requests

    def on_command(self, mac: str, shelf: int, slot: int) -> None:
        """Hear from the data path of a machine's first ATA command at a target."""
        self._plan.note_command(mac, shelf, slot)

    def on_frame(self, frame: Buffer, accounts: Accounts) -> None:
        """Answer what is none of the data path's."""
        try:
            header = wire.parse_header(frame)
        except WireError as error:
            self._refuse_malformed(error)
            return
        if header.flags & RESPONSE or not is_station(header.source):
            self._counts["not_requests"] += 1
            return
        mac = format_mac(header.source)
        argument = memoryview(frame)[wire.HEADER_BYTES :]
        found = self._addressed(header)
        if not found:
            self._counts["unaddressed"] += 1
        for session in found:
            if session.admits(mac):
                self._serve(session, accounts, mac, header, argument)
            else:
                self._counts["masked"] += 1

    def _addressed(self, header: Header) -> list[TargetSession]:
        """The targets a request is for: one, none, or, by a wildcard, many."""
        if header.shelf != wire.ANY_SHELF and header.slot != wire.ANY_SLOT:
            exact = self._targets.get((header.shelf, header.slot))
            return [exact[0]] if exact else []
        return [
            session
            for (shelf, slot), (session, _) in self._targets.items()
            if header.shelf in (wire.ANY_SHELF, shelf) and header.slot in (wire.ANY_SLOT, slot)
        ]

    def _serve(
        self, session: TargetSession, accounts: Accounts, mac: str, header: Header, argument: memoryview
    ) -> None:
        """Have a target answer a request: the one place where its errors become replies."""
        try:
            outcome = session.answer(mac, header, argument)
        except WireError as error:
            self._refuse_malformed(error)
            self._reply_error(session, header, ErrorCode.BAD_ARGUMENT, argument)
        except SessionError as refusal:
            self._counts["refused"] += 1
            log.debug("request_refused", mac=mac, shelf=session.shelf, slot=session.slot, reason=refusal.message)
            self._reply_error(session, header, refusal.reply_code, argument)
        else:
            if header.command in (Command.MASK, Command.RESERVE):
                self._path.admit(session)
            self._account(session, accounts, mac, header, outcome)
            self._carry_out(session, header, outcome)

    def _account(self, session: TargetSession, accounts: Accounts, mac: str, header: Header, outcome: Outcome) -> None:
        where = (mac, session.shelf, session.slot)
        if header.command == Command.CONFIG:
            accounts.note_query(*where)
            if outcome is not None:
                self._report(InitiatorAsked(*where))
        elif isinstance(outcome, Identify):
            self._plan.note_command(*where)
            if accounts.note_identify(*where):
                log.debug("target_identified", mac=mac, shelf=session.shelf, slot=session.slot)
                self._report(TargetIdentified(*where))
                if (trace := self._trace_reads(*where)) is not None:
                    accounts.trace(*where, trace)

    def _carry_out(self, session: TargetSession, header: Header, outcome: Outcome) -> None:
        match outcome:
            case None:
                return
            case Identify():
                self.reply(session, header, completed(outcome.ata, outcome.data))
            case Reply() if header.command != Command.ATA:
                self.reply(session, header, outcome)
            case _:
                # The path did not know the target, or its mask, as they are now: the initiator asks again.
                self._counts["outrun"] += 1

    # Replies

    def reply(self, session: TargetSession, header: Header, reply: Reply, error: int = 0) -> None:
        """Send a target's answer to a request, with the error flag when there is an `error`."""
        flags = FAILED if error else RESPONSE
        answer = self._header(session, header.source, flags, header.command, tag=header.tag, error=error)
        self._counts["replies"] += self._port.send((answer, *reply.parts))

    def _reply_error(self, session: TargetSession, header: Header, error: int, argument: Buffer) -> None:
        """An AoE error gives the request's argument back, of ATA only the registers: never more than came in."""
        echo = memoryview(argument)[: wire.ATA_BYTES] if header.command == Command.ATA else argument
        self.reply(session, header, Reply((echo,)), error)

    def _refuse_malformed(self, error: WireError) -> None:
        self._counts["malformed"] += 1
        log.debug("frame_malformed", reason=str(error))


def whole_sectors(image: Image, name: str) -> Image:
    """The image, or for a read-only one of odd size a layer that fills the last sector. Raises: ValueError."""
    if image.size == 0:
        raise ValueError(f"{name}: the image is empty")
    if image.size % wire.SECTOR_BYTES == 0:
        return image
    if image.writable:
        raise ValueError(f"{name}: a writable image has to be whole sectors of {wire.SECTOR_BYTES} bytes")
    return PaddedImage(image, multiple=wire.SECTOR_BYTES)
