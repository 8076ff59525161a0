"""What a ProxyDHCP server's reply holds, byte for byte, and where it goes (quirks B1, B2, P-1 to P-5).

One complete reply serves every firmware family: BIOS ROMs and UEFI boot from it without a second question, and what
asks on port 4011 all the same is told the same again.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address

from protocols.dhcp.request import PXE_CLASS, Via, is_uuid_option
from protocols.dhcp.wire import (
    FILE_BYTES,
    NO_ADDRESS,
    OPTION_BYTES,
    DiscoveryControl,
    Flag,
    MessageType,
    Op,
    Option,
    Packet,
    PxeOption,
    build_options,
    build_packet,
    parse_options,
)
from protocols.errors import WireError

SERVER_PORT = 67  # RFC 2131 §4.1; relays listen there too, never on 68 (quirks D-2)
CLIENT_PORT = 68
EVERYONE = "255.255.255.255"  # not the subnet's broadcast address, which firmware without an address drops (D-1)

IP_AND_UDP_BYTES = 28  # option 57 counts them in
EVERY_CLIENT_TAKES = 576  # bytes, headers and all (RFC 2132 §9.10)
LARGEST_REPLY = 1472  # bytes; EDK2 drops longer ones, and an Ethernet frame holds no more (quirks D-7, D-25)

BOOT_ITEM_BYTES = 4
BIS_LAYER = 0x8000  # in a boot item's layer: send credentials, the boot file is to be signed (PXE 2.1 §2.4.3)


@dataclass(frozen=True, slots=True)
class BootItem:
    """43.71: which of a boot server's wares a client wants (PXE 2.1 table 2-1): type(2) layer(2)."""

    type: int
    layer: int

    @property
    def wants_signature(self) -> bool:
        """Whether the client insists on a signed boot file (BIS), which no server here makes (quirks B-3)."""
        return bool(self.layer & BIS_LAYER)

    @property
    def as_bytes(self) -> bytes:
        """The suboption's value, to be echoed as it came."""
        return self.type.to_bytes(2, "big") + self.layer.to_bytes(2, "big")


def parse_boot_item(packet: Packet) -> BootItem | None:
    """The boot item that a client asks a boot server for, if it names one. Raises: WireError when malformed."""
    value = parse_options(packet.options.get(Option.VENDOR_SPECIFIC, b"")).get(PxeOption.BOOT_ITEM)
    if value is None:
        return None
    if len(value) != BOOT_ITEM_BYTES:
        raise WireError(f"suboption 43.71 has {len(value)} bytes, not {BOOT_ITEM_BYTES}")
    return BootItem(int.from_bytes(value[:2], "big"), int.from_bytes(value[2:], "big"))


def build_reply(
    packet: Packet, kind: MessageType, address: str, boot_file: bytes, item: BootItem | None
) -> bytes | None:
    """The datagram that answers `packet` with `boot_file` on the server `address`; `item` is echoed to who sent one.

    None when it cannot hold the boot file's name within what the client takes.
    """
    if not 0 < len(boot_file) <= OPTION_BYTES:
        return None
    in_header = boot_file if len(boot_file) < FILE_BYTES else b""
    options = _options(packet, kind, address, boot_file, item)
    # What the header says too may be left out where a client takes little and a relay's option 82 is long.
    for spare in (Option.PAD, Option.SERVER_NAME, *([Option.BOOT_FILE] if in_header else [])):
        options.pop(spare, None)
        reply = build_packet(_header(packet, kind, address, in_header, item, options))
        if len(reply) <= largest_reply(packet):
            return reply
    return None


def largest_reply(packet: Packet) -> int:
    """How many bytes a reply to `packet` may have; option 57 counts 28 more. Raises: WireError when 57 is broken."""
    allowed = max(packet.number(Option.MAX_MESSAGE_SIZE, 2) or 0, EVERY_CLIENT_TAKES)
    return min(allowed - IP_AND_UDP_BYTES, LARGEST_REPLY)


