"""A raw socket that outlives its link: events by netlink, rebinding, what the interface is now."""

import asyncio
import errno
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from pyroute2 import AsyncIPRoute
from typing_extensions import Buffer

from protocols.ethernet import FOR_US_ONLY, Program, packet_socket

RTMGRP_LINK = 1  # linux/rtnetlink.h: the netlink group of link events
# linux/if.h. RUNNING comes after LOWER_UP (carrier), by a worker of the kernel that may be a second late: only then
# does the interface have a queue, and what is sent before is dropped without an error.
IFF_RUNNING = 0x40
IFF_LOWER_UP = 0x10000
SHORTEST_FRAME = 60  # bytes, without the checksum (IEEE 802.3 §4.2.3.3)
LARGEST_FRAME = 65535 + 18  # bytes; the largest MTU Linux allows, with an Ethernet header and a tag
FRAMES_PER_WAKE = 64  # frames served before the loop gets its turn: under 2 ms of work at 30 us each
# What a send may meet on a healthy box: the link is down or being replaced, or a queue is full. The peer asks again.
SEND_LOSSES = frozenset({errno.ENETDOWN, errno.ENOBUFS, errno.ENODEV, errno.ENXIO, errno.EMSGSIZE, errno.EAGAIN})


@dataclass(frozen=True, slots=True)
class Link:
    """An interface as the kernel last described it; `index` is 0 while it does not exist."""

    index: int
    name: str
    mac: str
    mtu: int
    is_up: bool


