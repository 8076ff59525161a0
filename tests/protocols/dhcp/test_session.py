"""Who is answered, and with what events: captures of real machines, and the ones that must get silence."""

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.dhcp.offer import FIRST_ITEM_TYPE, Flow, MenuItem, Offer, Refusal
from protocols.dhcp.reply import LARGEST_REPLY
from protocols.dhcp.request import BootRequest, Via
from protocols.dhcp.session import (
    IPXE_REPEATS,
    BootServerAsked,
    Discovered,
    HostSeen,
    HttpBootAsked,
    Offered,
    Outcome,
    Refused,
    answer,
)
from protocols.dhcp.wire import MIN_PACKET, MessageType, Op, Option, Packet, build_packet, parse_packet
from protocols.errors import WireError
from tests.protocols.dhcp.vectors import read_capture

BOX = "10.77.0.2"
BOX_ID = bytes((10, 77, 0, 2))
ROUTER_ID = bytes((10, 77, 0, 1))
MAC = "52:54:00:77:00:01"
NOBODY = ("0.0.0.0", 68)
OFFER = Offer("loader.bin")
URL_OFFER = Offer("http://10.77.0.2/boot.efi", "http")
REFUSAL = Refusal("no loader")
SEEN = HostSeen(MAC, None)


def plan(request: BootRequest) -> Offer | Refusal:
    """Everyone is offered the same."""
    return OFFER


def refuse(request: BootRequest) -> Offer | Refusal:
    """Nobody is offered anything."""
    return REFUSAL


def request(message: MessageType | None, **options: bytes) -> Packet:
    """A PXE client's packet; options are given by name, and without a value left out."""
    named = {"VENDOR_CLASS": b"PXEClient:Arch:00000:UNDI:002001", "ARCHITECTURE": b"\0\0", **options}
    codes: dict[int, bytes] = {} if message is None else {Option.MESSAGE_TYPE: bytes((message,))}
    codes |= {Option[name]: value for name, value in named.items() if value}
    return Packet(op=Op.REQUEST, xid=7, chaddr=bytes.fromhex("525400770001").ljust(16, b"\0"), options=codes)


def settle(
    packet: Packet, via: Via = "67", source: tuple[str, int] = NOBODY, offered: Offer | Refusal = OFFER
) -> Outcome:
    """What becomes of a packet."""
    return answer(build_packet(packet), via=via, source=source, address=BOX, plan=lambda asked: offered)


HTTP_CLASS = b"HTTPClient:Arch:00016:UNDI:003001"
HTTP_CLIENT = request(MessageType.DISCOVER, VENDOR_CLASS=HTTP_CLASS, ARCHITECTURE=b"\0\x10")


@pytest.mark.parametrize(
    ("name", "number", "via", "source"),
    [
        ("ovmf", 0, "67", NOBODY),
        ("ovmf-4011", -1, "4011", ("10.77.0.173", 4011)),
        ("ipxe-rom", 0, "67", NOBODY),
        ("ipxe-rom-4011", -1, "4011", ("10.77.0.173", 68)),
    ],
)
def test_replies_that_firmware_took(name: str, number: int, via: Via, source: tuple[str, int]) -> None:
    """Byte for byte what that machine booted from when it was captured."""
    outcome = answer(read_capture(name)[number], via=via, source=source, address=BOX, plan=plan)
    assert outcome.answer is not None
    assert outcome.answer.datagram == read_capture(f"{name}-reply")[0]
    assert outcome.answer.destination == (source if via == "4011" else ("255.255.255.255", 68))


@pytest.mark.parametrize(("name", "number"), [("ovmf", 0), ("ipxe-rom-4011", -1), ("ipxe-rom", 0)])
def test_only_ipxes_offer_is_sent_again(name: str, number: int) -> None:
    """Firmware asks again by itself for half a minute, and whoever asks on port 4011 has its answer's address."""
    via: Via = "4011" if "4011" in name else "67"
    outcome = answer(read_capture(name)[number], via=via, source=("10.77.0.173", 68), address=BOX, plan=plan)
    assert outcome.answer is not None
    assert outcome.answer.repeats == (IPXE_REPEATS if name == "ipxe-rom" else ())


@pytest.mark.parametrize("name", ["ovmf", "ipxe-rom", "ipxe-snponly", "ipxe-undionly"])
def test_requests_to_the_real_dhcp_server(name: str) -> None:
    """Every machine's REQUEST names the server it goes to, and is heard as a sign of life (D-18)."""
    packet = read_capture(name)[1]
    outcome = answer(packet, via="67", source=NOBODY, address=BOX, plan=plan)
    assert outcome == Outcome("for_others", events=(HostSeen(MAC, "10.77.0.173", is_leasing=True),))


