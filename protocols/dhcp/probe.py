"""A DISCOVER that asks which servers a network has, and what their offers hold: frames without Ethernet's header.

It goes out as bytes of IPv4 and UDP, for a packet socket: port 68 may be held by the host's own DHCP client, and a
firewall on the host says nothing of what its network has. RFC 2131 §4.4.1, RFC 4578, RFC 791 §3.1, RFC 768.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address
from struct import Struct

from protocols.dhcp.reply import CLIENT_PORT, EVERYONE, SERVER_PORT
from protocols.dhcp.request import PXE_CLASS, Architecture
from protocols.dhcp.wire import (
    NO_ADDRESS,
    UUID_OPTION_BYTES,
    Flag,
    MessageType,
    Op,
    Option,
    Packet,
    build_packet,
    parse_packet,
)
from protocols.errors import WireError

# IPv4 without options, then UDP; offsets in bytes:
#
#   0  45 00 length(2) id(2) flags(2) ttl(1) protocol(1) checksum(2)
#  12  source(4) destination(4)
#  20  source port(2) destination port(2) length(2) checksum(2): 0 is none (RFC 768)
IP = Struct("!BBHHHBBH4s4s")
UDP = Struct("!HHHH")
UDP_PROTOCOL = 17
VERSION_AND_WORDS = 0x45
TTL = 64
MORE_OR_LATER = 0x3FFF  # of the flags: a fragment is no whole packet

NAMES_WANTED = bytes((1, 3, 43, 54, 60, 66, 67))  # option 55: what we would like to see, as firmware asks for it


@dataclass(frozen=True, slots=True)
class HeardOffer:
    """What one server offers: `address` is "0.0.0.0" from a proxy, names are as on the wire, NULs at the end cut."""

    server: str
    address: str
    next_server: str
    file: bytes
    server_name: bytes
    vendor_class: bytes
    vendor_specific: bytes


def build_probe(chaddr: bytes, xid: int, architecture: Architecture) -> bytes:
    """A PXE client's DISCOVER as IPv4, from a machine that is not there; offers are to come as broadcasts."""
    packet = Packet(
        op=Op.REQUEST,
        xid=xid,
        flags=Flag.BROADCAST,
        hlen=len(chaddr),
        chaddr=chaddr.ljust(16, b"\0"),
        options={
            Option.MESSAGE_TYPE: bytes((MessageType.DISCOVER,)),
            Option.MAX_MESSAGE_SIZE: (1500).to_bytes(2, "big"),
            55: NAMES_WANTED,
            Option.CLIENT_UUID: bytes(UUID_OPTION_BYTES - len(chaddr)) + chaddr,
            Option.NETWORK_INTERFACE: b"\1\3\0",
            Option.ARCHITECTURE: architecture.to_bytes(2, "big"),
            Option.VENDOR_CLASS: PXE_CLASS + f":Arch:{architecture:05}:UNDI:003000".encode(),
        },
    )
    payload = build_packet(packet)
    udp = UDP.pack(CLIENT_PORT, SERVER_PORT, UDP.size + len(payload), 0)
    ends = (IPv4Address(NO_ADDRESS).packed, IPv4Address(EVERYONE).packed)
    size = IP.size + len(udp) + len(payload)
    blank = IP.pack(VERSION_AND_WORDS, 0, size, 0, 0, TTL, UDP_PROTOCOL, 0, *ends)
    header = IP.pack(VERSION_AND_WORDS, 0, size, 0, 0, TTL, UDP_PROTOCOL, checksum(blank), *ends)
    return header + udp + payload


def parse_offer(data: bytes, xids: frozenset[int]) -> HeardOffer | None:
    """The offer in an IPv4 packet that answers one of our probes; None for whatever else a network carries.

    Raises: WireError when it claims to be one and is malformed.
    """
    payload = _payload(data)
    if payload is None:
        return None
    packet = parse_packet(payload)
    kind = packet.number(Option.MESSAGE_TYPE, 1)
    if packet.op is not Op.REPLY or packet.xid not in xids or kind != MessageType.OFFER:
        return None
    source = str(IPv4Address(data[12:16]))
    return HeardOffer(
        server=packet.address(Option.SERVER_ID) or source,
        address=packet.yiaddr,
        next_server=packet.siaddr,
        file=packet.options.get(Option.BOOT_FILE, b"").rstrip(b"\0") or packet.file,
        server_name=packet.options.get(Option.SERVER_NAME, b"").rstrip(b"\0") or packet.sname,
        vendor_class=packet.options.get(Option.VENDOR_CLASS, b""),
        vendor_specific=packet.options.get(Option.VENDOR_SPECIFIC, b""),
    )


def checksum(header: bytes) -> int:
    """The Internet checksum of an even number of bytes (RFC 1071 §1)."""
    total = sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, len(header), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def _payload(data: bytes) -> bytes | None:
    """What a whole UDP packet from a server's port to a client's holds.

    Raises: WireError when its lengths go beyond what came.
    """
    if len(data) < IP.size + UDP.size or data[0] >> 4 != 4 or data[9] != UDP_PROTOCOL:
        return None
    start = (data[0] & 0x0F) * 4
    if start < IP.size or int.from_bytes(data[6:8], "big") & MORE_OR_LATER:
        return None
    if start + UDP.size > len(data):
        raise WireError("a UDP header runs past the end", start)
    source, destination, size, _ = UDP.unpack_from(data, start)
    if (source, destination) != (SERVER_PORT, CLIENT_PORT):
        return None
    if not UDP.size <= size <= len(data) - start:
        raise WireError(f"a UDP packet of {size} bytes does not fit", start + 4)
    return data[start + UDP.size : start + size]
