"""UDP packets as they lie in IPv4, for sockets that see whole frames (RFC 791 §3.1, RFC 768, RFC 1071).

Everything on a wire is hostile, and nothing has looked at a captured packet before: lengths, both checksums and whether
it is whole are checked here. Left out on purpose: fragments, which are never put together. No machine's firmware sends
any, since it cannot know that anybody would.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address
from struct import Struct

from protocols.errors import WireError

# IPv4, then UDP; offsets in bytes:
#
#   0  version and words(1) tos(1) length(2) id(2) flags and offset(2) ttl(1) protocol(1) checksum(2)
#  12  source(4) destination(4) options, up to the words that the first byte names
#   +0 source port(2) destination port(2) length(2) checksum(2): 0 is none
IP = Struct("!BBHHHBBH4s4s")
UDP = Struct("!HHHH")
UDP_PROTOCOL = 17
VERSION = 4
VERSION_AND_WORDS = 0x45  # of a header without options
TTL = 64
MORE_OR_LATER = 0x3FFF  # of flags and offset: set in every piece of a packet
NO_CHECKSUM = 0  # of UDP; a sum that comes to 0 is sent as its other form
OTHER_ZERO = 0xFFFF


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP packet; ends are a dotted address and a port."""

    source: tuple[str, int]
    destination: tuple[str, int]
    payload: bytes


def parse_datagram(data: bytes) -> Datagram | None:
    """The UDP packet in an IPv4 packet, behind which there may be padding; None for fragments and all that is not UDP.

    Raises: WireError when a length goes beyond what came, or a checksum is wrong.
    """
    if len(data) < IP.size or data[0] >> 4 != VERSION or data[9] != UDP_PROTOCOL:
        return None
    start = (data[0] & 0x0F) * 4
    end = int.from_bytes(data[2:4], "big")
    if int.from_bytes(data[6:8], "big") & MORE_OR_LATER:
        return None
    if not IP.size <= start <= end - UDP.size or end > len(data):
        raise WireError(f"an IPv4 packet of {end} bytes, {start} of them header, in {len(data)}", 2)
    if checksum(data[:start]) != 0:
        raise WireError("the IPv4 header's checksum is wrong", 10)
    source, destination, size, summed = UDP.unpack_from(data, start)
    if not UDP.size <= size <= end - start:
        raise WireError(f"a UDP packet of {size} bytes does not fit", start + 4)
    if not _is_intact(data[12:20], data[start : start + size], summed):
        raise WireError("the UDP checksum is wrong", start + 6)
    return Datagram(
        (str(IPv4Address(data[12:16])), source),
        (str(IPv4Address(data[16:20])), destination),
        data[start + UDP.size : start + size],
    )


def build_datagram(datagram: Datagram) -> bytes:
    """One IPv4 packet, both checksums in it. Raises: struct.error when it would have more than 65,535 bytes."""
    ends = (IPv4Address(datagram.source[0]).packed, IPv4Address(datagram.destination[0]).packed)
    ports = (datagram.source[1], datagram.destination[1])
    udp_bytes = UDP.size + len(datagram.payload)
    blank = UDP.pack(*ports, udp_bytes, 0) + datagram.payload
    summed = checksum(_pseudo_header(b"".join(ends), udp_bytes) + blank) or OTHER_ZERO
    size = IP.size + udp_bytes
    header = IP.pack(VERSION_AND_WORDS, 0, size, 0, 0, TTL, UDP_PROTOCOL, 0, *ends)
    header = IP.pack(VERSION_AND_WORDS, 0, size, 0, 0, TTL, UDP_PROTOCOL, checksum(header), *ends)
    return header + UDP.pack(*ports, udp_bytes, summed) + datagram.payload


def checksum(data: bytes) -> int:
    """The Internet checksum; 0 of bytes that have theirs in them already (RFC 1071 §1)."""
    return _total(data) ^ OTHER_ZERO


def _total(data: bytes) -> int:
    """Halfwords added with end-around carry: their number modulo 65,535, where 65,536 is 1; its zero is 65,535."""
    number = int.from_bytes(data if len(data) % 2 == 0 else data + b"\0", "big")
    return number % OTHER_ZERO or (OTHER_ZERO if number else 0)


def _pseudo_header(ends: bytes, udp_bytes: int) -> bytes:
    return ends + bytes((0, UDP_PROTOCOL)) + udp_bytes.to_bytes(2, "big")


def _is_intact(ends: bytes, udp: bytes, summed: int) -> bool:
    """Whether the checksum is right, absent, or not made yet.

    A packet from a guest or a container of this very host never was on a wire: its sender left the sum to a network
    card, and what stands in its place is the pseudo header's alone (TP_STATUS_CSUMNOTREADY of packet(7) says so too).
    """
    pseudo = _pseudo_header(ends, len(udp))
    return summed in (NO_CHECKSUM, _total(pseudo)) or checksum(pseudo + udp) == 0