def test_discover() -> None:
    """Discovered, then offered."""
    outcome = settle(request(MessageType.DISCOVER))
    asked = outcome.events[1]
    assert isinstance(asked, Discovered)
    assert outcome.counted == "offers"
    assert outcome.events == (SEEN, Discovered(asked.request), Offered(asked.request, OFFER))


@pytest.mark.parametrize("message", [MessageType.REQUEST, MessageType.INFORM])
def test_boot_server(message: MessageType) -> None:
    """Port 4011 answers both kinds, by an ACK."""
    outcome = settle(replace(request(message), ciaddr="10.77.0.9"), "4011", ("10.77.0.9", 4011))
    assert outcome.counted == "boot_server_replies"
    assert outcome.answer is not None
    assert parse_packet(outcome.answer.datagram).options[Option.MESSAGE_TYPE] == bytes((MessageType.ACK,))
    assert [type(event) for event in outcome.events] == [BootServerAsked]


@pytest.mark.parametrize(
    ("message", "server"),
    [(MessageType.REQUEST, BOX_ID), (MessageType.INFORM, BOX_ID), (MessageType.INFORM, b"")],
)
def test_named_on_port_67(message: MessageType, server: bytes) -> None:
    """There a REQUEST is ours when it names us, an INFORM when it names nobody else (D-18)."""
    outcome = settle(request(message, SERVER_ID=server))
    assert outcome.counted == "boot_server_replies"
    assert [type(event) for event in outcome.events] == [HostSeen, BootServerAsked]


@pytest.mark.parametrize("message", [MessageType.REQUEST, MessageType.INFORM])
def test_named_where_a_dhcp_server_has_our_address(message: MessageType) -> None:
    """It is meant: a second ACK, of no address, could be taken for the lease (D-22)."""
    packet = build_packet(request(message, SERVER_ID=BOX_ID))
    outcome = answer(packet, via="67", source=NOBODY, address=BOX, plan=plan, is_shared=True)
    assert (outcome.counted, outcome.answer) == ("for_others", None)


@pytest.mark.parametrize(
    ("packet", "via"),
    [
        (request(MessageType.REQUEST), "67"),
        (request(MessageType.REQUEST, SERVER_ID=ROUTER_ID), "67"),
        (request(MessageType.INFORM, SERVER_ID=ROUTER_ID), "67"),
        (request(MessageType.DECLINE), "67"),
        (request(MessageType.RELEASE), "67"),
        (request(MessageType.DISCOVER), "4011"),
    ],
)
def test_for_others(packet: Packet, via: Via) -> None:
    """A PXE client's words to other servers."""
    outcome = settle(packet, via)
    assert (outcome.counted, outcome.answer) == ("for_others", None)


@pytest.mark.parametrize("message", MessageType)
@pytest.mark.parametrize("via", ["67", "4011"])
def test_plain_clients_get_silence(message: MessageType, via: Via) -> None:
    """Whatever they say; on port 67 they are a sign of life."""
    outcome = settle(request(message, VENDOR_CLASS=b"udhcp 1.35.0", REQUESTED_ADDRESS=b"\x0a\x4d\0\x09"), via)
    seen = (HostSeen(MAC, "10.77.0.9", message is MessageType.REQUEST),) if via == "67" else ()
    assert outcome == Outcome("plain_clients", events=seen)


@pytest.mark.parametrize(
    ("offered", "reason"),
    [(REFUSAL, "no loader"), (OFFER, "its firmware asks for UEFI HTTP boot, and it is offered PXE alone")],
)
def test_http_boot_without_a_url_gets_silence(offered: Offer | Refusal, reason: str) -> None:
    """It is told of, so that it can be logged."""
    outcome = settle(HTTP_CLIENT, offered=offered)
    assert (outcome.counted, outcome.answer) == ("http_clients", None)
    seen, asked = outcome.events
    assert isinstance(asked, HttpBootAsked)
    assert (seen, asked.reason) == (SEEN, reason)


def test_http_boot() -> None:
    """Who asks for it is offered a URL under its own class, and nothing of PXE (P-10)."""
    outcome = settle(HTTP_CLIENT, offered=URL_OFFER)
    assert outcome.answer is not None
    reply = parse_packet(outcome.answer.datagram)
    assert reply.options[Option.VENDOR_CLASS] == b"HTTPClient"
    assert reply.options[Option.BOOT_FILE] == URL_OFFER.boot_file.encode()
    assert [type(event) for event in outcome.events] == [HostSeen, Discovered, Offered]


