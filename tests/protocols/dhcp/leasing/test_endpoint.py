"""Addresses given on real sockets: what an answer waits for, and who is not kept waiting by it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from protocols.dhcp.endpoint import DhcpLimits, Leasing, ProxyDhcpServer
from protocols.dhcp.leasing.lease import Lease, LeaseState
from protocols.dhcp.session import AddressGiven, HostSeen
from protocols.dhcp.wire import MessageType, Packet, build_packet
from tests.protocols.dhcp.lan import BOX, Lan, inside
from tests.protocols.dhcp.leasing.parts import BOX_ID, NOW, client, lessor, packed, packet
from tests.protocols.dhcp.machines import Reported, broadcast, machine_socket, plan, receive, running

pytestmark = pytest.mark.root

FIRST, SECOND, THIRD = "10.77.0.50", "10.77.0.51", "10.77.0.52"
STRANGER = bytes.fromhex("525400990001")


class World:
    """The disk, and the segment as ARP sees it."""

    def __init__(self) -> None:
        self.kept: list[Lease] = []
        self.disk = asyncio.Event()
        self.disk.set()
        self.failure: OSError | None = None
        self.owners: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.reported = Reported()
        self.leasing = Leasing(lessor(), lambda: NOW, self.keep, self.find)

    async def keep(self, lease: Lease) -> None:
        """Takes as long as the disk does."""
        await self.disk.wait()
        if self.failure is not None:
            raise self.failure
        self.kept.append(lease)

    async def find(self, address: str) -> bytes | None:
        """Who has an address."""
        self.asked.append(address)
        return self.owners.get(address)


@asynccontextmanager
async def serving(lan: Lan, world: World, limits: DhcpLimits | None = None) -> AsyncIterator[ProxyDhcpServer]:
    """A server on the box's eth0."""
    server = ProxyDhcpServer(plan=plan, report=world.reported, limits=limits, leasing=world.leasing)
    with inside(lan.box):
        await server.bind("eth0", BOX)
        await server.bind_boot_server("eth0", BOX)
    async with running(server):
        yield server


def discover(number: int) -> bytes:
    """Of a plain machine."""
    return build_packet(packet(MessageType.DISCOVER, number))


def request(number: int, address: str) -> bytes:
    """For what it was offered."""
    return build_packet(packet(MessageType.REQUEST, number, SERVER_ID=BOX_ID, REQUESTED_ADDRESS=packed(address)))


def told(reply: Packet) -> tuple[int, int, str]:
    """Whom a reply is for, what it is, and the address in it."""
    return reply.xid, reply.options[53][0], reply.yiaddr


async def test_an_address_is_checked_offered_kept_and_given(lan: Lan) -> None:
    """In this order."""
    world = World()
    async with serving(lan, world):
        with machine_socket(lan.host("machine")) as machine:
            await broadcast(machine, discover(1))
            assert told((await receive(machine))[0]) == (1, MessageType.OFFER, FIRST)
            assert (world.asked, world.kept) == ([FIRST], [])
            await broadcast(machine, request(1, FIRST))
            assert told((await receive(machine))[0]) == (1, MessageType.ACK, FIRST)
            assert [lease.address for lease in world.kept] == [FIRST]
            await world.reported.until(AddressGiven)


async def test_a_slow_disk_keeps_only_its_ack_waiting(lan: Lan) -> None:
    """Others are offered addresses meanwhile; the ACK comes when the lease is kept."""
    world = World()
    async with serving(lan, world):
        with machine_socket(lan.host("machine")) as machine:
            world.disk.clear()
            await broadcast(machine, request(1, FIRST))
            await broadcast(machine, discover(2))
            assert told((await receive(machine))[0]) == (2, MessageType.OFFER, SECOND)
            world.disk.set()
            assert told((await receive(machine))[0]) == (1, MessageType.ACK, FIRST)


async def test_no_ack_without_a_disk(lan: Lan) -> None:
    """A lease that a restart would forget is not given; said, and the service goes on."""
    world = World()
    world.failure = OSError(28, "No space left on device")
    with capture_logs() as logs:
        async with serving(lan, world) as server:
            with machine_socket(lan.host("machine")) as machine:
                await broadcast(machine, request(1, FIRST))
                await broadcast(machine, discover(2))
                assert told((await receive(machine))[0]) == (2, MessageType.OFFER, SECOND)
            assert server.counts["unkept_leases"] == 1
    assert [log["address"] for log in logs if log["event"] == "lease_not_kept"] == [FIRST]


async def test_an_address_that_somebody_uses(lan: Lan) -> None:
    """Is put aside, which is kept, and the next is offered; the machine's own use of it is none."""
    world = World()
    world.owners = {FIRST: STRANGER, SECOND: bytes.fromhex(client(1).key.replace(":", ""))}
    with capture_logs() as logs:
        async with serving(lan, world):
            with machine_socket(lan.host("machine")) as machine:
                await broadcast(machine, discover(1))
                assert told((await receive(machine))[0]) == (1, MessageType.OFFER, SECOND)
    assert [(lease.address, lease.state) for lease in world.kept] == [(FIRST, LeaseState.DECLINED)]
    assert [log["mac"] for log in logs if log["event"] == "address_in_use"] == [STRANGER.hex(":")]


async def test_checks_are_bounded(lan: Lan) -> None:
    """Past the bound an address is offered unchecked: its client looks for itself, and declines (RFC 2131 §3.1)."""
    world = World()
    async with serving(lan, world, DhcpLimits(checks=0)) as server:
        with machine_socket(lan.host("machine")) as machine:
            await broadcast(machine, discover(1))
            assert told((await receive(machine))[0]) == (1, MessageType.OFFER, FIRST)
    assert (world.asked, server.counts["unchecked_offers"]) == ([], 1)


async def test_what_waits_is_bounded(lan: Lan) -> None:
    """Past the bound a packet is dropped, to come again."""
    world = World()
    async with serving(lan, world, DhcpLimits(pending=1)) as server:
        with machine_socket(lan.host("machine")) as machine:
            world.disk.clear()
            await broadcast(machine, request(1, FIRST))
            await broadcast(machine, request(2, SECOND))
            await broadcast(machine, build_packet(packet(MessageType.INFORM, 3, ciaddr="10.77.0.200")))
            await world.reported.until(HostSeen)
            world.disk.set()
            assert told((await receive(machine))[0]) == (1, MessageType.ACK, FIRST)
    assert server.counts["dropped"] == 1
