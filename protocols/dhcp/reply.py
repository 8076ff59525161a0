"""What a reply holds, byte for byte, and where it goes (quirks B1, B2, B3): of a ProxyDHCP server, or with an address.

One complete reply serves nearly every firmware family: BIOS ROMs and UEFI boot from it without a second question, and
what asks on port 4011 all the same is told the same again. The other flows (offer.py) are for the rest. Where we give
addresses it is the same reply, with yiaddr and the options of a lease in it.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address

from protocols.dhcp.leasing.network import Grant
from protocols.dhcp.offer import FIRST_ITEM_TYPE, Offer
from protocols.dhcp.request import HTTP_CLASS, PXE_CLASS, Via, is_uuid_option
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

VENDOR_BYTES = 253  # of option 43, END and all: no ROM joins one that comes in pieces (P-9)
NO_OPTIONS = build_options({})
MENU_PROMPT = b"Press F8 for the boot menu"

BOOT_ITEM_BYTES = 4
LOCAL_BOOT = 0  # a boot item's type: the client boots its own disk, and needs nothing of us (B-3)
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
    packet: Packet,
    kind: MessageType,
    address: str,
    offer: Offer | None,
    item: BootItem | None = None,
    grant: Grant | None = None,
) -> bytes | None:
    """The datagram that answers `packet` with `offer` on the server `address`; `item` is echoed to who sent one.

    `grant` is the client's address where we give addresses; without an `offer` the reply says nothing of booting.
    None when it cannot hold the boot file's name, or the menu, within what the client takes.
    """
    boot_file, vendor = b"", NO_OPTIONS
    if offer is not None:
        is_first = kind is MessageType.OFFER or grant is not None  # what comes before port 4011 is asked, if it is
        boot_file = offer.file_of(item.type if item else None).encode()
        vendor = build_options(_vendor_options(address, offer, item, is_first=is_first))
        if not 0 < len(boot_file) <= OPTION_BYTES or len(vendor) > VENDOR_BYTES:
            return None
        if is_first and offer.flow in ("binl", "menu"):
            boot_file = b""  # with one, firmware would load it and never come to port 4011 (P-1, P-3)
    in_header = boot_file if len(boot_file) < FILE_BYTES else b""
    options = _options(packet, kind, address, offer, boot_file)
    if grant is not None:
        options |= _lease_options(packet, grant)
    if vendor != NO_OPTIONS:  # an empty option 43 would be another message than none (P-2)
        options[Option.VENDOR_SPECIFIC] = vendor
    _append_last(options, packet, boot_file)
    # What the header says too may be left out where a client takes little and a relay's option 82 is long; and so may
    # the client's own identifier, which RFC 6842 wants echoed, but which is as long as the client likes.
    spare = (Option.SERVER_NAME, *([Option.BOOT_FILE] if in_header else []), Option.CLIENT_ID)
    for dropped in range(len(spare) + 1):
        kept = {code: value for code, value in options.items() if code not in spare[:dropped]}
        reply = build_packet(_header(packet, kind, address, in_header, item, kept, grant, boots=offer is not None))
        if len(reply) <= largest_reply(packet):
            return reply
    return None


def build_refusal(packet: Packet, address: str, reason: str) -> bytes | None:
    """The NAK that has a client begin anew (RFC 2131 §4.3.2, table 3); None when it is more than the client takes."""
    options: dict[int, bytes] = {
        Option.MESSAGE_TYPE: bytes((MessageType.NAK,)),
        Option.SERVER_ID: IPv4Address(address).packed,
        Option.MESSAGE: reason.encode()[:OPTION_BYTES],
    }
    _append_last(options, packet, b"")
    reply = build_packet(
        Packet(
            op=Op.REPLY,
            htype=packet.htype,
            hlen=packet.hlen,
            chaddr=packet.chaddr,
            xid=packet.xid,
            flags=packet.flags | Flag.BROADCAST,  # the client's address is wrong: a relay must not send to it
            giaddr=packet.giaddr,
            options=options,
        )
    )
    return reply if len(reply) <= largest_reply(packet) else None


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
    # Broadcast, whatever the flag says, even where we give the address: a client that is configuring itself hears it,
    # and the kernel's neighbour table need not be told of a machine that has no address yet (D-1, D-23).
    return (EVERYONE, CLIENT_PORT)


def _header(
    packet: Packet,
    kind: MessageType,
    address: str,
    file: bytes,
    item: BootItem | None,
    options: dict[int, bytes],
    grant: Grant | None,
    *,
    boots: bool,
) -> Packet:
    """The reply around its options; the hardware address, relay and transaction are echoed (quirks D-2, D-11)."""
    # A proxy's yiaddr stays 0: by that EDK2 tells its reply from a DHCP server's (D-3). Only the answer to a boot item
    # carries the client's address there and 0 in ciaddr, the form that dnsmasq has taught the world's ROMs (B-2).
    known = packet.ciaddr if kind is MessageType.ACK else NO_ADDRESS
    given = (NO_ADDRESS if item is None else known) if grant is None else grant.address
    return Packet(
        op=Op.REPLY,
        htype=packet.htype,
        hlen=packet.hlen,
        chaddr=packet.chaddr,
        hops=packet.hops,
        xid=packet.xid,
        # With no yiaddr to send to, a relay must broadcast too, whatever its client asked for (D-1).
        flags=packet.flags | Flag.BROADCAST if NO_ADDRESS == known == given else packet.flags,
        ciaddr=known if item is None else NO_ADDRESS,
        yiaddr=given,
        # siaddr, sname, 54 and 66 are all the same, since each firmware believes another (P-4, D-4).
        siaddr=address if boots else NO_ADDRESS,
        giaddr=packet.giaddr,
        sname=address.encode() if boots else b"",
        file=file,
        options=options,
    )


def _options(
    packet: Packet, kind: MessageType, address: str, offer: Offer | None, boot_file: bytes
) -> dict[int, bytes]:
    """The reply's first options, in their order on the wire."""
    options: dict[int, bytes] = {
        Option.MESSAGE_TYPE: bytes((kind,)),
        Option.SERVER_ID: IPv4Address(address).packed,
    }
    if offer is None:
        return options
    uuid = packet.options.get(Option.CLIENT_UUID, b"")
    if is_uuid_option(uuid):  # some Intel ROMs boot only when it is echoed (P-1); one of another form is not (D-9)
        options[Option.CLIENT_UUID] = uuid
    # EDK2's HTTP boot drops what is not its own class, and its PXE what is: never both in one reply (P-10).
    options[Option.VENDOR_CLASS] = HTTP_CLASS if offer.flow == "http" else PXE_CLASS
    if boot_file:  # else it is the flow's point to say no more than where port 4011 is; the header names us too (D-4)
        options[Option.SERVER_NAME] = address.encode()
    if Option.TFTP_SERVER in packet.options.get(Option.REQUESTED_OPTIONS, b""):  # some look nowhere else (D-16)
        options[Option.TFTP_SERVER] = IPv4Address(address).packed
    return options


