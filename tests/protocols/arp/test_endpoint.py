"""The listener on a cable of its own."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from protocols.arp.endpoint import ArpListener, HostSeen
from protocols.arp.wire import ArpPacket, Operation, build_arp, parse_arp
from protocols.ethernet import BROADCAST
from tests.protocols.network import cable, fresh_network, ip

pytestmark = pytest.mark.root
CLIENT = bytes.fromhex("525400770001")
REQUEST = ArpPacket(Operation.REQUEST, CLIENT, bytes([10, 77, 0, 50]), bytes(6), bytes([10, 77, 0, 2]))
SEEN = HostSeen("52:54:00:77:00:01", "10.77.0.50")


class Lan:
    """A listener at one end, and what it reports; anything can be sent from the other."""

    def __init__(self) -> None:
        self.reports: asyncio.Queue[HostSeen] = asyncio.Queue()
        self.listener = ArpListener(report=self.reports.put_nowait)

    def send(self, frame: bytes) -> None:
        """From the far end."""
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
            sender.bind(("far", 0))
            sender.send(frame)

    async def seen(self) -> HostSeen:
        """The next report, with a deadline."""
        async with asyncio.timeout(5):
            return await self.reports.get()

    async def heard(self, frame: bytes) -> HostSeen:
        """The next report, sending again and again, since nothing says when a listener is back after its link was."""
        async with asyncio.timeout(5):
            while True:
                self.send(frame)
                try:
                    return await asyncio.wait_for(self.reports.get(), 0.1)
                except TimeoutError:
                    continue


@asynccontextmanager
async def listening() -> AsyncIterator[Lan]:
    """A listener that runs."""
    lan = Lan()
    await lan.listener.bind("near")
    task = asyncio.create_task(lan.listener.run())
    try:
        yield lan
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    """A namespace with one cable."""
    with fresh_network():
        cable("near", "far")
        yield


async def test_requests_and_replies_are_signs_of_life() -> None:
    """Each gives the sender's MAC and address."""
    async with listening() as lan:
        lan.send(build_arp(REQUEST, BROADCAST))
        assert await lan.seen() == SEEN
        lan.send(build_arp(replace(REQUEST, operation=Operation.REPLY), BROADCAST))
        assert await lan.seen() == SEEN


async def test_a_probe_has_no_address() -> None:
    """0.0.0.0 is none."""
    async with listening() as lan:
        lan.send(build_arp(replace(REQUEST, sender_address=bytes(4)), BROADCAST))
        assert await lan.seen() == HostSeen(SEEN.mac, None)


async def test_malformed_packets_are_counted() -> None:
    """And the next is heard."""
    async with listening() as lan:
        lan.send(build_arp(REQUEST, BROADCAST)[:30])
        lan.send(build_arp(replace(REQUEST, sender_mac=BROADCAST), BROADCAST))
        lan.send(build_arp(REQUEST, BROADCAST))
        assert await lan.seen() == SEEN
        assert lan.listener.counts["malformed"] == 2


async def test_our_own_frames_are_no_news() -> None:
    """Neither those we send nor those a loop brings back."""
    async with listening() as lan:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as ours:
            ours.bind(("near", 0))
            own = ours.getsockname()[4]
            ours.send(build_arp(replace(REQUEST, sender_mac=own), BROADCAST))
        lan.send(build_arp(replace(REQUEST, sender_mac=own), BROADCAST))
        lan.send(build_arp(REQUEST, BROADCAST))
        assert await lan.seen() == SEEN
        assert lan.listener.counts["own"] == 1


async def test_the_kernels_own_arp_is_heard() -> None:
    """A real stack at the other end: Linux announces nothing, but asks when it has to send."""
    ip("addr", "add", "10.77.0.50/24", "dev", "far")
    async with listening() as lan:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talker:
            talker.sendto(b"hello", ("10.77.0.2", 9))
        seen = await lan.seen()
        assert seen.address == "10.77.0.50"


async def test_it_survives_a_link_that_goes_down_and_up() -> None:
    """And an interface that is deleted and made again."""
    async with listening() as lan:
        ip("link", "set", "near", "down")
        ip("link", "set", "near", "up")
        assert await lan.heard(build_arp(REQUEST, BROADCAST)) == SEEN
        ip("link", "del", "near")
        cable("near", "far")
        assert await lan.heard(build_arp(REQUEST, BROADCAST)) == SEEN


async def test_an_unknown_interface_is_an_oserror() -> None:
    """Named in the message; nothing stays open."""
    with pytest.raises(OSError, match="absent"):
        await ArpListener(report=lambda seen: None).bind("absent")


async def test_a_listener_that_never_ran_can_be_closed() -> None:
    """Without a warning for a socket left open."""
    listener = ArpListener(report=lambda seen: None)
    await listener.bind("near")
    listener.close()


async def test_who_has_an_address() -> None:
    """Asked by a probe, which names no sender, so that nobody's table is changed by it."""
    async with listening() as lan:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0x0806) as far:
            far.bind(("far", 0x0806))
            asking = asyncio.ensure_future(lan.listener.find("10.77.0.50"))
            async with asyncio.timeout(5):
                question = parse_arp(await asyncio.get_running_loop().sock_recv(far, 100))
            assert (question.operation, question.sender_address) == (Operation.REQUEST, bytes(4))
            assert (question.target_mac, question.target_address) == (bytes(6), bytes([10, 77, 0, 50]))
            lan.send(build_arp(replace(REQUEST, operation=Operation.REPLY), question.sender_mac))
            assert await asking == CLIENT


async def test_nobody_has_it() -> None:
    """Not who has another, nor whoever probes for this one at the same time."""
    async with listening() as lan:
        asking = asyncio.ensure_future(lan.listener.find("10.77.0.51"))
        lan.send(build_arp(REQUEST, BROADCAST))
        lan.send(build_arp(replace(REQUEST, sender_address=bytes(4), target_address=bytes([10, 77, 0, 51])), BROADCAST))
        assert await asking is None