def test_no_url_for_pxe() -> None:
    """Its firmware would look for a file of that name (P-10)."""
    outcome = settle(request(MessageType.DISCOVER), offered=URL_OFFER)
    assert (outcome.counted, outcome.answer) == ("refused", None)


@pytest.mark.parametrize(("number", "boot_file"), [(0, b"one.efi"), (1, b"two.efi"), (2, b"one.efi")])
def test_item_of_the_menu(number: int, boot_file: bytes) -> None:
    """The boot server gives the file behind the item; the first for one that the menu does not have (B-3)."""
    menu = (MenuItem("One", "one.efi"), MenuItem("Two", "two.efi"))
    item = b"\x47\4" + (FIRST_ITEM_TYPE + number).to_bytes(2, "big") + b"\0\0"
    packet = request(MessageType.REQUEST, VENDOR_SPECIFIC=item)
    outcome = settle(packet, "4011", ("10.77.0.9", 4011), Offer("one.efi", "menu", menu))
    assert outcome.answer is not None
    reply = parse_packet(outcome.answer.datagram)
    assert (reply.file, reply.options[Option.VENDOR_SPECIFIC]) == (boot_file, item + b"\xff")


@pytest.mark.parametrize("name", ["ovmf-menu", "ipxe-rom-menu"])
def test_firmware_that_was_given_a_menu(name: str) -> None:
    """It asks for the item that it takes by itself, and gets that one's file."""
    menu = (MenuItem("One", "one.efi"), MenuItem("Two", "two.efi"))
    offered = Offer("none.efi", "menu", menu)
    source = ("10.77.0.173", 4011)
    outcome = answer(read_capture(name)[-1], via="4011", source=source, address=BOX, plan=lambda asked: offered)
    assert outcome.answer is not None
    assert parse_packet(outcome.answer.datagram).file == b"one.efi"


def test_menu_that_does_not_fit() -> None:
    """The operator is told."""
    menu = (MenuItem("x" * 250, "one.efi"),)
    outcome = settle(request(MessageType.DISCOVER), offered=Offer("one.efi", "menu", menu))
    assert outcome.answer is None
    assert isinstance(outcome.events[-1], Refused)
    assert outcome.events[-1].reason == "the menu does not fit in a reply of 548 bytes"


def test_local_boot() -> None:
    """Item type 0 is the machine's own disk: there is nothing to give (B-3)."""
    packet = request(MessageType.REQUEST, VENDOR_SPECIFIC=b"\x47\4\0\0\0\0")
    assert settle(packet, "4011", ("10.77.0.9", 4011)) == Outcome("local_boots")


@pytest.mark.parametrize("packet", [request(None), replace(request(MessageType.OFFER), op=Op.REPLY)])
def test_no_dhcp_request(packet: Packet) -> None:
    """BOOTP without DHCP, and other servers' replies."""
    assert settle(packet) == Outcome("not_dhcp_requests")


def test_hardware_address_that_is_no_mac() -> None:
    """Such a machine boots, but is no sign of life of any MAC."""
    outcome = settle(replace(request(MessageType.DISCOVER), hlen=16))
    assert [type(event) for event in outcome.events] == [Discovered, Offered]


def test_refused_discover() -> None:
    """No reply, and the reason."""
    datagram = build_packet(request(MessageType.DISCOVER))
    outcome = answer(datagram, via="67", source=NOBODY, address=BOX, plan=refuse)
    asked = outcome.events[1]
    assert isinstance(asked, Discovered)
    assert outcome == Outcome("refused", events=(SEEN, asked, Refused(asked.request, "no loader")))


def test_left_alone() -> None:
    """A machine that is wanted to boot without us is no refusal: nothing is told of it but that it lives."""
    outcome = settle(request(MessageType.DISCOVER), offered=Refusal("switched off", is_wanted=True))
    assert outcome == Outcome("left_alone", events=(SEEN,))


def test_refused_on_4011() -> None:
    """The boot server was asked in vain."""
    datagram = build_packet(request(MessageType.REQUEST))
    outcome = answer(datagram, via="4011", source=("10.77.0.9", 68), address=BOX, plan=refuse)
    asked = outcome.events[0]
    assert isinstance(asked, BootServerAsked)
    assert asked.offer is None
    assert outcome == Outcome("refused", events=(asked, Refused(asked.request, "no loader")))


