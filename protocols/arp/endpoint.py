"""The ARP of one interface: a machine's first sign of life is heard, and who has an address can be asked."""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from protocols.arp.wire import ETHERTYPE, ArpPacket, Operation, build_arp, parse_arp
from protocols.errors import WireError
from protocols.ethernet import BROADCAST, MAC_BYTES, format_mac, parse_mac
from protocols.link import Link, PacketPort

log = structlog.get_logger(protocol="arp")  # not .bind(): that would settle now how it logs
NO_ADDRESS = bytes(4)  # the sender of a probe has none yet (RFC 5227 §1.1)
PROBE_PAUSES = (0.1, 0.2)  # seconds after each question; a host answers within milliseconds, iPXE waits 1 s for offers


@dataclass(frozen=True, slots=True)
class HostSeen:
    """A machine sent ARP; `address` is its IPv4 address, None while it only probes for one."""

    mac: str
    address: str | None


class ArpListener:
    """Reports every host that sends ARP on an interface; sends nothing by itself."""

    def __init__(self, *, report: Callable[[HostSeen], None]) -> None:
        """`report` gets a HostSeen for each request and reply; it neither blocks nor raises."""
        self._report = report
        self.counts: Counter[str] = Counter()
        self._sought: dict[bytes, asyncio.Future[bytes]] = {}  # MACs by the address that they are asked for
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

    async def find(self, address: str) -> bytes | None:
        """The MAC of who has an IPv4 address, None when nobody says so in 0.3 s; asked by a probe of RFC 5227 §2.1.1.

        How many are asked at once is for the caller to bound.
        """
        wanted = ipaddress.IPv4Address(address).packed
        answer = self._sought.setdefault(wanted, asyncio.get_running_loop().create_future())
        own = parse_mac(self._port.link.mac)
        question = build_arp(ArpPacket(Operation.REQUEST, own, NO_ADDRESS, bytes(MAC_BYTES), wanted), BROADCAST)
        try:
            for pause in PROBE_PAUSES:
                self._port.send([question])
                done, _ = await asyncio.wait([answer], timeout=pause)
                if done:
                    return answer.result()
        finally:
            self._sought.pop(wanted, None)
        return None

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
        sought = self._sought.get(bytes(address))
        if sought is not None and not sought.done():
            sought.set_result(bytes(packet.sender_mac))
        self._report(HostSeen(mac, None if address == NO_ADDRESS else str(ipaddress.IPv4Address(address))))
