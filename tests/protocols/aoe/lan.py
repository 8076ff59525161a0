"""An AoE initiator of the test's own, and a server at the other end of its cable."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from protocols.aoe import wire
from protocols.aoe.channel import DataPath, PumpedPath, Server
from protocols.aoe.endpoint import AoeLimits, AoeServer, Event, Target
from protocols.aoe.wire import AtaArgument, AtaFlag, Command, ConfigArgument, Flag, Header
from protocols.ethernet import BROADCAST, format_mac, parse_mac
from storage.image import BytesImage
from storage.trace import Trace

CLIENT = "52:54:00:77:00:01"
CONTENT = random.Random(88).randbytes(64 * 512)
OTHER = "52:54:00:77:00:02"
NO_FLAGS = Flag(0)
DEADLINE = 5  # seconds until a test gives up on an answer


@dataclass(frozen=True, slots=True)
class Answer:
    """A frame from a target."""

    header: Header
    argument: bytes

    @property
    def ata(self) -> AtaArgument:
        """Its argument as ATA registers and data."""
        return wire.parse_ata(self.argument)

    @property
    def config(self) -> ConfigArgument:
        """Its argument as a configuration."""
        return wire.parse_config(self.argument)


class Initiator:
    """Sends requests from any MAC out of one interface and receives what comes to it."""

    def __init__(self, interface: str = "far", mac: str = CLIENT) -> None:
        self.mac = mac
        self.tag = 0
        self.server = BROADCAST
        # Not packet_socket: its filter passes only what is for the interface's own MAC, and these are others.
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        self.socket.bind((interface, wire.ETHERTYPE))

    def close(self) -> None:
        """Close its socket."""
        self.socket.close()

    def send(
        self, command: int, argument: bytes, *, shelf: int = 0, slot: int = 1, version: int = 1, flags: Flag = NO_FLAGS
    ) -> int:
        """Send a request; its tag."""
        self.tag += 1
        header = Header(self.server, parse_mac(self.mac), version, flags, 0, shelf, slot, command, self.tag)
        self.socket.send((wire.build_header(header) + argument).ljust(60, b"\0"))
        return self.tag

    async def receive(self) -> Answer:
        """The next frame for this MAC or for everyone, before the deadline."""
        async with asyncio.timeout(DEADLINE):
            while True:
                frame = await asyncio.get_running_loop().sock_recv(self.socket, 65536)
                header = wire.parse_header(frame)
                if header.destination in (parse_mac(self.mac), BROADCAST):
                    return Answer(header, frame[wire.HEADER_BYTES :])

    async def answer_to(self, tag: int) -> Answer:
        """The answer with a tag; advertisements (tag 0) before it are passed over."""
        while True:
            answer = await self.receive()
            if answer.header.tag == tag:
                return answer

    async def ask(self, command: int, argument: bytes, **where: int) -> Answer:
        """Send a request and wait for its answer."""
        return await self.answer_to(self.send(command, argument, **where))  # type: ignore[arg-type]  # ints only

    async def config(self, command: int = 0, string: bytes = b"", **where: int) -> Answer:
        """A configuration command."""
        return await self.ask(Command.CONFIG, config(command, string), **where)

    async def ata(self, command: int, lba: int = 0, sectors: int = 1, data: bytes = b"", **where: int) -> Answer:
        """An ATA command."""
        return await self.ask(Command.ATA, ata(command, lba, sectors, data), **where)

    async def read(self, lba: int, sectors: int = 1, *, slot: int = 1) -> bytes:
        """Sectors, which have to come without an error."""
        answer = await self.ata(0x24, lba, sectors, slot=slot)
        assert (answer.header.flags, answer.ata.command) == (Flag.RESPONSE, 0x40)
        return bytes(answer.ata.data)[: sectors * 512]


def config(command: int = 0, string: bytes = b"") -> bytes:
    """A configuration argument."""
    return wire.build_config(ConfigArgument(0, 0, 0, 1, command, string))


def ata(command: int, lba: int = 0, sectors: int = 1, data: bytes = b"") -> bytes:
    """An ATA argument."""
    return wire.build_ata(AtaArgument(AtaFlag(0), 0, sectors, command, lba)) + data


class Lan:
    """A server on `near`, an initiator on `far`, and what the server reported; `path` makes its data path."""

    path: Callable[[Server], DataPath] = PumpedPath

    def __init__(self, server: AoeServer, events: list[Event], traces: dict[tuple[str, int, int], Trace]) -> None:
        self.server = server
        self.events = events
        self.traces = traces
        self.initiator = Initiator()
        self.others: list[Initiator] = []

    async def counted(self, name: str, count: int) -> None:
        """Wait until something was counted so often: a pump is ahead of Python, or behind."""
        async with asyncio.timeout(DEADLINE):
            while self.server.counts[name] != count:  # noqa: ASYNC110 -- nothing else tells of a count
                await asyncio.sleep(0)

    async def reported(self, *events: Event) -> None:
        """Wait until just these were reported."""
        async with asyncio.timeout(DEADLINE):
            while self.events != list(events):  # noqa: ASYNC110 -- likewise
                await asyncio.sleep(0)

    def also(self, mac: str) -> Initiator:
        """Another initiator on the same cable, that knows the server."""
        other = Initiator(mac=mac)
        other.server = self.initiator.server
        self.others.append(other)
        return other


@asynccontextmanager
async def serving(
    *targets: Target, limits: AoeLimits | None = None, pumps: int = 1, reservations: bool = False
) -> AsyncIterator[Lan]:
    """A server that runs; its start was seen when this returns, since every unmasked target has said so."""
    events: list[Event] = []
    traces: dict[tuple[str, int, int], Trace] = {}
    server = AoeServer(
        report=events.append,
        limits=limits,
        trace_reads=lambda *where: traces.get(where),
        pumps=pumps,
        reservations=reservations,
        path=Lan.path,
    )
    for target in targets:
        server.add(target)
    lan = Lan(server, events, traces)
    await server.bind("near")
    task = asyncio.create_task(server.run())
    try:
        for _ in [target for target in targets if not target.allowed]:
            lan.initiator.server = (await lan.initiator.receive()).header.source
        yield lan
    finally:
        for initiator in (lan.initiator, *lan.others):
            initiator.close()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def mac_of(interface: str) -> str:
    """The MAC of an interface here."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as probe:
        probe.bind((interface, 0))
        return format_mac(probe.getsockname()[4])


def target(slot: int = 1, content: bytes = CONTENT, **more: frozenset[str]) -> Target:
    """A read-only target e0.<slot> in memory."""
    return Target(0, slot, BytesImage(content), f"image{slot}", **more)
