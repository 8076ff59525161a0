"""A captured port at the end of a cable: whatever comes out of the cable, and what goes in."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest

from protocols.datagram import udp_socket
from protocols.dhcp import channel
from protocols.dhcp.channel import ETH_P_IP, CapturedPort
from protocols.dhcp.ipv4 import Datagram, build_datagram, parse_datagram
from protocols.dhcp.reply import EVERYONE
from protocols.ethernet import BROADCAST, packet_socket
from tests.protocols.network import cable, fresh_network, ip

pytestmark = pytest.mark.root
US, STRANGER = "10.77.0.2", "10.77.0.9"
PORT = 67
DONT_FRAGMENT = 0x40  # of the byte at 6 of an IPv4 header
HEADER = BROADCAST + bytes.fromhex("525400770099")
IPV4 = b"\x08\0"
WHOLE = build_datagram(Datagram(("0.0.0.0", 68), (EVERYONE, PORT), b"from someone without an address"))


@pytest.fixture
def wire() -> Iterator[socket.socket]:
    """A socket that sends any frame into the cable; the other end has our address."""
    with fresh_network():
        cable("near", "far")
        ip("addr", "add", f"{US}/24", "dev", "near")
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
            sender.bind(("far", 0))
            yield sender


@pytest.fixture
async def captured(wire: socket.socket) -> AsyncIterator[CapturedPort]:
    """The port, listening; what it counts is `counts`."""
    port = CapturedPort(US, PORT, Counter())
    await port.bind("near")
    task = asyncio.create_task(port.run())
    yield port
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    port.close()


async def heard(port: CapturedPort) -> tuple[bytes, tuple[str, int]]:
    """The next datagram."""
    async with asyncio.timeout(5):
        return await port.recv()


def to(address: str, payload: bytes = b"hello") -> bytes:
    """A packet from a host with an address."""
    return build_datagram(Datagram((STRANGER, 67), (address, PORT), payload))


@pytest.mark.parametrize("address", [US, EVERYONE])
async def test_to_us_and_to_everyone(wire: socket.socket, captured: CapturedPort, address: str) -> None:
    """With its sender's address and port."""
    wire.send(HEADER + IPV4 + to(address))
    assert await heard(captured) == (b"hello", (STRANGER, 67))


async def test_hosts_own_packet(captured: CapturedPort) -> None:
    """From a container on this host: its checksum was left to a network card that there is none of."""
    with udp_socket("0.0.0.0", 68, interface="far", broadcast=True) as neighbour:
        neighbour.sendto(b"hello", (EVERYONE, PORT))
    assert (await heard(captured))[0] == b"hello"
    assert captured.counts == {}


@pytest.mark.parametrize(
    "packet", [WHOLE[:40], WHOLE[:10] + b"\0\0" + WHOLE[12:], WHOLE[:-1] + b"!"], ids=["cut", "header", "payload"]
)
async def test_lies_are_counted(wire: socket.socket, captured: CapturedPort, packet: bytes) -> None:
    """Cut off, and with either checksum wrong; the next one is heard."""
    wire.send(HEADER + IPV4 + packet)
    wire.send(HEADER + IPV4 + WHOLE)
    assert (await heard(captured))[0] == b"from someone without an address"
    assert captured.counts == {"malformed": 1}


@pytest.mark.parametrize(
    "frame",
    [
        HEADER + IPV4 + WHOLE[:9] + b"\6" + WHOLE[10:],
        HEADER + IPV4 + WHOLE[:6] + b"\x20\0" + WHOLE[8:],
        HEADER + IPV4 + WHOLE[:6] + b"\0\1" + WHOLE[8:],
        HEADER + IPV4 + WHOLE[:22] + b"\0\x45" + WHOLE[24:],
        HEADER + IPV4 + b"\x4f" + WHOLE[1:],
        HEADER + IPV4 + WHOLE[:22],
        HEADER + IPV4,
        HEADER + b"\x81\0\0\5" + IPV4 + WHOLE,
        HEADER + b"\x88\xa8\0\5\x81\0\0\6" + IPV4 + WHOLE,
        b"\2" + HEADER[1:] + IPV4 + WHOLE,
    ],
    ids=["tcp", "first piece", "later piece", "port 69", "options", "no ports", "empty", "vlan", "vlans", "not us"],
)
async def test_frames_that_stay_in_the_kernel(wire: socket.socket, captured: CapturedPort, frame: bytes) -> None:
    """Other protocols and ports, pieces, headers beyond the packet, other VLANs and hosts: not even counted."""
    wire.send(frame)
    wire.send(HEADER + IPV4 + WHOLE)
    assert (await heard(captured))[0] == b"from someone without an address"
    assert captured.counts == {}


async def test_vlan_zero_is_no_vlan(wire: socket.socket, captured: CapturedPort) -> None:
    """A tag that gives a priority and names no VLAN, which some firmware sets (802.1Q §6.9)."""
    wire.send(HEADER + b"\x81\0\xe0\0" + IPV4 + WHOLE)
    assert (await heard(captured))[1] == ("0.0.0.0", 68)


async def test_other_address(wire: socket.socket, captured: CapturedPort) -> None:
    """As a socket that is bound to ours would not hear it, not even the network's own broadcast address."""
    wire.send(HEADER + IPV4 + to("10.77.0.255"))
    wire.send(HEADER + IPV4 + to(US))
    assert await heard(captured) == (b"hello", (STRANGER, 67))
    assert captured.counts == {"for_others": 1}


async def test_reply(captured: CapturedPort) -> None:
    """A broadcast leaves by the interface, whole, from our address and port, and may be cut into pieces on its way."""
    with packet_socket("far", ETH_P_IP) as machine:
        await captured.send(b"an offer", (EVERYONE, 68))
        async with asyncio.timeout(5):
            frame = await asyncio.get_running_loop().sock_recv(machine, 1500)
    assert frame[:6] == BROADCAST
    assert parse_datagram(frame[14:]) == Datagram((US, PORT), (EVERYONE, 68), b"an offer")
    assert frame[20] & DONT_FRAGMENT == 0


async def test_reply_without_a_way(captured: CapturedPort) -> None:
    """The link is down: counted, and no error of the port."""
    ip("link", "set", "near", "down")
    await captured.send(b"an offer", (EVERYONE, 68))
    assert captured.counts["socket_errors"] == 1


async def test_full_queue(wire: socket.socket) -> None:
    """Datagrams that nobody takes are kept up to a bound; past it they are lost and counted."""
    port = CapturedPort(US, PORT, Counter(), most_waiting=2)
    await port.bind("near")
    task = asyncio.create_task(port.run())
    async with asyncio.timeout(30):
        while not port.counts["queue_full"]:
            wire.send(HEADER + IPV4 + WHOLE)
            await asyncio.sleep(0)
    assert [(await heard(port))[0] for _ in range(2)] == [b"from someone without an address"] * 2
    task.cancel()
    await asyncio.wait([task])
    port.close()


async def test_closed_port(wire: socket.socket) -> None:
    """What is still to be sent is counted."""
    port = CapturedPort(US, PORT, Counter())
    await port.bind("near")
    port.close()
    await port.send(b"an offer", (EVERYONE, 68))
    assert port.counts == {"unsent_unbound": 1}


async def test_closed_with_half_its_sockets(wire: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the second is refused the first is closed, and the error is the system's."""

    def refuse(interface: str) -> socket.socket:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(channel, "_raw_socket", refuse)
    with pytest.raises(PermissionError):
        await CapturedPort(US, PORT, Counter()).bind("near")