class PacketPort:
    """Frames of one ethertype on one interface, through every down, up and re-creation of that interface."""

    def __init__(
        self,
        ethertype: int,
        *,
        on_frame: Callable[[memoryview], None] | None,
        on_link: Callable[[Link], None],
        counts: Counter[str],
        frames_per_wake: int = FRAMES_PER_WAKE,
        program: Program = FOR_US_ONLY,
    ) -> None:
        """`on_frame` gets each frame, valid only during the call; `on_link` the link each time it is up and differs.

        None for `on_frame` makes a port that only sends. Neither may block. What is lost is counted, by reason.
        """
        self._received = ethertype if on_frame else 0  # 0: the kernel passes nothing on
        self._on_frame = on_frame
        self._on_link = on_link
        self._counts = counts
        self._frames_per_wake = frames_per_wake
        self._program = program
        self._buffer = memoryview(bytearray(LARGEST_FRAME))
        self._routes: AsyncIPRoute | None = None
        self._socket: socket.socket | None = None
        self.link = Link(0, "", "", 0, is_up=False)
        self._log = structlog.get_logger().bind(ethertype=f"0x{ethertype:04x}")

    async def bind(self, interface: str) -> None:
        """Open the socket and the event source. Raises: OSError (ENODEV for an unknown interface, EPERM)."""
        try:
            self._routes = await open_routes()
            link = await find_link(self._routes, interface)
            if link is None:
                raise OSError(errno.ENODEV, f"there is no interface named {interface}")
            self._socket = packet_socket(interface, self._received, self._program)
        except OSError:
            self.close()
            raise
        self.link = link
        self._log = self._log.bind(interface=interface)

    async def run(self) -> None:
        """Deliver frames and link changes until cancelled; closes everything on the way out.

        Raises: RuntimeError when nothing was bound.
        """
        if self._socket is None or self._routes is None:
            raise RuntimeError("a port has to be bound before it runs")
        loop = asyncio.get_running_loop()
        if self._on_frame is not None:
            loop.add_reader(self._socket, self._drain, self._socket, self._on_frame)
        try:
            await self._follow(self._routes, self._socket)
        finally:
            loop.remove_reader(self._socket)
            self.close()

    def close(self) -> None:
        """Close what `bind` opened; needed only where `run` was never started."""
        if self._routes is not None:
            self._routes.close()
            self._routes = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(self, parts: Sequence[Buffer]) -> bool:
        """Send one frame made of `parts`; False (and counted) when it could not leave."""
        if self._socket is None:
            self._counts["unsent_unbound"] += 1
            return False
        try:
            self._socket.sendmsg(padded(parts))
        except OSError as error:
            if error.errno not in SEND_LOSSES:
                raise
            self._counts["unsent_" + errno.errorcode[error.errno].lower()] += 1
            return False
        return True

    def _drain(self, sock: socket.socket, on_frame: Callable[[memoryview], None]) -> None:
        for _ in range(self._frames_per_wake):
            try:
                size = sock.recv_into(self._buffer)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENETDOWN:
                    raise
                # Said once when the link goes down (vblade ends here); the kernel hooks the socket up again by itself.
                self._counts["link_down"] += 1
                return
            on_frame(self._buffer[:size])

    async def _follow(self, routes: AsyncIPRoute, sock: socket.socket) -> None:
        while True:
            try:
                async for message in routes.get():  # one batch
                    self._on_message(message, sock)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                # The kernel had to drop events, and pyroute2 0.9 raises the error again at each later use: start over.
                self._counts["link_events_lost"] += 1
                routes.close()
                routes = self._routes = await open_routes()
                self._take(await find_link(routes, self.link.name), sock)

    def _on_message(self, message: Any, sock: socket.socket) -> None:
        # A port that leaves a bridge is announced as deleted too, in the bridge's family: not our business.
        if message["family"] != socket.AF_UNSPEC:
            return
        is_ours = message["index"] == self.link.index
        if message["event"] == "RTM_DELLINK" and is_ours:
            self._take(None, sock)
        elif message["event"] == "RTM_NEWLINK" and (is_ours or message.get("ifname") == self.link.name):
            self._take(link_of(message), sock)

    def _take(self, link: Link | None, sock: socket.socket) -> None:
        before = self.link
        if link is None:
            self.link = replace(before, index=0, is_up=False)
            self._log.warning("interface_vanished")
            return
        if link.index != before.index and not self._rebind(link, sock):
            return
        self.link = link
        if link.is_up != before.is_up:
            self._log.info("link_came_up" if link.is_up else "link_went_down", mtu=link.mtu, mac=link.mac)
        if link.is_up and link != before:
            # Reading the error clears what the last down left on the socket: it would fail the first send instead.
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._on_link(link)

    def _rebind(self, link: Link, sock: socket.socket) -> bool:
        """Tie the same socket to an interface that was made again: its number is new, so the old tie is dead."""
        try:
            sock.bind((link.name, self._received))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            self._counts["rebinds_failed"] += 1  # gone again already; the next event tells
            return False
        self._log.info("interface_rebound", index=link.index)
        return True


def padded(parts: Sequence[Buffer]) -> Sequence[Buffer]:
    """The parts of a frame, with zeros behind where they are fewer than 60 bytes.

    Network cards do that; virtual ones may not, and aoetools 36 waits for ever on a frame that is shorter.
    """
    missing = SHORTEST_FRAME - sum(memoryview(part).nbytes for part in parts)
    return parts if missing <= 0 else (*parts, bytes(missing))


async def open_routes() -> AsyncIPRoute:
    """A netlink socket that hears of links from now on; open it before looking, so that no change falls between."""
    routes = AsyncIPRoute()
    await routes.bind(groups=RTMGRP_LINK)
    return routes


async def find_link(routes: AsyncIPRoute, interface: str) -> Link | None:
    """The interface of that name as it is now, or None."""
    async for message in await routes.get_links():
        if message.get("ifname") == interface:
            return link_of(message)
    return None


def link_of(message: Any) -> Link:
    """A Link from a netlink message; loopback and tunnels have no hardware address: zeros."""
    flags = message["flags"]
    return Link(
        index=message["index"],
        name=message.get("ifname"),
        mac=message.get("address") or "00:00:00:00:00:00",
        mtu=message.get("mtu"),
        is_up=bool(flags & IFF_RUNNING and flags & IFF_LOWER_UP),
    )
