"""Listens to the ARP of one interface: a machine's first sign of life, before it has said anything to us."""

import ipaddress
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from protocols.arp.wire import ETHERTYPE, parse_arp
from protocols.errors import WireError
from protocols.ethernet import format_mac
from protocols.link import Link, PacketPort

log = structlog.get_logger(protocol="arp")  # not .bind(): that would settle now how it logs
NO_ADDRESS = bytes(4)  # the sender of a probe has none yet (RFC 5227 §1.1)


@dataclass(frozen=True, slots=True)
class HostSeen:
    """A machine sent ARP; `address` is its IPv4 address, None while it only probes for one."""

    mac: str
    address: str | None


class ArpListener:
    """Reports every host that sends ARP on an interface; sends nothing itself."""

    def __init__(self, *, report: Callable[[HostSeen], None]) -> None:
        """`report` gets a HostSeen for each request and reply; it neither blocks nor raises."""
        self._report = report
        self.counts: Counter[str] = Counter()
        self._port = PacketPort(ETHERTYPE, on_frame=self._on_frame, on_link=self._on_link, counts=self.counts)

    async def bind(self, interface: str) -> None:
        """Open the raw socket. Raises: OSError (ENODEV: no such interface, EPERM: CAP_NET_RAW is missing)."""
        await self._port.bind(interface)

    async def run(self) -> None:
        """Listen until cancelled, through every down, up and re-creation of the interface."""
        await self._port.run()

    def close(self) -> None:
        """Close what `bind` opened; needed only where `run` was never started."""
        self._port.close()

    def _on_link(self, link: Link) -> None:
        """Nothing to say to the LAN when the link comes up."""

    def _on_frame(self, frame: memoryview) -> None:
        try:
            packet = parse_arp(frame)
        except WireError as error:
            self.counts["malformed"] += 1
            log.debug("packet_malformed", reason=str(error))
            return
        mac = format_mac(packet.sender_mac)
        if mac == self._port.link.mac:  # our own, sent back by a loop or a mirror port
            self.counts["own"] += 1
            return
        self.counts["seen"] += 1
        address = packet.sender_address
        self._report(HostSeen(mac, None if address == NO_ADDRESS else str(ipaddress.IPv4Address(address))))
