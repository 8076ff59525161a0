"""Replies, field by field, each for the firmware that needs it so."""

from dataclasses import replace

import pytest

from protocols.dhcp.offer import FIRST_ITEM_TYPE, MenuItem, Offer
from protocols.dhcp.reply import LARGEST_REPLY, BootItem, build_reply, largest_reply, parse_boot_item, reply_destination
from protocols.dhcp.request import Via
from protocols.dhcp.wire import HEADER, MessageType, Op, Option, Packet, build_options, parse_packet
from protocols.errors import WireError

BOX = "10.77.0.2"
UUID = b"\0" + bytes(range(16))
DISCOVER = Packet(
    op=Op.REQUEST,
    xid=0xCAFE,
    htype=1,
    hlen=6,
    chaddr=bytes.fromhex("525400770001") + b"left alone",
    options={Option.CLIENT_UUID: UUID, Option.VENDOR_CLASS: b"PXEClient"},
)
OFFER = Offer("loader")
MENU = Offer("loader", "menu", (MenuItem("One", "one.efi"), MenuItem("Two", "two.efi")), menu_seconds=3)
ASKING = replace(DISCOVER, ciaddr="10.77.0.173")
SMALLEST_ALLOWED = 548


def bytes_of(packet: Packet, kind: MessageType, offered: Offer = OFFER, item: BootItem | None = None) -> bytes:
    """The reply to a packet, which must fit."""
    reply = build_reply(packet, kind, BOX, offered, item)
    assert reply is not None
    return reply


def offer(packet: Packet, offered: Offer = OFFER) -> Packet:
    """The offer made to a packet, read back."""
    return parse_packet(bytes_of(packet, MessageType.OFFER, offered))


def ack(packet: Packet, item: BootItem | None = None, offered: Offer = OFFER) -> Packet:
    """The boot server's answer to a packet, read back."""
    return parse_packet(bytes_of(packet, MessageType.ACK, offered, item))


def test_offer_is_complete() -> None:
    """Whatever a firmware family looks for is in the one offer (P-1 to P-5)."""
    assert offer(DISCOVER).options == {
        Option.MESSAGE_TYPE: b"\2",
        Option.SERVER_ID: bytes((10, 77, 0, 2)),
        Option.CLIENT_UUID: UUID,
        Option.VENDOR_CLASS: b"PXEClient",
        Option.SERVER_NAME: b"10.77.0.2",
        Option.VENDOR_SPECIFIC: b"\6\1\x08\xff",
        Option.BOOT_FILE: b"loader",
    }


def test_offer_names_file_and_server_in_the_header_too() -> None:
    """shim reads nothing else (D-4, D-5, G-1)."""
    header = offer(DISCOVER)
    assert (header.file, header.sname, header.siaddr) == (b"loader", b"10.77.0.2", BOX)


def test_offer_gives_no_address() -> None:
    """A proxy's yiaddr is 0, in the bytes themselves; ciaddr is of no meaning in an offer (D-3)."""
    assert bytes_of(ASKING, MessageType.OFFER)[12:20] == bytes(8)


def test_transaction_and_hardware_address_are_echoed() -> None:
    """All of chaddr, beyond its length too (D-11)."""
    reply = offer(replace(DISCOVER, htype=6, hlen=16))
    assert (reply.op, reply.xid, reply.htype, reply.hlen, reply.chaddr) == (Op.REPLY, 0xCAFE, 6, 16, DISCOVER.chaddr)


def test_broadcast_flag() -> None:
    """Set where the machine has no address yet, else as it asked (D-1)."""
    assert offer(DISCOVER).flags == 0x8000
    assert ack(DISCOVER).flags == 0x8000
    assert ack(ASKING).flags == 0
    assert ack(replace(ASKING, flags=0x8000)).flags == 0x8000


def test_relay_gets_back_what_it_put_in() -> None:
    """giaddr, hops, and option 82 as the last option (D-2)."""
    relayed = replace(DISCOVER, giaddr="10.9.0.1", hops=2, options={Option.RELAY_AGENT: b"\1\2ab", **DISCOVER.options})
    reply = offer(relayed)
    assert (reply.giaddr, reply.hops) == ("10.9.0.1", 2)
    assert list(reply.options.items())[-1] == (Option.RELAY_AGENT, b"\1\2ab")


