"""A DISCOVER that asks which servers a network has, and what their offers hold: frames without Ethernet's header.

It goes out as bytes of IPv4 and UDP, for a packet socket: port 68 may be held by the host's own DHCP client, and a
firewall on the host says nothing of what its network has. RFC 2131 §4.4.1, RFC 4578.
"""

from dataclasses import dataclass

from protocols.dhcp.ipv4 import Datagram, build_datagram, parse_datagram
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
    return build_datagram(Datagram((NO_ADDRESS, CLIENT_PORT), (EVERYONE, SERVER_PORT), build_packet(packet)))


def parse_offer(data: bytes, xids: frozenset[int]) -> HeardOffer | None:
    """The offer in an IPv4 packet that answers one of our probes; None for whatever else a network carries.

    Raises: WireError when it claims to be one and is malformed.
    """
    datagram = parse_datagram(data)
    if datagram is None or (datagram.source[1], datagram.destination[1]) != (SERVER_PORT, CLIENT_PORT):
        return None
    packet = parse_packet(datagram.payload)
    kind = packet.number(Option.MESSAGE_TYPE, 1)
    if packet.op is not Op.REPLY or packet.xid not in xids or kind != MessageType.OFFER:
        return None
    return HeardOffer(
        server=packet.address(Option.SERVER_ID) or datagram.source[0],
        address=packet.yiaddr,
        next_server=packet.siaddr,
        file=packet.options.get(Option.BOOT_FILE, b"").rstrip(b"\0") or packet.file,
        server_name=packet.options.get(Option.SERVER_NAME, b"").rstrip(b"\0") or packet.sname,
        vendor_class=packet.options.get(Option.VENDOR_CLASS, b""),
        vendor_specific=packet.options.get(Option.VENDOR_SPECIFIC, b""),
    )
