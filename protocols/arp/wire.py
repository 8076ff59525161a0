"""ARP packets as values and back: Ethernet and IPv4 only.

Speaks RFC 826 and the probes of RFC 5227 §1.1. Left out: other hardware and protocols, RARP. Bytes after the packet
are Ethernet's padding and are let pass.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

from typing_extensions import Buffer

from protocols.errors import WireError
from protocols.ethernet import is_station

ETHERTYPE = 0x0806
HARDWARE_ETHERNET = 1
PROTOCOL_IPV4 = 0x0800

# ARP packet (RFC 826) in its Ethernet frame
#
#   0  |        destination 6        |          source 6         |   0x0806   |
#  14  | hardware type | protocol type | hlen | plen |  operation  |
#  22  |   sender hardware address 6   | sender protocol address 4 |
#  32  |   target hardware address 6   | target protocol address 4 |
PACKET = struct.Struct("!6s6sHHHBBH6s4s6s4s")


class Operation(IntEnum):
    """ar$op of RFC 826."""

    REQUEST = 1
    REPLY = 2


@dataclass(frozen=True, slots=True)
class ArpPacket:
    """An ARP request or reply; addresses are 6 and 4 bytes."""

    operation: Operation
    sender_mac: bytes
    sender_address: bytes
    target_mac: bytes
    target_address: bytes


def parse_arp(frame: Buffer) -> ArpPacket:
    """The ARP packet of a frame.

    Raises: WireError for a runt, anything that is not Ethernet and IPv4, an operation besides request and reply, or a
    sender that can't be one machine.
    """
    view = memoryview(frame)
    if len(view) < PACKET.size:
        raise WireError(f"frame of {len(view)} bytes has no ARP packet", len(view))
    _, _, ethertype, hardware, protocol, hlen, plen, operation, *addresses = PACKET.unpack_from(view)
    if ethertype != ETHERTYPE:
        raise WireError(f"ethertype 0x{ethertype:04x} is not ARP", 12)
    if (hardware, protocol, hlen, plen) != (HARDWARE_ETHERNET, PROTOCOL_IPV4, 6, 4):
        raise WireError("not ARP of IPv4 on Ethernet", 14)
    if operation not in tuple(Operation):
        raise WireError(f"operation {operation} is neither request nor reply", 20)
    if not is_station(addresses[0]):
        raise WireError("the sender's hardware address is no machine's", 22)
    return ArpPacket(Operation(operation), *addresses)


def build_arp(packet: ArpPacket, destination: bytes) -> bytes:
    """A frame with an ARP packet from its sender to the MAC `destination`."""
    return PACKET.pack(
        destination,
        packet.sender_mac,
        ETHERTYPE,
        HARDWARE_ETHERNET,
        PROTOCOL_IPV4,
        6,
        4,
        packet.operation,
        packet.sender_mac,
        packet.sender_address,
        packet.target_mac,
        packet.target_address,
    )
