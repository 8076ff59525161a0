"""ProxyDHCP on a real interface: ports 67 and 4011, beside whatever DHCP server the network has, or as that server.

Each port has two sockets. One is bound to our own address: it hears what is sent to us alone, and every reply leaves
through it, so that replies carry the right source address and port (quirks D-21, B-1, B-4). The other is bound to
255.255.255.255 and hears broadcasts. Both are tied to the interface and share their port with nobody: another boot
server on it is found at start (EADDRINUSE), not by boots that fail now and then. Port 67 alone may be another
program's, a DHCP server's on this very host: it is captured then (channel.py).

Where it gives addresses, an offer of one that is new waits until nobody on the segment answered for it, and an ACK
until its lease is on disk. Other packets are answered meanwhile.
"""

import asyncio
import errno
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Literal, Protocol, cast

import structlog
from asyncio_dgram import from_socket

from protocols.datagram import udp_socket
from protocols.dhcp.channel import CapturedPort
from protocols.dhcp.leasing.lease import Lease
from protocols.dhcp.leasing.lessor import Lessor
from protocols.dhcp.offer import Flow, MenuItem, Offer, Plan, Refusal
from protocols.dhcp.reply import EVERYONE
from protocols.dhcp.request import Architecture, BootRequest, IpxeFeature, Via
from protocols.dhcp.session import (
    AddressDenied,
    AddressGiven,
    AddressReturned,
    Answer,
    BootServerAsked,
    DhcpEvent,
    Discovered,
    HostSeen,
    HttpBootAsked,
    Offered,
    Outcome,
    PoolExhausted,
    Refused,
    answer,
)
from protocols.dhcp.wire import Packet, parse_packet
from protocols.errors import WireError

__all__ = [
    "AddressDenied",
    "AddressGiven",
    "AddressReturned",
    "Architecture",
    "BootRequest",
    "BootServerAsked",
    "Capture",
    "DhcpEvent",
    "DhcpLimits",
    "Discovered",
    "Flow",
    "HostSeen",
    "HttpBootAsked",
    "IpxeFeature",
    "Leasing",
    "MenuItem",
    "Offer",
    "Offered",
    "Plan",
    "PoolExhausted",
    "ProxyDhcpServer",
    "Refusal",
    "Refused",
]

PROXY_PORT = 67
BOOT_SERVER_PORT = 4011  # PXE 2.1 §2.2.3
ADDRESSES_TRIED = 4  # for one packet, when each is in use by somebody; its sender asks again, and gets to the next

# Whether port 67 is captured, and so left to another program: where that holds it, in any case (it may be started
# later), or never.
Capture = Literal["auto", "always", "never"]


@dataclass(frozen=True, slots=True)
class DhcpLimits:
    """What the server keeps, at most."""

    repeating: int = 1024  # iPXE machines whose offer is being repeated: a storm's worth; past it they get one copy
    pending: int = 4096  # packets whose answer waits for the disk, or for ARP; past it they are dropped, to come again
    checks: int = 1024  # addresses that ARP is asked about at once; past it they are offered without
    http_machines: int = 4096  # logged once as wanting HTTP boot; past it the oldest is forgotten, and logged again


class Stream(Protocol):
    """What brings datagrams of one port and takes replies: a DatagramServer or a CapturedPort."""

    async def recv(self) -> tuple[bytes, tuple[str, int]]:
        """The next datagram, and where it came from."""

    async def send(self, data: bytes, addr: tuple[str, int], /) -> None:
        """Send one datagram."""

    def close(self) -> None:
        """Close what is behind it."""


@dataclass(frozen=True, slots=True)
class Leasing:
    """What it takes to give addresses.

    `clock` gives unix seconds. `keep` returns once a lease is on disk, and raises OSError where it can't be. `find`
    gives the hardware address of who on our own segment has an IPv4 address, None when nobody says so.
    """

    lessor: Lessor
    clock: Callable[[], float]
    keep: Callable[[Lease], Awaitable[None]]
    find: Callable[[str], Awaitable[bytes | None]]


@dataclass(frozen=True, slots=True)
class _Listener:
    """A socket that is read, and the one of the same port that its replies leave through."""

    via: Via
    stream: Stream
    replies: Stream
    port: int