def test_boot_file_is_the_last_option() -> None:
    """Older EDK2 overwrites the byte behind it, which may only be END; no NUL is sent."""
    data = bytes_of(DISCOVER, MessageType.OFFER)
    assert data[HEADER.size :].rstrip(b"\0").endswith(b"\x43\6loader\xff")


def test_at_least_bootp_size() -> None:
    """Some ROMs drop shorter packets (D-7)."""
    assert len(bytes_of(replace(DISCOVER, options={}), MessageType.OFFER, Offer("x"))) == 300


@pytest.mark.parametrize("value", [b"", b"\0" * 16, b"\1" + bytes(16)])
def test_uuid_of_another_form_is_not_echoed(value: bytes) -> None:
    """The machine is answered without it (D-9)."""
    assert Option.CLIENT_UUID not in offer(replace(DISCOVER, options={Option.CLIENT_UUID: value})).options


def test_blank_uuid_is_echoed() -> None:
    """A ROM without a UUID compares its zeros all the same."""
    blank: dict[int, bytes] = {Option.CLIENT_UUID: bytes(17)}
    assert offer(replace(DISCOVER, options=blank)).options[Option.CLIENT_UUID] == bytes(17)


def test_boot_server_reply() -> None:
    """An ACK with all that the offer had, and the address that the machine told (B-2)."""
    reply = ack(ASKING)
    assert reply.options == {**offer(DISCOVER).options, Option.MESSAGE_TYPE: b"\5"}
    assert (reply.ciaddr, reply.yiaddr) == ("10.77.0.173", "0.0.0.0")


def test_boot_item_is_echoed() -> None:
    """Who names an item gets it back, and its address in yiaddr (B-3)."""
    reply = ack(ASKING, BootItem(type=0x8000, layer=1))
    assert reply.options[Option.VENDOR_SPECIFIC] == b"\x47\4\x80\0\0\1\xff"
    assert (reply.ciaddr, reply.yiaddr) == ("0.0.0.0", "10.77.0.173")


def test_long_name_is_in_the_option_alone() -> None:
    """The header has room for 127 bytes and a NUL."""
    assert offer(DISCOVER, Offer("x" * 127)).file == b"x" * 127
    reply = offer(DISCOVER, Offer("x" * 128))
    assert (reply.file, reply.options[Option.BOOT_FILE]) == (b"", b"x" * 128)


@pytest.mark.parametrize("boot_file", ["", "x" * 256])
def test_name_that_fits_nowhere(boot_file: str) -> None:
    """No name, or one longer than an option."""
    assert build_reply(DISCOVER, MessageType.OFFER, BOX, Offer(boot_file), None) is None


def test_offer_that_sends_to_port_4011() -> None:
    """BINL: 54, 97 and 60, no boot file and no option 43, byte for byte (P-1, P-2); the header names us (D-4)."""
    data = bytes_of(DISCOVER, MessageType.OFFER, Offer("loader", "binl"))
    options = b"\x35\1\2" + b"\x36\4\x0a\x4d\0\2" + b"\x61\x11" + UUID + b"\x3c\x09PXEClient\xff"
    assert data[HEADER.size :] == options.ljust(len(data) - HEADER.size, b"\0")
    header = parse_packet(data)
    assert (header.file, header.sname, header.siaddr) == (b"", b"10.77.0.2", BOX)


@pytest.mark.parametrize("offered", [Offer("loader", "binl"), replace(MENU, menu=())])
def test_boot_server_is_complete_in_every_flow(offered: Offer) -> None:
    """What the offer left out is said on port 4011 (P-2, B-2)."""
    assert ack(ASKING, offered=offered) == ack(ASKING)