def reply_destination(packet: Packet, kind: MessageType, via: Via, source: tuple[str, int]) -> tuple[str, int]:
    """Where the reply to `packet` goes, which came to port `via` from `source`.

    On port 4011 back to where it came from, whatever its port: 68 and 4011 are both seen (quirks B-1).
    On port 67 to the relay, else to the address that the client has, else to everyone (RFC 2131 §4.1).
    """
    if via == "4011":
        return (source[0] if source[0] != NO_ADDRESS else EVERYONE, source[1])
    if packet.giaddr != NO_ADDRESS:
        return (packet.giaddr, SERVER_PORT)
    if kind is MessageType.ACK and packet.ciaddr != NO_ADDRESS:
        return (packet.ciaddr, CLIENT_PORT)
    return (EVERYONE, CLIENT_PORT)


def _header(
    packet: Packet, kind: MessageType, address: str, file: bytes, item: BootItem | None, options: dict[int, bytes]
) -> Packet:
    """The reply around its options; the hardware address, relay and transaction are echoed (quirks D-2, D-11)."""
    # yiaddr stays 0: by that EDK2 tells a proxy's reply from a DHCP server's (D-3). Only the answer to a boot item
    # carries the client's address there and 0 in ciaddr, the form that dnsmasq has taught the world's ROMs (B-2).
    known = packet.ciaddr if kind is MessageType.ACK else NO_ADDRESS
    return Packet(
        op=Op.REPLY,
        htype=packet.htype,
        hlen=packet.hlen,
        chaddr=packet.chaddr,
        hops=packet.hops,
        xid=packet.xid,
        # With no yiaddr to send to, a relay must broadcast too, whatever its client asked for (D-1).
        flags=packet.flags | Flag.BROADCAST if known == NO_ADDRESS else packet.flags,
        ciaddr=known if item is None else NO_ADDRESS,
        yiaddr=NO_ADDRESS if item is None else known,
        siaddr=address,  # siaddr, sname, 54 and 66 are all the same, since each firmware believes another (P-4, D-4)
        giaddr=packet.giaddr,
        sname=address.encode(),
        file=file,
        options=options,
    )


def _options(
    packet: Packet, kind: MessageType, address: str, boot_file: bytes, item: BootItem | None
) -> dict[int, bytes]:
    """The reply's options, in their order on the wire."""
    options: dict[int, bytes] = {
        Option.MESSAGE_TYPE: bytes((kind,)),
        Option.SERVER_ID: IPv4Address(address).packed,
    }
    uuid = packet.options.get(Option.CLIENT_UUID, b"")
    if is_uuid_option(uuid):  # some Intel ROMs boot only when it is echoed (P-1); one of another form is not (D-9)
        options[Option.CLIENT_UUID] = uuid
    options[Option.VENDOR_CLASS] = PXE_CLASS
    options[Option.SERVER_NAME] = address.encode()
    # "Load the boot file at once" is what makes the offer complete; without it BIOS ROMs and UEFI go to port 4011,
    # and some UEFI never comes back from there (P-1, P-2, P-5).
    discovery = bytes((DiscoveryControl.USE_BOOT_FILE,))
    options[Option.VENDOR_SPECIFIC] = build_options(
        {PxeOption.DISCOVERY_CONTROL: discovery} if item is None else {PxeOption.BOOT_ITEM: item.as_bytes}
    )
    # Last but for the relay's own, and without a NUL (D-5): older EDK2 writes one behind it by itself, over whatever
    # byte stands there (PxeBcParseDhcp4Packet), and END is the only one that nobody misses.
    options[Option.BOOT_FILE] = boot_file
    if Option.RELAY_AGENT in packet.options:  # some relays forward only what comes back with it (D-2, RFC 3046 §2.2)
        options[Option.RELAY_AGENT] = packet.options[Option.RELAY_AGENT]
    return options
