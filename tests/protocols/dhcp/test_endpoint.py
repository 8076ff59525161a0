"""The server on real sockets: loopback for what needs no rights, namespaces for broadcasts and source addresses."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from struct import Struct

import pytest
from structlog.testing import capture_logs

from protocols.datagram import udp_socket
from protocols.dhcp.endpoint import (
    BootServerAsked,
    Capture,
    DhcpLimits,
    HttpBootAsked,
    Offered,
    ProxyDhcpServer,
)
from protocols.dhcp.reply import EVERYONE, SERVER_PORT
from protocols.dhcp.wire import MessageType, build_packet, parse_packet
from tests.protocols.dhcp.lan import BOX, Lan, inside
from tests.protocols.dhcp.machines import Reported, broadcast, datagram, machine_socket, plan, receive, running
from tests.protocols.dhcp.vectors import read_capture
from tests.protocols.network import ip

LOOPBACK = "127.0.0.1"
UDP = Struct("!HHHH")  # source port, destination port, length, checksum or 0 for none
STORM = 1000
BURST = 100  # packets; what a receive buffer holds that the system does not let grow


@pytest.fixture
def reported() -> Reported:
    """What the server reports."""
    return Reported()


@pytest.fixture
async def on_loopback(reported: Reported) -> AsyncIterator[ProxyDhcpServer]:
    """A server on free ports of the loopback interface."""
    server = ProxyDhcpServer(plan=plan, report=reported, limits=DhcpLimits(http_machines=2))
    await server.bind("lo", LOOPBACK, port=0)
    await server.bind_boot_server("lo", LOOPBACK, port=0)
    async with running(server):
        yield server


@pytest.fixture
def client() -> Iterator[socket.socket]:
    """A client's socket on loopback."""
    with udp_socket(LOOPBACK, 0) as sock:
        yield sock


async def send(client: socket.socket, data: bytes, port: int) -> None:
    """Send to a port of the server on loopback."""
    await asyncio.get_running_loop().sock_sendto(client, data, (LOOPBACK, port))


async def test_boot_server_answers_from_its_own_port(
    on_loopback: ProxyDhcpServer, client: socket.socket, reported: Reported
) -> None:
    """To the port that asked, whichever it is."""
    port = on_loopback.ports[1]
    await send(client, datagram(MessageType.REQUEST), port)
    reply, source = await receive(client)
    assert (reply.file, source) == (b"loader.bin", (LOOPBACK, port))
    await reported.until(BootServerAsked)
    assert on_loopback.counts == {"boot_server_replies": 1}


async def test_malformed_packet_is_counted_and_passed_by(on_loopback: ProxyDhcpServer, client: socket.socket) -> None:
    """The next one is served."""
    await send(client, b"junk", on_loopback.ports[1])
    await send(client, datagram(MessageType.REQUEST), on_loopback.ports[1])
    await receive(client)
    assert on_loopback.counts["malformed"] == 1


async def test_http_boot_is_logged_once_a_machine(
    on_loopback: ProxyDhcpServer, client: socket.socket, reported: Reported
) -> None:
    """And again when so many others asked that it was forgotten: two are remembered here."""
    with capture_logs() as logs:
        for number in (1, 1, 2, 1, 3, 1):
            packet = datagram(MessageType.DISCOVER, number, vendor_class=b"HTTPClient:Arch:00016")
            await send(client, packet, on_loopback.ports[0])
        await reported.until(HttpBootAsked, times=6)
    ignored = [log["mac"] for log in logs if log["event"] == "http_boot_ignored"]
    assert [mac[-1] for mac in ignored] == ["1", "2", "3", "1"]
    assert on_loopback.counts == {"http_clients": 6}


async def test_port_in_use_leaves_nothing_open() -> None:
    """Another program's port is named by EADDRINUSE, and the ones opened before it are free again."""
    server = ProxyDhcpServer(plan=plan, report=lambda event: None)
    with udp_socket("0.0.0.0", 0) as other, udp_socket(LOOPBACK, 0) as scout:
        free = scout.getsockname()[1]
        scout.close()
        await server.bind("lo", LOOPBACK, port=free)
        with pytest.raises(OSError, match="in use") as caught:
            await server.bind_boot_server("lo", LOOPBACK, port=other.getsockname()[1])
    assert caught.value.errno == errno.EADDRINUSE
    await is_free(free)