def test_offer_with_a_menu() -> None:
    """43.6, 43.8, 43.9 and 43.10, byte for byte; no boot file, or it would be loaded instead (P-3, P-4, P-9)."""
    offered = offer(DISCOVER, MENU)
    assert offered.options[Option.VENDOR_SPECIFIC] == (
        b"\6\1\7"
        b"\x08\x0e"
        b"\x80\0\1\x0a\x4d\0\2"
        b"\x80\1\1\x0a\x4d\0\2"
        b"\x09\x0c"
        b"\x80\0\3One"
        b"\x80\1\3Two"
        b"\x0a\x1b\3Press F8 for the boot menu"
        b"\xff"
    )
    assert offered.file == b""
    assert not {Option.BOOT_FILE, Option.SERVER_NAME} & offered.options.keys()


@pytest.mark.parametrize(("number", "boot_file"), [(0, b"one.efi"), (1, b"two.efi"), (2, b"loader"), (-1, b"loader")])
def test_boot_server_knows_the_menu(number: int, boot_file: bytes) -> None:
    """An item's type says which file; one that is in no menu gets the machine's own (B-3)."""
    assert ack(ASKING, BootItem(FIRST_ITEM_TYPE + number, 0), MENU).file == boot_file


@pytest.mark.parametrize(("letters", "fits"), [(206, True), (207, False)])
def test_menu_is_one_option(letters: int, fits: bool) -> None:
    """ROMs join no option that comes in pieces (P-9)."""
    offered = replace(MENU, menu=(MenuItem("x" * letters, "one.efi"),))
    reply = build_reply(DISCOVER, MessageType.OFFER, BOX, offered, None)
    assert (reply is not None) == fits
    assert reply is None or len(parse_packet(reply).options[Option.VENDOR_SPECIFIC]) == 253


def test_menu_line_of_any_length() -> None:
    """One that its length byte can't say does not fit."""
    assert build_reply(DISCOVER, MessageType.OFFER, BOX, replace(MENU, menu=(MenuItem("x" * 256, "y"),)), None) is None


def test_offer_for_http_boot() -> None:
    """54, 97, 60 and 67, under HTTP boot's own class and without option 43 (P-10); the URL is in the header too."""
    offered = offer(DISCOVER, Offer("http://10.77.0.2/boot.efi", "http"))
    assert offered.options == {
        Option.MESSAGE_TYPE: b"\2",
        Option.SERVER_ID: bytes((10, 77, 0, 2)),
        Option.CLIENT_UUID: UUID,
        Option.VENDOR_CLASS: b"HTTPClient",
        Option.SERVER_NAME: b"10.77.0.2",
        Option.BOOT_FILE: b"http://10.77.0.2/boot.efi",
    }
    assert offered.file == b"http://10.77.0.2/boot.efi"


def test_tftp_server_for_who_asks_for_it() -> None:
    """Some firmware, and phones, look for us in option 150 alone (D-16); nobody else is sent it."""
    asking: dict[int, bytes] = {**DISCOVER.options, Option.REQUESTED_OPTIONS: b"\x42\x96"}
    assert offer(replace(DISCOVER, options=asking)).options[Option.TFTP_SERVER] == bytes((10, 77, 0, 2))
    assert Option.TFTP_SERVER not in offer(DISCOVER).options


def test_offer_with_a_banner() -> None:
    """Raspberry Pi's ROM reads its own name in the menu of an offer that is complete otherwise (D-27)."""
    offered = offer(DISCOVER, Offer("loader", banner="Raspberry Pi Boot"))
    assert offered.options[Option.VENDOR_SPECIFIC] == b"\6\1\x08\x09\x14\0\0\x11Raspberry Pi Boot\x0a\4\0PXE\xff"
    assert offered.file == b"loader"


def with_relay_data(size: int) -> Packet:
    """A DISCOVER to which a relay added this much."""
    return replace(DISCOVER, options={**DISCOVER.options, Option.RELAY_AGENT: bytes(size)})


