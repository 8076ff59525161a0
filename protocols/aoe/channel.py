"""The endpoint's data path: native pumps on packet sockets of their own, and what they tell."""

import asyncio
import errno
import os
import socket
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Protocol

import structlog
from typing_extensions import Buffer

from protocols.aoe import wire
from protocols.aoe.initiators import Initiator
from protocols.aoe.limits import AoeLimits
from protocols.aoe.pump import AoePump
from protocols.aoe.pumped import CommandBegan, FrameCame, PumpEvent
from protocols.aoe.target import TargetSession
from protocols.ethernet import packet_socket, parse_mac, share_by_source
from protocols.link import Link
from storage.image import Image
from storage.trace import Trace
from storage.workers import Workers

log = structlog.get_logger(protocol="aoe")  # not .bind(): that would settle now how it logs


class Accounts(Protocol):
    """Where what a machine does at a target is counted."""

    def note_identify(self, mac: str, shelf: int, slot: int) -> bool:
        """Count an IDENTIFY; whether it is no repeat straight after another."""

    def note_query(self, mac: str, shelf: int, slot: int) -> None:
        """Remember a configuration query."""

    def trace(self, mac: str, shelf: int, slot: int, trace: Trace) -> None:
        """Have a machine's reads at a target noted in `trace` until that is ended."""


class Server(Protocol):
    """What a data path needs of its endpoint."""

    limits: AoeLimits
    pumps: int

    def count(self, counts: Mapping[str, int]) -> None:
        """Add to the server's counts."""

    def on_frame(self, frame: Buffer, accounts: Accounts) -> None:
        """Answer a frame that is none of the path's, and count in its `accounts`; it is valid only during the call."""

    def on_command(self, mac: str, shelf: int, slot: int) -> None:
        """Hear of a machine's first ATA command at a target."""


class DataPath(Protocol):
    """What receives frames, and answers ATA commands other than IDENTIFY.

    Between `start` and `stop` only; who is admitted and what a frame holds are as the sessions last said.
    """

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def open(self, link: Link) -> None: ...
    def add(self, session: TargetSession, image: Image) -> None: ...
    def remove(self, shelf: int, slot: int) -> None: ...
    def admit(self, session: TargetSession) -> None: ...
    def await_command(self, mac: str) -> None: ...
    def initiators(self) -> list[Initiator]: ...
    def take_counts(self) -> None: ...


class PumpedPath:
    """The data path by native pumps: their descriptors in the loop, and one packet socket for each.

    A machine stays with one pump, which the kernel finds by its MAC, until the link was down.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._workers: Workers | None = None
        self._pumps: list[AoePump] = []
        self._index = 0  # of the interface that the sockets are bound to

    def start(self) -> None:
        """Open the pumps and watch them. Raises: OSError as threads and epoll do."""
        workers = self._workers = Workers()
        number, limits = self._server.pumps, self._server.limits
        share = replace(limits, in_flight=-(-limits.in_flight // number))
        self._pumps = [AoePump(share, workers=workers) for _ in range(number)]
        for pump in self._pumps:
            pump.start()
            asyncio.get_running_loop().add_reader(pump.fileno(), partial(self._take_events, pump))

    def stop(self) -> None:
        """Receive nothing any more."""
        self.take_counts()
        for pump in self._pumps:
            asyncio.get_running_loop().remove_reader(pump.fileno())
            pump.close()
        if self._workers is not None:
            self._workers.close()
        self._pumps, self._workers, self._index = [], None, 0

    def open(self, link: Link) -> None:
        """Receive on a link that is up: by the sockets there are, or new ones when the interface was made again."""
        for pump in self._pumps:
            pump.fit(parse_mac(link.mac), wire.sectors_per_frame(link.mtu))
        if link.index == self._index:
            return
        try:
            pairs = open_sockets(link.name, len(self._pumps))
        except OSError as failure:
            if failure.errno != errno.ENODEV:
                raise
            self._server.count({"rebinds_failed": 1})  # gone again already; the next link event tells
            return
        for pump, (sock, out) in zip(self._pumps, pairs, strict=True):
            pump.listen(sock, out)
        self._index = link.index

    def add(self, session: TargetSession, image: Image) -> None:
        """Answer for a target."""
        for pump in self._pumps:
            pump.add(session.shelf, session.slot, image, session.sectors)
        self.admit(session)

    def remove(self, shelf: int, slot: int) -> None:
        """Answer for it no longer."""
        for pump in self._pumps:
            pump.remove(shelf, slot)

    def admit(self, session: TargetSession) -> None:
        """Take over who sees the target and whom it is reserved for."""
        mask, reserved = ([parse_mac(mac) for mac in macs] for macs in (session.mask, session.reserved))
        for pump in self._pumps:
            pump.admit(session.shelf, session.slot, mask, reserved)

    def await_command(self, mac: str) -> None:
        """Tell of the machine's next command at each target."""
        for pump in self._pumps:
            pump.await_command(mac)

    def initiators(self) -> list[Initiator]:
        """Who uses which target."""
        found: dict[tuple[str, int, int], Initiator] = {}
        for one in (initiator for pump in self._pumps for initiator in pump.initiators()):
            key = (one.mac, one.shelf, one.slot)
            found[key] = found[key].joined(one) if key in found else one
        return list(found.values())

    def take_counts(self) -> None:
        """Add what the pumps counted to the server's counts."""
        for pump in self._pumps:
            self._server.count(pump.counts())

    def _take_events(self, pump: AoePump) -> None:
        for event in pump.events():
            self._on_event(pump, event)

    def _on_event(self, pump: AoePump, event: PumpEvent) -> None:
        if isinstance(event, FrameCame):
            self._server.on_frame(event.frame, pump)
        elif isinstance(event, CommandBegan):
            self._server.on_command(event.mac, event.shelf, event.slot)
        else:
            reason = os.strerror(event.errno)
            log.error("image_failed", shelf=event.shelf, slot=event.slot, errno=event.errno, reason=reason)


def open_sockets(interface: str, count: int) -> list[tuple[socket.socket, socket.socket]]:
    """Packet sockets that see each AoE frame on an interface once, each with one to send by.

    Raises: OSError as socket and bind do.
    """
    opened: list[socket.socket] = []
    try:
        for number in range(2 * count):
            opened.append(packet_socket(interface, 0 if number % 2 else wire.ETHERTYPE))
        if count > 1:
            share_by_source(opened[::2])
    except OSError:
        for sock in opened:
            sock.close()
        raise
    return list(zip(opened[::2], opened[1::2], strict=True))
