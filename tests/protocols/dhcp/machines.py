"""Machines that ask, a server that is asked, and what it reports: what tests on real sockets share."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from protocols.datagram import udp_socket
from protocols.dhcp.endpoint import BootRequest, DhcpEvent, Offer, ProxyDhcpServer, Refusal
from protocols.dhcp.reply import CLIENT_PORT, EVERYONE, SERVER_PORT
from protocols.dhcp.wire import MessageType, Op, Option, Packet, build_packet, parse_packet
from tests.protocols.dhcp.lan import inside


def plan(request: BootRequest) -> Offer | Refusal:
    """Everyone is offered the same."""
    return Offer("loader.bin")


def datagram(
    message: MessageType, number: int = 1, vendor_class: bytes = b"PXEClient", ciaddr: str = "0.0.0.0"
) -> bytes:
    """A BIOS machine's packet; its MAC and transaction are told from others by `number`."""
    options: dict[int, bytes] = {
        Option.MESSAGE_TYPE: bytes((message,)),
        Option.VENDOR_CLASS: vendor_class,
        Option.ARCHITECTURE: b"\0\0",
    }
    chaddr = bytes.fromhex("525400") + number.to_bytes(3, "big") + bytes(10)
    return build_packet(Packet(op=Op.REQUEST, xid=number, chaddr=chaddr, ciaddr=ciaddr, options=options))


@asynccontextmanager
async def running(server: ProxyDhcpServer) -> AsyncIterator[None]:
    """A bound server, serving while the block lasts."""
    task = asyncio.ensure_future(server.run())
    try:
        yield
    finally:
        assert not task.done(), task
        task.cancel()
        await asyncio.wait([task])
        server.close()  # for a task cancelled before its first step


class Reported:
    """Events in their order, and a way to wait for the next."""

    def __init__(self) -> None:
        self.events: list[DhcpEvent] = []
        self._queue: asyncio.Queue[DhcpEvent] = asyncio.Queue()

    def __call__(self, event: DhcpEvent) -> None:
        self.events.append(event)
        self._queue.put_nowait(event)

    async def until(self, kind: type[DhcpEvent], times: int = 1) -> None:
        """Wait until `times` more events of a kind have come."""
        async with asyncio.timeout(30):
            while times:
                times -= isinstance(await self._queue.get(), kind)


async def receive(client: socket.socket) -> tuple[Packet, tuple[str, int]]:
    """The next packet, and where it came from."""
    async with asyncio.timeout(30):
        data, source = await asyncio.get_running_loop().sock_recvfrom(client, 2048)
    return parse_packet(data), source


def machine_socket(namespace: str, address: str = "0.0.0.0") -> socket.socket:
    """A machine's DHCP client; at 0.0.0.0 it hears broadcasts and its sender's address is 0.0.0.0."""
    with inside(namespace):
        return udp_socket(address, CLIENT_PORT, interface="eth0", broadcast=True)


async def broadcast(machine: socket.socket, data: bytes, port: int = SERVER_PORT) -> None:
    """Send to everyone on the machine's network."""
    await asyncio.get_running_loop().sock_sendto(machine, data, (EVERYONE, port))
