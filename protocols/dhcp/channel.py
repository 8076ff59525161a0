"""Port 67 where a DHCP server of this very host holds it: heard by a packet socket, answered by a raw one (D-22).

The packet socket sees what comes in by the interface before any UDP socket does, takes nothing away from the server
that the port belongs to, and passes a host's firewall by. Replies are whole IPv4 packets, which the kernel routes, so
that a relay or a machine with an address is found as ever. A CapturedPort has the operations of asyncio_dgram's
DatagramServer, and `run` beside.
"""

import asyncio
import socket
from collections import Counter

import structlog

from protocols.dhcp.ipv4 import MORE_OR_LATER, UDP_PROTOCOL, Datagram, build_datagram, parse_datagram
from protocols.dhcp.reply import EVERYONE
from protocols.errors import WireError
from protocols.ethernet import HEADER_BYTES, SKF_AD_PKTTYPE, Program, enlarge_buffers
from protocols.link import Link, PacketPort

ETH_P_IP = 0x0800
MOST_WAITING = 4096  # datagrams: a thousand machines that asked four times; past it they are lost, as in a full socket

# linux/filter.h: BPF_LD|BPF_B|BPF_ABS, |BPF_H|BPF_ABS, |BPF_H|BPF_IND, BPF_LDX|BPF_B|BPF_MSH, BPF_JMP|BPF_JEQ|BPF_K
LOAD_BYTE, LOAD_HALF, LOAD_HALF_AT_X, X_FROM_NIBBLE = 0x30, 0x28, 0x48, 0xB1
JUMP_IF_EQUAL, JUMP_IF_GREATER, JUMP_IF_ANY_BIT, RETURN = 0x15, 0x25, 0x45, 0x06
WHOLE_FRAME = 0xFFFFFFFF

log = structlog.get_logger(protocol="dhcp")


def udp_to(port: int) -> Program:
    """Whole UDP packets to a port, in frames to this host or to everyone; all others never leave the kernel.

    Frames for other hosts stay outside, and so does what has a VLAN tag that no interface of ours has, see
    protocols.ethernet. A packet in pieces cannot be told by its port; none of firmware's is.
    """
    return [
        (LOAD_BYTE, 0, 0, SKF_AD_PKTTYPE),
        (JUMP_IF_GREATER, 8, 0, socket.PACKET_BROADCAST),
        (LOAD_BYTE, 0, 0, HEADER_BYTES + 9),
        (JUMP_IF_EQUAL, 0, 6, UDP_PROTOCOL),
        (LOAD_HALF, 0, 0, HEADER_BYTES + 6),
        (JUMP_IF_ANY_BIT, 4, 0, MORE_OR_LATER),
        (X_FROM_NIBBLE, 0, 0, HEADER_BYTES),  # four times the low half of a byte: the IPv4 header's length
        (LOAD_HALF_AT_X, 0, 0, HEADER_BYTES + 2),
        (JUMP_IF_EQUAL, 0, 1, port),
        (RETURN, 0, 0, WHOLE_FRAME),
        (RETURN, 0, 0, 0),
    ]


class CapturedPort:
    """One UDP port of one address, shared with whatever program has bound it."""

    def __init__(self, address: str, port: int, counts: Counter[str], *, most_waiting: int = MOST_WAITING) -> None:
        """`address` is ours; what is malformed or lost is counted in `counts`."""
        self.sockname = (address, port)
        self.counts = counts
        self._waiting: asyncio.Queue[Datagram] = asyncio.Queue(most_waiting)
        self._ears = PacketPort(
            ETH_P_IP, on_frame=self._on_frame, on_link=self._on_link, counts=counts, program=udp_to(port)
        )
        self._mouth: socket.socket | None = None

    async def bind(self, interface: str) -> None:
        """Open both sockets. Raises: OSError (ENODEV: no such interface, EPERM: CAP_NET_RAW is missing)."""
        await self._ears.bind(interface)
        try:
            self._mouth = _raw_socket(interface)
        except OSError:
            self.close()
            raise

    async def run(self) -> None:
        """Listen until cancelled, through every down, up and re-creation of the interface."""
        await self._ears.run()

    def close(self) -> None:
        """Close both sockets."""
        self._ears.close()
        if self._mouth is not None:
            self._mouth.close()
            self._mouth = None

    async def recv(self) -> tuple[bytes, tuple[str, int]]:
        """The next datagram to our address or to everyone, and where it came from."""
        datagram = await self._waiting.get()
        return datagram.payload, datagram.source

    async def send(self, payload: bytes, destination: tuple[str, int]) -> None:
        """Send from our address and port; what the system cannot send is counted, and is as if it were lost."""
        if self._mouth is None:
            self.counts["unsent_unbound"] += 1
            return
        packet = build_datagram(Datagram(self.sockname, destination, payload))
        try:
            self._mouth.sendto(packet, (destination[0], 0))
        except OSError:  # no route, a link that is down, a full queue: the machine asks again
            self.counts["socket_errors"] += 1

    def _on_link(self, link: Link) -> None:
        """Nothing to say to the LAN when the link comes up."""

    def _on_frame(self, frame: memoryview) -> None:
        try:
            datagram = parse_datagram(bytes(frame[HEADER_BYTES:]))
        except WireError as error:
            self.counts["malformed"] += 1
            log.debug("packet_malformed", via=str(self.sockname[1]), reason=str(error))
            return
        if datagram is None or datagram.destination[0] not in (self.sockname[0], EVERYONE):
            self.counts["for_others"] += 1
            return
        try:
            self._waiting.put_nowait(datagram)
        except asyncio.QueueFull:
            self.counts["queue_full"] += 1


def _raw_socket(interface: str) -> socket.socket:
    """A socket for whole IPv4 packets that go out by one interface; it hears nothing."""
    sock = socket.socket(
        socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW
    )
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        enlarge_buffers(sock)
    except OSError:
        sock.close()
        raise
    return sock