def test_signed_boot_file() -> None:
    """A boot item with the BIS bit is refused (B-3)."""
    outcome = settle(request(MessageType.REQUEST, VENDOR_SPECIFIC=b"\x47\4\0\1\x80\0\xff"), "4011", ("10.77.0.9", 68))
    assert outcome.answer is None
    assert isinstance(outcome.events[-1], Refused)
    assert "signed boot file" in outcome.events[-1].reason


def test_boot_item() -> None:
    """A boot item is echoed; in a DISCOVER it has no meaning."""
    item = b"\x47\4\x80\0\0\0\xff"
    outcome = settle(request(MessageType.REQUEST, VENDOR_SPECIFIC=item), "4011", ("10.77.0.9", 68))
    assert outcome.answer is not None
    assert parse_packet(outcome.answer.datagram).options[Option.VENDOR_SPECIFIC] == item
    offered = settle(request(MessageType.DISCOVER, VENDOR_SPECIFIC=item)).answer
    assert offered is not None
    assert parse_packet(offered.datagram).options[Option.VENDOR_SPECIFIC] == b"\6\1\x08\xff"


def test_name_that_does_not_fit() -> None:
    """The operator is told, the machine is not sent half an offer."""
    datagram = build_packet(request(MessageType.DISCOVER))
    outcome = answer(datagram, via="67", source=NOBODY, address=BOX, plan=lambda asked: Offer("x" * 256))
    assert outcome.answer is None
    assert isinstance(outcome.events[-1], Refused)
    assert outcome.events[-1].reason == "the boot file's name does not fit in a reply of 548 bytes"


def test_malformed_option() -> None:
    """A broken option that the answer rests on makes the packet malformed."""
    with pytest.raises(WireError, match="option 57 has 1 bytes"):
        settle(request(MessageType.DISCOVER, MAX_MESSAGE_SIZE=b"\5"))


known_options = st.sampled_from([int(option) for option in Option if option not in (Option.PAD, Option.END)])
vendor_classes = st.sampled_from([b"PXEClient", b"PXEClient:Arch:00007:UNDI:003000", b"HTTPClient", b"", b"MSFT 5.0"])
noise = st.dictionaries(known_options, st.binary(max_size=300), max_size=5)


@settings(deadline=None)
@given(
    options=noise,
    vendor_class=vendor_classes,
    message=st.integers(0, 255),
    via=st.sampled_from(("67", "4011")),
    giaddr=st.sampled_from(("0.0.0.0", "10.9.0.1")),
    hlen=st.integers(0, 16),
    boot_file=st.text(max_size=300),
    flow=st.sampled_from(get_args(Flow)),
)
def test_any_client(
    options: dict[int, bytes],
    vendor_class: bytes,
    message: int,
    via: Via,
    giaddr: str,
    hlen: int,
    boot_file: str,
    flow: Flow,
) -> None:
    """Never a NAK, never an address, never too long or short, never PXE's words to HTTP boot, nor to anyone else."""
    fixed: dict[int, bytes] = {Option.MESSAGE_TYPE: bytes((message,)), Option.VENDOR_CLASS: vendor_class}
    packet = Packet(op=Op.REQUEST, xid=1, hlen=hlen, giaddr=giaddr, options={**options, **fixed})
    try:
        outcome = settle(packet, via, offered=Offer(boot_file, flow))
    except WireError:
        return
    if outcome.answer is None:
        return
    assert vendor_class.startswith((b"PXEClient", b"HTTPClient")) or b"iPXE" in options.get(Option.USER_CLASS, b"")
    reply = parse_packet(outcome.answer.datagram)
    assert (reply.options[Option.VENDOR_CLASS] == b"HTTPClient") == vendor_class.startswith(b"HTTPClient")
    assert reply.options[Option.MESSAGE_TYPE] == bytes((MessageType.OFFER if via == "67" and message == 1 else 5,))
    assert MIN_PACKET <= len(outcome.answer.datagram) <= LARGEST_REPLY
    assert (reply.xid, reply.hlen, reply.giaddr, reply.yiaddr) == (1, hlen, giaddr, "0.0.0.0")


@settings(deadline=None)
@given(st.binary(max_size=600), st.sampled_from(("67", "4011")))
def test_any_datagram(datagram: bytes, via: Via) -> None:
    """Junk is malformed or gets silence."""
    try:
        outcome = answer(datagram, via=via, source=NOBODY, address=BOX, plan=plan)
    except WireError:
        return
    assert outcome.answer is None
