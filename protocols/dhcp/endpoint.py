"""ProxyDHCP on a real interface: ports 67 and 4011, beside whatever DHCP server the network has.

Each port has two sockets. One is bound to our own address: it hears what is sent to us alone, and every reply leaves
through it, so that replies carry the right source address and port (quirks D-21, B-1, B-4). The other is bound to
255.255.255.255 and hears broadcasts. Both are tied to the interface and share their port with nobody: another boot
server on it is found at start (EADDRINUSE), not by boots that fail now and then.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import structlog
from asyncio_dgram import from_socket
from asyncio_dgram.aio import DatagramServer

from protocols.datagram import udp_socket
from protocols.dhcp.offer import Flow, MenuItem, Offer, Plan, Refusal
from protocols.dhcp.reply import EVERYONE
from protocols.dhcp.request import Architecture, BootRequest, IpxeFeature, Via
from protocols.dhcp.session import (
    Answer,
    BootServerAsked,
    DhcpEvent,
    Discovered,
    HostSeen,
    HttpBootAsked,
    Offered,
    Refused,
    answer,
)
from protocols.errors import WireError

__all__ = [
    "Architecture",
    "BootRequest",
    "BootServerAsked",
    "DhcpEvent",
    "DhcpLimits",
    "Discovered",
    "Flow",
    "HostSeen",
    "HttpBootAsked",
    "IpxeFeature",
    "MenuItem",
    "Offer",
    "Offered",
    "Plan",
    "ProxyDhcpServer",
    "Refusal",
    "Refused",
]

PROXY_PORT = 67
BOOT_SERVER_PORT = 4011  # PXE 2.1 §2.2.3


@dataclass(frozen=True, slots=True)
class DhcpLimits:
    """What the server keeps, at most."""

    repeating: int = 1024  # iPXE machines whose offer is being repeated: a storm's worth; past it they get one copy
    http_machines: int = 4096  # logged once as wanting HTTP boot; past it the oldest is forgotten, and logged again


@dataclass(frozen=True, slots=True)
class _Listener:
    """A socket that is read, and the one of the same port that its replies leave through."""

    via: Via
    stream: DatagramServer
    replies: DatagramServer


class ProxyDhcpServer:
    """Answers PXE clients on one interface; see the module's docstring.

    `plan` says what a machine is offered; it is called in the event loop for each request and must not block.
    `report` takes every DhcpEvent and never raises.
    """

    def __init__(self, *, plan: Plan, report: Callable[[DhcpEvent], None], limits: DhcpLimits | None = None) -> None:
        self._plan = plan
        self._report = report
        self._limits = limits or DhcpLimits()
        self._address = ""
        self._listeners: list[_Listener] = []
        self._http_machines: dict[str, None] = {}  # in the order of their first request
        self._tasks: asyncio.TaskGroup | None = None
        self._repeating = 0
        self._log = structlog.get_logger().bind(protocol="dhcp")
        self.counts: Counter[str] = Counter()

    async def bind(
        self, interface: str, address: str, *, port: int = PROXY_PORT, boot_server_port: int = BOOT_SERVER_PORT
    ) -> None:
        """Open all four sockets on `interface`, whose own IPv4 address is `address`; ports of 0 take any free one.

        Raises: OSError as socket, setsockopt and bind do (EADDRINUSE, EACCES, ENODEV, EADDRNOTAVAIL); nothing
        stays open then.
        """
        self._address = address
        try:
            await self._listen("67", interface, address, port)
            await self._listen("4011", interface, address, boot_server_port)
        except OSError:
            self.close()
            raise

    @property
    def ports(self) -> tuple[int, int]:
        """The ports bound: ProxyDHCP's and the boot server's."""
        proxy, boot_server = (each.replies.sockname[1] for each in self._listeners if each.stream is each.replies)
        return proxy, boot_server

    async def run(self) -> None:
        """Serve until cancelled, then close the sockets."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for listener in self._listeners:
                    tasks.create_task(self._serve(listener))
        finally:
            self.close()

    def close(self) -> None:
        """Close the sockets of a server that is bound but will not run."""
        for listener in self._listeners:
            listener.stream.close()
        self._listeners = []

    async def _listen(self, via: Via, interface: str, address: str, port: int) -> None:
        own = await _open(udp_socket(address, port, interface=interface, broadcast=True))
        self._listeners.append(_Listener(via, own, own))
        everyone = await _open(udp_socket(EVERYONE, own.sockname[1], interface=interface))
        self._listeners.append(_Listener(via, everyone, own))

    async def _serve(self, listener: _Listener) -> None:
        while True:
            try:
                datagram, source = await listener.stream.recv()
            except OSError:  # of an earlier reply: an interface that went down, a client that left
                self.counts["socket_errors"] += 1
                continue
            await self._on_datagram(listener, datagram, cast(tuple[str, int], source))  # it is an IPv4 socket

    async def _on_datagram(self, listener: _Listener, datagram: bytes, source: tuple[str, int]) -> None:
        try:
            outcome = answer(datagram, via=listener.via, source=source, address=self._address, plan=self._plan)
        except WireError as error:
            self.counts["malformed"] += 1
            self._log.debug("packet_malformed", peer=source[0], via=listener.via, reason=str(error))
            return
        self.counts[outcome.counted] += 1
        if outcome.answer is not None:
            await self._send(listener.replies, outcome.answer)
            self._repeat(listener.replies, outcome.answer)
        for event in outcome.events:
            if isinstance(event, HttpBootAsked):
                self._note_http_client(event)
            self._report(event)

    async def _send(self, stream: DatagramServer, reply: Answer) -> None:
        """Send a reply; errors of earlier ones, which the stream raises in its place, are counted and passed by."""
        while True:
            try:
                await stream.send(reply.datagram, reply.destination)
            except OSError:
                self.counts["socket_errors"] += 1
                continue
            return

    def _repeat(self, stream: DatagramServer, reply: Answer) -> None:
        if reply.repeats and self._tasks is not None and self._repeating < self._limits.repeating:
            self._repeating += 1
            self._tasks.create_task(self._send_copies(stream, reply))

    async def _send_copies(self, stream: DatagramServer, reply: Answer) -> None:
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


async def _open(sock: socket.socket) -> DatagramServer:
    return cast(DatagramServer, await from_socket(sock))  # which it is: the socket is connected to nobody