@pytest.mark.parametrize(
    ("relay_data", "left_out"),
    [
        (241, set()),
        (242, {Option.SERVER_NAME}),
        (252, {Option.SERVER_NAME}),
        (253, {Option.SERVER_NAME, Option.BOOT_FILE}),
        (255, {Option.SERVER_NAME, Option.BOOT_FILE}),
    ],
)
def test_what_the_header_says_too_is_left_out_first(relay_data: int, left_out: set[Option]) -> None:
    """When a relay's option takes the room that the client has."""
    every = {*offer(DISCOVER).options, Option.RELAY_AGENT}
    data = bytes_of(with_relay_data(relay_data), MessageType.OFFER)
    assert parse_packet(data).options.keys() == every - left_out
    assert len(data) <= SMALLEST_ALLOWED


def test_no_room_at_all() -> None:
    """Then there is no reply, rather than one that the client drops."""
    assert build_reply(with_relay_data(400), MessageType.OFFER, BOX, OFFER, None) is None


@pytest.mark.parametrize(
    ("allowed", "largest"),
    [(None, SMALLEST_ALLOWED), (100, SMALLEST_ALLOWED), (576, SMALLEST_ALLOWED), (1472, 1444), (0xFF00, LARGEST_REPLY)],
)
def test_largest_reply(allowed: int | None, largest: int) -> None:
    """Option 57 counts IP and UDP headers in; 576 is for everyone; never beyond what EDK2 and Ethernet take (D-7)."""
    options: dict[int, bytes] = {} if allowed is None else {Option.MAX_MESSAGE_SIZE: allowed.to_bytes(2, "big")}
    assert largest_reply(replace(DISCOVER, options=options)) == largest


@pytest.mark.parametrize(
    ("packet", "kind", "via", "source", "destination"),
    [
        (DISCOVER, MessageType.OFFER, "67", ("0.0.0.0", 68), ("255.255.255.255", 68)),
        (ASKING, MessageType.OFFER, "67", ("10.77.0.173", 68), ("255.255.255.255", 68)),
        (replace(ASKING, giaddr="10.9.0.1"), MessageType.ACK, "67", ("10.9.0.1", 67), ("10.9.0.1", 67)),
        (ASKING, MessageType.ACK, "67", ("10.77.0.173", 68), ("10.77.0.173", 68)),
        (DISCOVER, MessageType.ACK, "67", ("0.0.0.0", 68), ("255.255.255.255", 68)),
        (ASKING, MessageType.ACK, "4011", ("10.77.0.173", 4011), ("10.77.0.173", 4011)),
        (replace(ASKING, giaddr="10.9.0.1"), MessageType.ACK, "4011", ("10.77.0.173", 68), ("10.77.0.173", 68)),
        (DISCOVER, MessageType.ACK, "4011", ("0.0.0.0", 4011), ("255.255.255.255", 4011)),
    ],
)
def test_destination(
    packet: Packet, kind: MessageType, via: Via, source: tuple[str, int], destination: tuple[str, int]
) -> None:
    """On 67 by relay, address or broadcast; on 4011 back where it came from (D-1, D-2, B-1)."""
    assert reply_destination(packet, kind, via, source) == destination


@pytest.mark.parametrize(
    ("suboptions", "item"),
    [
        ({}, None),
        ({8: b"\0"}, None),
        ({71: b"\x80\0\0\0"}, BootItem(type=0x8000, layer=0)),
        ({71: b"\0\1\x80\2"}, BootItem(type=1, layer=0x8002)),
    ],
)
def test_boot_item(suboptions: dict[int, bytes], item: BootItem | None) -> None:
    """43.71 is type and layer."""
    packet = replace(DISCOVER, options={Option.VENDOR_SPECIFIC: build_options(suboptions)})
    assert parse_boot_item(packet) == item


def test_signature() -> None:
    """The layer's top bit asks for one."""
    assert BootItem(type=1, layer=0x8000).wants_signature
    assert not BootItem(type=0x8000, layer=0x7FFF).wants_signature


def test_boot_item_of_the_wrong_length() -> None:
    """It is malformed."""
    with pytest.raises(WireError, match=r"43\.71 has 3 bytes"):
        parse_boot_item(replace(DISCOVER, options={Option.VENDOR_SPECIFIC: b"\x47\3\0\0\0"}))