async def test_unknown_interface() -> None:
    """The system's own error comes through."""
    server = ProxyDhcpServer(plan=plan, report=lambda event: None)
    with pytest.raises(OSError, match="No such device"):
        await server.bind("no-such-if0", LOOPBACK, port=0)


async def test_ports_are_free_after_the_run(client: socket.socket) -> None:
    """Cancelled, the server closes its sockets."""
    server = ProxyDhcpServer(plan=plan, report=lambda event: None)
    await server.bind("lo", LOOPBACK, port=0)
    await server.bind_boot_server("lo", LOOPBACK, port=0)
    ports = server.ports
    async with running(server):
        await send(client, datagram(MessageType.REQUEST), ports[1])
        await receive(client)
    for port in ports:
        await is_free(port)


async def is_free(port: int) -> None:
    """The port can be bound once the loop has closed what was given up."""
    async with asyncio.timeout(30):
        while True:
            try:
                udp_socket(LOOPBACK, port).close()
            except OSError:
                await asyncio.sleep(0)
            else:
                return


@asynccontextmanager
async def on_lan(lan: Lan, reported: Reported, limits: DhcpLimits | None = None) -> AsyncIterator[ProxyDhcpServer]:
    """A server on the box's eth0 and the real ports."""
    server = ProxyDhcpServer(plan=plan, report=reported, limits=limits)
    with inside(lan.box):
        await server.bind("eth0", BOX)
        await server.bind_boot_server("eth0", BOX)
    async with running(server):
        yield server


@pytest.mark.root
async def test_machine_without_an_address(lan: Lan, reported: Reported) -> None:
    """Its broadcast is heard, and the offer comes as a broadcast from our address and port 67."""
    async with on_lan(lan, reported):
        with machine_socket(lan.host("machine")) as machine:
            await broadcast(machine, datagram(MessageType.DISCOVER))
            offer, source = await receive(machine)
    assert (offer.xid, offer.file, source) == (1, b"loader.bin", (BOX, SERVER_PORT))
    assert isinstance(reported.events[-1], Offered)


@pytest.mark.root
async def test_ipxe_is_offered_again(lan: Lan, reported: Reported) -> None:
    """It gives up for good after two questions, so a lost offer must not matter; the copies are the offer itself."""
    async with on_lan(lan, reported) as server:
        with machine_socket(lan.host("machine")) as machine:
            await broadcast(machine, read_capture("ipxe-snponly")[0])
            offers = [await receive(machine) for _ in range(3)]
        assert offers == [offers[0]] * 3
        assert server.counts["offers"] == 1


@pytest.mark.root
async def test_copies_are_bounded(lan: Lan, reported: Reported) -> None:
    """Past the bound a machine gets its offer once; here no copies are kept for anyone."""
    async with on_lan(lan, reported, DhcpLimits(repeating=0)) as server:
        with machine_socket(lan.host("machine")) as machine:
            await broadcast(machine, read_capture("ipxe-snponly")[0])
            await receive(machine)
            await broadcast(machine, datagram(MessageType.DISCOVER, 7))
            second, _ = await receive(machine)
        assert second.xid == 7
        assert server.counts["repeated_offers"] == 0


@pytest.mark.root
async def test_broadcast_to_the_boot_server(lan: Lan, reported: Reported) -> None:
    """Answered to the machine's own address, from port 4011."""
    async with on_lan(lan, reported):
        with machine_socket(lan.host("machine", "10.77.0.9"), "10.77.0.9") as machine:
            await broadcast(machine, datagram(MessageType.REQUEST, ciaddr="10.77.0.9"), 4011)
            ack, source = await receive(machine)
    assert (ack.ciaddr, source) == ("10.77.0.9", (BOX, 4011))


@pytest.mark.root
async def test_relay(lan: Lan, reported: Reported) -> None:
    """What a relay passes on goes back to its port 67."""
    namespace = lan.host("relay", "10.77.0.8")
    with inside(namespace):
        relay = udp_socket("10.77.0.8", SERVER_PORT)
    packet = parse_packet(datagram(MessageType.DISCOVER))
    async with on_lan(lan, reported):
        with relay:
            relayed = build_packet(replace(packet, giaddr="10.77.0.8", hops=1))
            await asyncio.get_running_loop().sock_sendto(relay, relayed, (BOX, SERVER_PORT))
            offer, source = await receive(relay)
    assert (offer.giaddr, offer.hops, source) == ("10.77.0.8", 1, (BOX, SERVER_PORT))