class ProxyDhcpServer:
    """Answers PXE clients on one interface; see the module's docstring.

    `plan` says what a machine is offered; it is called in the event loop for each request and must not block.
    `report` takes every DhcpEvent and never raises.
    """

    def __init__(
        self,
        *,
        plan: Plan,
        report: Callable[[DhcpEvent], None],
        limits: DhcpLimits | None = None,
        leasing: Leasing | None = None,
    ) -> None:
        self._plan = plan
        self._leasing = leasing
        self._report = report
        self._limits = limits or DhcpLimits()
        self._address = ""
        self._listeners: list[_Listener] = []
        self._captured: CapturedPort | None = None
        self._http_machines: dict[str, None] = {}  # in the order of their first request
        self._tasks: asyncio.TaskGroup | None = None
        self._repeating = 0
        self._pending = 0
        self._checking: set[str] = set()
        self._log = structlog.get_logger().bind(protocol="dhcp")
        self.counts: Counter[str] = Counter()

    async def bind(self, interface: str, address: str, *, port: int = PROXY_PORT, capture: Capture = "never") -> None:
        """Open ProxyDHCP's port on `interface`, whose own IPv4 address is `address`; 0 takes any free port.

        Raises: OSError as socket, setsockopt and bind do (EADDRINUSE, EACCES, ENODEV, EADDRNOTAVAIL); nothing
        stays open then.
        """
        self._address = address
        if capture != "always":
            try:
                return await self._listen("67", interface, port)
            except OSError as failure:
                if capture == "never" or failure.errno != errno.EADDRINUSE:
                    raise
        captured = CapturedPort(address, port, self.counts)
        await captured.bind(interface)
        self._captured = captured
        self._listeners.append(_Listener("67", captured, captured, port))

    async def bind_boot_server(self, interface: str, address: str, *, port: int = BOOT_SERVER_PORT) -> None:
        """Open the boot server's port as well. Raises: OSError as `bind` does; nothing at all stays open then."""
        self._address = address
        await self._listen("4011", interface, port)

    @property
    def is_captured(self) -> bool:
        """Whether port 67 is another program's, and heard by a packet socket."""
        return self._captured is not None

    @property
    def ports(self) -> tuple[int, int]:
        """The ports served: ProxyDHCP's and the boot server's."""
        ports = {listener.via: listener.port for listener in self._listeners}
        return ports["67"], ports["4011"]

    async def run(self) -> None:
        """Serve until cancelled, then close the sockets."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                if self._captured is not None:
                    tasks.create_task(self._captured.run())
                for listener in self._listeners:
                    tasks.create_task(self._serve(listener))
        finally:
            self.close()

    def close(self) -> None:
        """Close the sockets of a server that is bound but will not run."""
        for listener in self._listeners:
            listener.stream.close()
        self._listeners = []

    async def _listen(self, via: Via, interface: str, port: int) -> None:
        """Open both sockets of a port; an OSError leaves none open, of other ports neither."""
        try:
            sock = udp_socket(self._address, port, interface=interface, broadcast=True)
            own, number = await _open(sock), sock.getsockname()[1]
            self._listeners.append(_Listener(via, own, own, number))
            everyone = await _open(udp_socket(EVERYONE, number, interface=interface))
            self._listeners.append(_Listener(via, everyone, own, number))
        except OSError:
            self.close()
            raise

    async def _serve(self, listener: _Listener) -> None:
        while True:
            try:
                datagram, source = await listener.stream.recv()
            except OSError:  # of an earlier reply: an interface that went down, a client that left
                self.counts["socket_errors"] += 1
                continue
            await self._on_datagram(listener, datagram, source)

    async def _on_datagram(
        self, listener: _Listener, datagram: bytes, source: tuple[str, int], tries: int = ADDRESSES_TRIED
    ) -> None:
        leasing = self._leasing
        try:
            outcome = answer(
                datagram,
                via=listener.via,
                source=source,
                address=self._address,
                plan=self._plan,
                lessor=leasing.lessor if leasing else None,
                now=leasing.clock() if leasing else 0.0,
                is_shared=self.is_captured,
            )
        except WireError as error:
            self.counts["malformed"] += 1
            self._log.debug("packet_malformed", peer=source[0], via=listener.via, reason=str(error))
            return
        self.counts[outcome.counted] += 1
        if leasing is not None and outcome.unchecked is not None:
            self._later(self._check(leasing, outcome.unchecked, listener, datagram, source, tries))
        elif leasing is not None and outcome.kept is not None:
            self._later(self._keep(leasing, outcome.kept, listener, outcome))
        else:
            await self._tell(listener, outcome)

    async def _tell(self, listener: _Listener, outcome: Outcome) -> None:
        """Send what there is to send, and report what happened."""
        if outcome.answer is not None:
            await self._send(listener.replies, outcome.answer)
            self._repeat(listener.replies, outcome.answer)
        for event in outcome.events:
            if isinstance(event, HttpBootAsked):
                self._note_http_client(event)
            self._report(event)

    def _later(self, answering: Coroutine[None, None, None]) -> None:
        """Answer when what the answer waits for is done; other packets go first meanwhile."""
        if self._tasks is None or self._pending >= self._limits.pending:
            self.counts["dropped"] += 1
            answering.close()
            return
        self._pending += 1
        self._tasks.create_task(answering).add_done_callback(self._one_less)

    def _one_less(self, _done: asyncio.Task[None]) -> None:
        self._pending -= 1

    async def _check(
        self,
        leasing: Leasing,
        address: str,
        listener: _Listener,
        datagram: bytes,
        source: tuple[str, int],
        tries: int,
    ) -> None:
        """Ask the segment whether somebody uses the address that is to be offered, then answer once more."""
        if address in self._checking:
            return  # the same machine asked again meanwhile
        packet = parse_packet(datagram)
        if tries == 0 or len(self._checking) >= self._limits.checks:
            self.counts["unchecked_offers"] += 1
            leasing.lessor.check(packet, address)
        else:
            await self._look_for(leasing, address, packet)
        await self._on_datagram(listener, datagram, source, max(tries - 1, 0))

    async def _look_for(self, leasing: Leasing, address: str, packet: Packet) -> None:
        self._checking.add(address)
        try:
            owner = await leasing.find(address)
        finally:
            self._checking.remove(address)
        if owner is None or owner == packet.hardware_address:
            leasing.lessor.check(packet, address)
            return
        self._log.warning("address_in_use", address=address, mac=owner.hex(":"), remedy="take it out of the pool")
        lease = leasing.lessor.set_aside(packet, address, leasing.clock())
        if lease is not None:
            await self._keep_one(leasing, lease)

    async def _keep(self, leasing: Leasing, lease: Lease, listener: _Listener, outcome: Outcome) -> None:
        """Answer when the lease is on disk, so that no restart forgets what a client was told."""
        if await self._keep_one(leasing, lease):
            await self._tell(listener, outcome)

    async def _keep_one(self, leasing: Leasing, lease: Lease) -> bool:
        try:
            await leasing.keep(lease)
        except OSError as failure:
            self.counts["unkept_leases"] += 1
            self._log.error("lease_not_kept", address=lease.address, mac=lease.client, reason=str(failure))
            return False
        return True

    async def _send(self, stream: Stream, reply: Answer) -> None:
        """Send a reply; errors of earlier ones, which the stream raises in its place, are counted and passed by."""
        while True:
            try:
                await stream.send(reply.datagram, reply.destination)
            except OSError:
                self.counts["socket_errors"] += 1
                continue
            return

    def _repeat(self, stream: Stream, reply: Answer) -> None:
        if reply.repeats and self._tasks is not None and self._repeating < self._limits.repeating:
            self._repeating += 1
            self._tasks.create_task(self._send_copies(stream, reply))

    async def _send_copies(self, stream: Stream, reply: Answer) -> None:
        try:
            for pause in reply.repeats:
                await asyncio.sleep(pause)
                await self._send(stream, reply)
                self.counts["repeated_offers"] += 1
        finally:
            self._repeating -= 1

    def _note_http_client(self, event: HttpBootAsked) -> None:
        """Log a machine that wants UEFI HTTP boot once: it asks for minutes, between its attempts at PXE (P-11)."""
        request = event.request
        if request.mac in self._http_machines:
            return
        if len(self._http_machines) >= self._limits.http_machines:
            del self._http_machines[next(iter(self._http_machines))]
        self._http_machines[request.mac] = None
        self._log.info("http_boot_ignored", mac=request.mac, vendor_class=request.vendor_class, reason=event.reason)


async def _open(sock: socket.socket) -> Stream:
    return cast(Stream, await from_socket(sock))  # whose ends are of IPv4, as the socket is, and which has no peer
