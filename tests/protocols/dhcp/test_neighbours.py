"""Other people's DHCP programs around ours: dnsmasq on the same host, and ISC's relay, which inserts option 82."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from protocols.dhcp.endpoint import Capture, Leasing, ProxyDhcpServer
from protocols.dhcp.ipv4 import parse_datagram
from protocols.dhcp.leasing.lease import Lease
from protocols.dhcp.wire import Flag, MessageType, Option, Packet, build_packet, parse_packet
from protocols.ethernet import HEADER_BYTES, packet_socket
from tests.protocols.dhcp.lan import BOX, ROUTER, Lan, inside
from tests.protocols.dhcp.leasing.parts import NOW, lessor
from tests.protocols.dhcp.machines import Reported, broadcast, datagram, machine_socket, plan, receive, running
from tests.protocols.network import ip

pytestmark = pytest.mark.root
ETH_P_IP = 0x0800
PORT_67 = ":0043 "  # as /proc/net/udp has it
RELAY, GATEWAY = "10.77.0.8", "10.78.0.1"  # a relay's faces to the servers and to the clients
FAR_FIRST = "10.78.0.50"  # of our own addresses for the clients behind it


@asynccontextmanager
async def program(*command: str) -> AsyncIterator[None]:
    """A program that listens on port 67, for as long as the block lasts."""
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(30):
            while PORT_67 not in await asyncio.to_thread(Path(f"/proc/{process.pid}/net/udp").read_text):
                assert process.returncode is None, command
                await asyncio.sleep(0.01)
        yield
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def serving(lan: Lan, reported: Reported, capture: Capture) -> AsyncIterator[ProxyDhcpServer]:
    """Our server in the box."""
    server = ProxyDhcpServer(plan=plan, report=reported)
    with inside(lan.box):
        await server.bind("eth0", BOX, capture=capture)
        await server.bind_boot_server("eth0", BOX)
    async with running(server):
        yield server


async def receive_until(machine: socket.socket, *wanted: MessageType) -> list[Packet]:
    """One packet of each kind that is wanted, in the order in which they came, and none of another."""
    packets: list[Packet] = []
    while sorted(kinds := [packet.options[Option.MESSAGE_TYPE][0] for packet in packets]) != sorted(wanted):
        assert set(kinds) <= set(wanted)
        packets.append((await receive(machine))[0])
    return packets


async def test_dnsmasq_on_the_same_host(lan: Lan, tool: Callable[[str], str], tmp_path: Path) -> None:
    """A machine has its address from dnsmasq and its boot file from us; its REQUEST, which names both, is dnsmasq's."""
    discover = replace(parse_packet(datagram(MessageType.DISCOVER)), flags=Flag.BROADCAST)
    dnsmasq = lan.dhcp_server(tool("dnsmasq"), tmp_path, lan.box)
    with machine_socket(lan.host("machine")) as machine:
        async with program(*dnsmasq), serving(lan, Reported(), "auto") as server:
            assert server.is_captured
            await broadcast(machine, build_packet(discover))
            offers = await receive_until(machine, MessageType.OFFER, MessageType.OFFER)
            lease, boot = sorted(offers, key=lambda offer: offer.yiaddr == "0.0.0.0")
            await broadcast(machine, build_packet(request_of(discover, lease)))
            [ack] = await receive_until(machine, MessageType.ACK)
            await broadcast(machine, datagram(MessageType.DISCOVER, 9))  # once it is answered, so was the REQUEST
            last, _ = await receive(machine)
    assert lease.options[Option.SERVER_ID] == boot.options[Option.SERVER_ID] == socket.inet_aton(BOX)
    assert (lease.file, boot.file) == (b"", b"loader.bin")
    assert ack.yiaddr == lease.yiaddr != "0.0.0.0"
    assert last.options[Option.MESSAGE_TYPE] == bytes((MessageType.OFFER,))
    assert server.counts["boot_server_replies"] == 0