@pytest.mark.root
@pytest.mark.parametrize("to", [BOX, EVERYONE])
async def test_reply_that_cannot_be_sent(lan: Lan, reported: Reported, to: str) -> None:
    """A machine that asks from port 0, where no reply can go, does not cost another its own."""
    namespace = lan.host("machine", "10.77.0.9")
    request = datagram(MessageType.REQUEST)
    with inside(namespace):
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_UDP)
    async with on_lan(lan, reported) as server:
        with raw, machine_socket(namespace, "10.77.0.9") as machine:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
            raw.sendto(UDP.pack(0, 4011, UDP.size + len(request), 0) + request, (to, 0))
            await reported.until(BootServerAsked)
            await asyncio.get_running_loop().sock_sendto(machine, request, (to, 4011))
            await receive(machine)
    assert server.counts == {"boot_server_replies": 2, "socket_errors": 1}


@pytest.mark.root
async def test_other_interfaces_are_left_alone(lan: Lan, reported: Reported) -> None:
    """A machine behind the box's other interface is not heard, nor does it hear what others are offered."""
    other = f"{lan.wire}-other"
    ip("netns", "add", other)
    ip("-n", lan.box, "link", "add", "eth1", "type", "veth", "peer", "name", "eth0", "netns", other)
    ip("-n", lan.box, "link", "set", "eth1", "up")
    ip("-n", other, "link", "set", "eth0", "up")
    async with on_lan(lan, reported) as server:
        with machine_socket(lan.host("machine")) as machine, machine_socket(other) as stranger:
            await broadcast(stranger, datagram(MessageType.DISCOVER, 2))
            await broadcast(machine, datagram(MessageType.DISCOVER, 1))
            await receive(machine)
            with pytest.raises(BlockingIOError):
                stranger.recv(2048)
    assert server.counts == {"offers": 1}


@pytest.mark.root
async def test_storm(lan: Lan, reported: Reported) -> None:
    """A thousand machines switched on at once are each made an offer."""
    offered: set[int] = set()
    async with on_lan(lan, reported) as server:
        with machine_socket(lan.host("machine")) as machine:
            for first in range(0, STORM, BURST):
                for number in range(first, first + BURST):
                    await broadcast(machine, datagram(MessageType.DISCOVER, number))
                for _ in range(BURST):
                    offered.add((await receive(machine))[0].xid)
    assert offered == set(range(STORM))
    assert server.counts == {"offers": STORM}


@pytest.mark.root
async def test_another_dhcp_server_on_the_box(lan: Lan) -> None:
    """One that listens everywhere holds port 67: found at once."""
    server = ProxyDhcpServer(plan=plan, report=lambda event: None)
    with inside(lan.box):
        other = udp_socket("0.0.0.0", SERVER_PORT)
        with other, pytest.raises(OSError, match="in use"):
            await server.bind("eth0", BOX)


@pytest.mark.root
@pytest.mark.parametrize("capture", ["auto", "always"])
async def test_captured_port(lan: Lan, reported: Reported, capture: Capture) -> None:
    """Beside a server that holds port 67, or leaving it to one: both hear, and we answer from it all the same."""
    server = ProxyDhcpServer(plan=plan, report=reported)
    with inside(lan.box):
        other = udp_socket("0.0.0.0", SERVER_PORT)
        await server.bind("eth0", BOX, capture=capture)
    with other:
        async with running(server):
            with machine_socket(lan.host("machine")) as machine:
                await broadcast(machine, datagram(MessageType.DISCOVER))
                offer, source = await receive(machine)
            heard, _ = await receive(other)
    assert (offer.xid, offer.file, source) == (1, b"loader.bin", (BOX, SERVER_PORT))
    assert heard.xid == 1
    assert server.is_captured
    assert server.counts == {"offers": 1}


async def test_capture_of_no_interface() -> None:
    """The system's own error comes through here, too."""
    server = ProxyDhcpServer(plan=plan, report=lambda event: None)
    with pytest.raises(OSError, match="no interface named no-such-if0"):
        await server.bind("no-such-if0", LOOPBACK, capture="always")