def _lease_options(packet: Packet, grant: Grant) -> dict[int, bytes]:
    """What a host needs beside its address; whether it asks for them or not, since they are few (RFC 2131 table 3)."""
    network = grant.network
    told: dict[int, bytes] = {Option.SUBNET_MASK: network.subnet.netmask.packed}
    if grant.seconds is not None:
        told[Option.LEASE_TIME] = grant.seconds.to_bytes(4, "big")
    if network.router is not None:
        told[Option.ROUTER] = IPv4Address(network.router).packed
    if network.dns:
        told[Option.DNS] = b"".join(IPv4Address(server).packed for server in network.dns)
    if network.domain:
        told[Option.DOMAIN] = network.domain.encode()
    if Option.CLIENT_ID in packet.options:
        told[Option.CLIENT_ID] = packet.options[Option.CLIENT_ID]  # RFC 6842 §3
    return told


def _append_last(options: dict[int, bytes], packet: Packet, boot_file: bytes) -> None:
    if boot_file:
        # Last but for the relay's own, and without a NUL (D-5): older EDK2 writes one behind it by itself, over
        # whatever byte stands there (PxeBcParseDhcp4Packet), and END is the only one that nobody misses.
        options[Option.BOOT_FILE] = boot_file
    if Option.RELAY_AGENT in packet.options:  # some relays forward only what comes back with it (D-2, RFC 3046 §2.2)
        options[Option.RELAY_AGENT] = packet.options[Option.RELAY_AGENT]


def _vendor_options(address: str, offer: Offer, item: BootItem | None, *, is_first: bool) -> dict[int, bytes]:
    """Option 43: what the machine is to do with the reply; empty where that it is absent is the message."""
    if item is not None:
        return {PxeOption.BOOT_ITEM: item.as_bytes}  # the answer to a question about one item echoes it (B-3)
    if offer.flow == "http":
        return {}
    if is_first and offer.flow == "binl":
        return {}  # any of 43.6 to 43.10 makes the offer "PXE 1.0", of which EDK2 keeps the first alone (P-2)
    if is_first and offer.flow == "menu":
        return _menu(address, offer)
    # "Load the boot file at once" is what makes the offer complete; without it BIOS ROMs and UEFI go to port 4011,
    # and some UEFI never comes back from there (P-1, P-2, P-5).
    control: dict[int, bytes] = {PxeOption.DISCOVERY_CONTROL: bytes((DiscoveryControl.USE_BOOT_FILE,))}
    if offer.banner:  # Raspberry Pi's ROM goes on only when it reads its own name in a menu (D-27)
        control |= {PxeOption.BOOT_MENU: _menu_line(LOCAL_BOOT, offer.banner), PxeOption.MENU_PROMPT: b"\0PXE"}
    return control


def _menu(address: str, offer: Offer) -> dict[int, bytes]:
    """A boot menu whose items are all asked for here, by unicast, and nowhere else (PXE 2.1 table 2-1)."""
    control = DiscoveryControl.NO_BROADCAST | DiscoveryControl.NO_MULTICAST | DiscoveryControl.LISTED_SERVERS_ONLY
    types = range(FIRST_ITEM_TYPE, FIRST_ITEM_TYPE + len(offer.menu))
    one_server = b"\1" + IPv4Address(address).packed  # the same that siaddr and option 54 name (P-4)
    lines = (_menu_line(each, item.text) for each, item in zip(types, offer.menu, strict=True))
    return {
        PxeOption.DISCOVERY_CONTROL: bytes((control,)),
        PxeOption.BOOT_SERVERS: b"".join(each.to_bytes(2, "big") + one_server for each in types),
        PxeOption.BOOT_MENU: b"".join(lines),
        # A menu without a prompt ends in PXE-E74 on BIOS (P-9).
        PxeOption.MENU_PROMPT: bytes((offer.menu_seconds,)) + MENU_PROMPT,
    }


def _menu_line(item_type: int, text: str) -> bytes:
    """One item of 43.9: type(2), length(1), text."""
    line = text.encode()[:OPTION_BYTES]  # with what is cut off here no menu fits anyway
    return item_type.to_bytes(2, "big") + bytes((len(line),)) + line