class Relayed:
    """A network behind ISC's relay, which inserts option 82 and lets nothing pass that comes back without."""

    def __init__(self, lan: Lan, dhcrelay: str) -> None:
        self.relay, self.far = lan.host("relay", RELAY), f"{lan.wire}-far"
        ip("netns", "add", self.far)
        ip("-n", self.relay, "link", "add", "eth1", "type", "veth", "peer", "name", "eth0", "netns", self.far)
        ip("-n", self.relay, "addr", "add", f"{GATEWAY}/24", "dev", "eth1")
        ip("-n", self.relay, "link", "set", "eth1", "up")
        ip("-n", self.far, "link", "set", "eth0", "up")
        ip("-n", lan.box, "route", "add", "10.78.0.0/24", "via", RELAY)
        words = ("-4", "-d", "--no-pid", "-a", "-D", "-iu", "eth0", "-id", "eth1", BOX, ROUTER)
        self.command = ("ip", "netns", "exec", self.relay, dhcrelay, *words)
        with inside(lan.box):
            self.before_box = packet_socket("eth0", ETH_P_IP)
        with inside(self.relay):
            self.before_relay = packet_socket("eth0", ETH_P_IP)

    async def assert_echoed(self, offer: Packet) -> None:
        """The next question and its answer, as they lay on the wire; `offer` is what the machine has of the latter."""
        with self.before_box, self.before_relay:
            asked, answered = await first_dhcp(self.before_box), await first_dhcp(self.before_relay)
        assert asked.options[Option.RELAY_AGENT]
        assert answered.options[Option.RELAY_AGENT] == asked.options[Option.RELAY_AGENT]
        assert list(answered.options)[-1] == Option.RELAY_AGENT
        assert asked.giaddr == answered.giaddr == GATEWAY
        assert Option.RELAY_AGENT not in offer.options


@pytest.mark.parametrize("capture", ["never", "always"])
async def test_relay_that_inserts_option_82(lan: Lan, tool: Callable[[str], str], capture: Capture) -> None:
    """It comes back as it was sent, behind everything else (RFC 3046 §2.2), and so the relay passes the offer on."""
    relayed = Relayed(lan, tool("dhcrelay"))
    with machine_socket(relayed.far) as machine:
        async with serving(lan, Reported(), capture), program(*relayed.command):
            await broadcast(machine, datagram(MessageType.DISCOVER))
            offer, _ = await receive(machine)
            await relayed.assert_echoed(offer)
    assert (offer.xid, offer.file, offer.yiaddr) == (1, b"loader.bin", "0.0.0.0")


async def test_relay_that_inserts_option_82_and_our_own_addresses(lan: Lan, tool: Callable[[str], str]) -> None:
    """The address is of the relay's network, and comes with the boot file; so does the ACK, by way of the relay."""
    relayed = Relayed(lan, tool("dhcrelay"))
    discover = replace(parse_packet(datagram(MessageType.DISCOVER)), flags=Flag.BROADCAST)
    with machine_socket(relayed.far) as machine:
        async with leasing(lan), program(*relayed.command):
            await broadcast(machine, build_packet(discover))
            offer, _ = await receive(machine)
            await relayed.assert_echoed(offer)
            await broadcast(machine, build_packet(request_of(discover, offer)))
            ack, _ = await receive(machine)
    assert (offer.yiaddr, offer.file) == (FAR_FIRST, b"loader.bin")
    assert (ack.options[Option.MESSAGE_TYPE], ack.yiaddr) == (bytes((MessageType.ACK,)), FAR_FIRST)


@asynccontextmanager
async def leasing(lan: Lan) -> AsyncIterator[None]:
    """Our server in the box, giving addresses to both networks; nobody has them, and what is given is forgotten."""

    async def keep(lease: Lease) -> None:
        """No disk."""

    async def find(address: str) -> bytes | None:
        return None

    own = Leasing(lessor(), lambda: NOW, keep, find)
    server = ProxyDhcpServer(plan=plan, report=lambda event: None, leasing=own)
    with inside(lan.box):
        await server.bind("eth0", BOX)
    async with running(server):
        yield


def request_of(discover: Packet, offer: Packet) -> Packet:
    """The machine takes the address that it was offered."""
    options = {
        **discover.options,
        Option.MESSAGE_TYPE: bytes((MessageType.REQUEST,)),
        Option.REQUESTED_ADDRESS: socket.inet_aton(offer.yiaddr),
        Option.SERVER_ID: offer.options[Option.SERVER_ID],
    }
    return replace(discover, options=options)


async def first_dhcp(wire: socket.socket) -> Packet:
    """The first DHCP packet that came by a cable."""
    async with asyncio.timeout(10):
        while True:
            frame = await asyncio.get_running_loop().sock_recv(wire, 2048)
            datagram = parse_datagram(frame[HEADER_BYTES:])
            if datagram is not None and datagram.destination[1] == 67:
                return parse_packet(datagram.payload)
