"""Replies with an address: byte by byte what RFC 2131 wants in them, where they go, and what boots beside."""

from dataclasses import replace
from typing import Any

import pytest

from protocols.dhcp.leasing.lease import LeaseState
from protocols.dhcp.leasing.lessor import Lessor
from protocols.dhcp.offer import MenuItem, Offer, Refusal
from protocols.dhcp.request import BootRequest, Via
from protocols.dhcp.session import (
    AddressDenied,
    AddressGiven,
    AddressReturned,
    BootServerAsked,
    Discovered,
    HostSeen,
    HttpBootAsked,
    Offered,
    Outcome,
    PoolExhausted,
    Refused,
    answer,
)
from protocols.dhcp.wire import (
    NO_ADDRESS,
    DiscoveryControl,
    Flag,
    MessageType,
    Option,
    Packet,
    PxeOption,
    build_options,
    build_packet,
    parse_options,
    parse_packet,
)
from tests.protocols.dhcp.leasing.parts import BOX, BOX_ID, HOUR, NOW, OTHER_ID, client, lessor, packed, packet
from tests.protocols.dhcp.vectors import read_capture

FIRST, RELAY = "10.77.0.50", "10.78.0.1"
MAC = client(1).key
EVERYONE = ("255.255.255.255", 68)
PXE: dict[str, Any] = {"VENDOR_CLASS": b"PXEClient:Arch:00007:UNDI:003000", "ARCHITECTURE": b"\0\7"}
HTTP: dict[str, Any] = {"VENDOR_CLASS": b"HTTPClient:Arch:00016:UNDI:003001", "ARCHITECTURE": b"\0\x10"}
LOADER = Offer("loader.efi")


def settle(
    served: Lessor, asked: Packet, offered: Offer | Refusal = LOADER, via: Via = "67", now: float = NOW
) -> Outcome:
    """What becomes of a packet, when every address that may be somebody else's is found to be free."""
    plan = lambda request: offered  # noqa: E731
    while True:
        outcome = answer(
            build_packet(asked), via=via, source=("0.0.0.0", 68), address=BOX, plan=plan, lessor=served, now=now
        )
        if outcome.unchecked is None:
            return outcome
        served.check(asked, outcome.unchecked)


def reply_of(outcome: Outcome) -> Packet:
    """The reply."""
    assert outcome.answer is not None
    return parse_packet(outcome.answer.datagram)


def select(served: Lessor, offered: Offer | Refusal = LOADER, **options: Any) -> Outcome:
    """DISCOVER, then REQUEST of what was offered; what became of the latter."""
    offer = reply_of(settle(served, packet(MessageType.DISCOVER, **options), offered))
    asked = packet(MessageType.REQUEST, SERVER_ID=BOX_ID, REQUESTED_ADDRESS=packed(offer.yiaddr), **options)
    return settle(served, asked, offered)


def test_an_unchecked_address_is_not_offered() -> None:
    """Nothing is planned, counted as offered or told before it is known to be free."""
    asked = build_packet(packet(MessageType.DISCOVER, **PXE))

    def plan(request: BootRequest) -> Offer | Refusal:
        raise AssertionError(request)

    outcome = answer(asked, via="67", source=("0.0.0.0", 68), address=BOX, plan=plan, lessor=lessor(), now=NOW)
    assert outcome == Outcome("checks", events=(HostSeen(MAC, None),), unchecked=FIRST)


def test_plain_client() -> None:
    """An address and what goes with it; nothing of PXE, and no next server."""
    outcome = settle(lessor(), packet(MessageType.DISCOVER, CLIENT_ID=b"\xffid"))
    reply = reply_of(outcome)
    assert outcome.answer is not None
    assert outcome.answer.destination == EVERYONE
    assert (reply.yiaddr, reply.siaddr, reply.sname, reply.file) == (FIRST, NO_ADDRESS, b"", b"")
    assert reply.options == {
        Option.MESSAGE_TYPE: bytes((MessageType.OFFER,)),
        Option.SERVER_ID: BOX_ID,
        Option.SUBNET_MASK: bytes((255, 255, 255, 0)),
        Option.LEASE_TIME: HOUR.to_bytes(4, "big"),
        Option.ROUTER: bytes((10, 77, 0, 1)),
        Option.DNS: bytes((10, 77, 0, 1)),
        Option.DOMAIN: b"lab",
        Option.CLIENT_ID: b"\xffid",
    }


@pytest.mark.parametrize("flags", [0, Flag.BROADCAST])
def test_flags_are_the_clients(flags: int) -> None:
    """A relay that is given an address may send to it, if its client wants that."""
    asked = replace(packet(MessageType.DISCOVER, giaddr=RELAY, RELAY_AGENT=b"\1\4eth0"), flags=flags)
    outcome = settle(lessor(), asked)
    reply = reply_of(outcome)
    assert outcome.answer is not None
    assert outcome.answer.destination == (RELAY, 67)
    assert (reply.flags, reply.yiaddr, reply.giaddr) == (flags, "10.78.0.50", RELAY)
    assert list(reply.options.items())[-1] == (Option.RELAY_AGENT, b"\1\4eth0")


def test_ack_is_of_a_lease_that_is_kept() -> None:
    """And is told of with it."""
    outcome = select(lessor())
    reply = reply_of(outcome)
    assert (outcome.counted, reply.yiaddr) == ("leases", FIRST)
    assert reply.options[Option.MESSAGE_TYPE] == bytes((MessageType.ACK,))
    assert outcome.kept is not None
    assert outcome.events == (HostSeen(MAC, FIRST, is_leasing=True), AddressGiven(outcome.kept, is_new=True))


def test_renewal_is_sent_to_the_client() -> None:
    """By its address, which it has."""
    served = lessor()
    select(served)
    outcome = settle(served, packet(MessageType.REQUEST, ciaddr=FIRST), now=NOW + 60)
    assert outcome.answer is not None
    assert outcome.answer.destination == (FIRST, 68)
    assert reply_of(outcome).ciaddr == FIRST
    assert outcome.kept is not None
    assert outcome.events[1] == AddressGiven(outcome.kept, is_new=False)


@pytest.mark.parametrize("message", [MessageType.DISCOVER, MessageType.REQUEST])
def test_firmware_gets_both_in_one_packet(message: MessageType) -> None:
    """Offer and ACK are complete: address, boot file, "load it at once"."""
    served = lessor()
    outcome = settle(served, packet(message, **PXE)) if message is MessageType.DISCOVER else select(served, **PXE)
    reply = reply_of(outcome)
    assert (reply.yiaddr, reply.siaddr, reply.file) == (FIRST, BOX, b"loader.efi")
    assert reply.options[Option.BOOT_FILE] == b"loader.efi"
    assert reply.options[Option.VENDOR_CLASS] == b"PXEClient"
    vendor = parse_options(reply.options[Option.VENDOR_SPECIFIC])
    assert vendor == {PxeOption.DISCOVERY_CONTROL: bytes((DiscoveryControl.USE_BOOT_FILE,))}


def test_what_is_told_of_firmware() -> None:
    """It discovered and was offered, once; then it has an address. The ACK's plan is no second discovery."""
    asked: list[bool] = []
    served = lessor()

    def plan(request: BootRequest) -> Offer:
        asked.append(request.is_leasing)
        return LOADER

    discover = packet(MessageType.DISCOVER, **PXE)
    served.check(discover, FIRST)
    request = packet(MessageType.REQUEST, SERVER_ID=BOX_ID, REQUESTED_ADDRESS=packed(FIRST), **PXE)
    kinds = []
    for each in (discover, discover, request):
        outcome = answer(
            build_packet(each), via="67", source=("0.0.0.0", 68), address=BOX, plan=plan, lessor=served, now=NOW
        )
        served.check(discover, FIRST)
        kinds += [type(event) for event in outcome.events if not isinstance(event, HostSeen)]
    assert kinds == [Discovered, Offered, AddressGiven]
    assert asked == [False, True]


@pytest.mark.parametrize("message", [MessageType.DISCOVER, MessageType.REQUEST])
@pytest.mark.parametrize(
    "offered",
    [
        Offer("loader.efi", "binl"),
        Offer("loader.efi", "menu", (MenuItem("One", "loader.efi"), MenuItem("Two", "loader.efi"))),
    ],
)
def test_flows_that_go_to_port_4011(message: MessageType, offered: Offer) -> None:
    """Neither offer nor ACK has a boot file: that is asked for there."""
    served = lessor()
    first = message is MessageType.DISCOVER
    reply = reply_of(settle(served, packet(message, **PXE), offered) if first else select(served, offered, **PXE))
    assert (reply.yiaddr, reply.file) == (FIRST, b"")
    assert Option.BOOT_FILE not in reply.options
    assert (Option.VENDOR_SPECIFIC in reply.options) is (offered.flow == "menu")


@pytest.mark.parametrize("message", [MessageType.INFORM, MessageType.REQUEST])
@pytest.mark.parametrize("via", ["67", "4011"])
def test_the_boot_server_is_asked(message: MessageType, via: Via) -> None:
    """By a machine that has its address: the same as beside another DHCP server, and no lease."""
    served = lessor()
    select(served, **PXE)
    asked = packet(message, ciaddr=FIRST, SERVER_ID=BOX_ID, **PXE)
    outcome = settle(served, asked, Offer("loader.efi", "binl"), via)
    reply = reply_of(outcome)
    assert (outcome.counted, reply.file, outcome.kept) == ("boot_server_replies", b"loader.efi", None)
    assert Option.LEASE_TIME not in reply.options
    assert BootServerAsked in [type(event) for event in outcome.events]


def test_http_boot() -> None:
    """A URL, of its own class."""
    reply = reply_of(select(lessor(), Offer("http://10.77.0.2/a.efi", "http"), **HTTP))
    assert reply.options[Option.VENDOR_CLASS] == b"HTTPClient"
    assert reply.options[Option.BOOT_FILE] == b"http://10.77.0.2/a.efi"
    assert Option.VENDOR_SPECIFIC not in reply.options


@pytest.mark.parametrize(
    ("options", "offered", "told"),
    [
        (PXE, Refusal("no loader"), [Discovered, Refused]),
        (PXE, Refusal("left alone", is_wanted=True), []),
        (PXE, Offer("http://10.77.0.2/a.efi", "http"), [Discovered, Refused]),
        (PXE, Offer("n" * 300), [Discovered, Refused]),
        (HTTP, Offer("loader.efi"), [HttpBootAsked]),
    ],
)
def test_nothing_to_boot(options: dict[str, bytes], offered: Offer | Refusal, told: list[type]) -> None:
    """An address all the same, with nothing of booting: firmware goes on to the disk at once. Told once, not twice."""
    served = lessor()
    vendor, architecture = options["VENDOR_CLASS"], options["ARCHITECTURE"]
    outcome = settle(served, packet(MessageType.DISCOVER, VENDOR_CLASS=vendor, ARCHITECTURE=architecture), offered)
    reply = reply_of(outcome)
    assert (reply.yiaddr, reply.siaddr, reply.file) == (FIRST, NO_ADDRESS, b"")
    assert not {Option.VENDOR_CLASS, Option.VENDOR_SPECIFIC, Option.BOOT_FILE} & reply.options.keys()
    assert [type(event) for event in outcome.events[1:]] == told
    acknowledged = select(served, offered, VENDOR_CLASS=vendor, ARCHITECTURE=architecture)
    assert [type(event) for event in acknowledged.events[1:]] == [AddressGiven]


def test_ipxes_offer_is_sent_again() -> None:
    """As a proxy's is; its ACK is not: it asks again for that by itself."""
    served = lessor()
    offer = settle(served, parse_packet(read_capture("ipxe-rom")[0]))
    assert offer.answer is not None
    assert len(offer.answer.repeats) == 2
    request = parse_packet(read_capture("ipxe-rom")[1])
    mine: dict[int, bytes] = {Option.SERVER_ID: BOX_ID, Option.REQUESTED_ADDRESS: packed(FIRST)}
    ack = settle(served, replace(request, options={**request.options, **mine}))
    assert ack.answer is not None
    assert (ack.answer.repeats, reply_of(ack).yiaddr) == ((), FIRST)


@pytest.mark.parametrize(("giaddr", "destination"), [(NO_ADDRESS, EVERYONE), (RELAY, (RELAY, 67))])
def test_refusal(giaddr: str, destination: tuple[str, int]) -> None:
    """A NAK is broadcast, by the relay too: the address that its client thinks it has is wrong (RFC 2131 §4.3.2)."""
    asked = packet(MessageType.REQUEST, giaddr=giaddr, REQUESTED_ADDRESS=packed("192.0.2.1"), RELAY_AGENT=b"\1\1x")
    outcome = settle(lessor(), asked)
    reply = reply_of(outcome)
    assert outcome.answer is not None
    assert (outcome.counted, outcome.answer.destination) == ("denied", destination)
    assert reply.flags == Flag.BROADCAST
    assert (reply.yiaddr, reply.ciaddr, reply.siaddr) == (NO_ADDRESS,) * 3
    assert list(reply.options) == [Option.MESSAGE_TYPE, Option.SERVER_ID, Option.MESSAGE, Option.RELAY_AGENT]
    assert reply.options[Option.MESSAGE_TYPE] == bytes((MessageType.NAK,))
    event = outcome.events[1]
    assert isinstance(event, AddressDenied)
    assert event.address == "192.0.2.1"


def test_refusal_that_does_not_fit() -> None:
    """A relay's option that leaves no room: silence, and it is told of all the same."""
    asked = packet(MessageType.REQUEST, REQUESTED_ADDRESS=packed("192.0.2.1"), RELAY_AGENT=bytes(400))
    outcome = settle(lessor(), asked)
    assert (outcome.counted, outcome.answer) == ("denied", None)


def test_address_that_does_not_fit() -> None:
    """Silence."""
    outcome = settle(lessor(), packet(MessageType.DISCOVER, RELAY_AGENT=bytes(400)))
    assert (outcome.counted, outcome.answer) == ("oversize", None)


def test_a_long_identifier_is_left_out() -> None:
    """Rather than no answer."""
    reply = reply_of(settle(lessor(), packet(MessageType.DISCOVER, CLIENT_ID=bytes(255), RELAY_AGENT=bytes(60))))
    assert Option.CLIENT_ID not in reply.options


@pytest.mark.parametrize(
    ("message", "counted", "state"),
    [
        (MessageType.DECLINE, "declined", LeaseState.DECLINED),
        (MessageType.RELEASE, "released", LeaseState.RELEASED),
    ],
)
def test_returned(message: MessageType, counted: str, state: LeaseState) -> None:
    """No reply; written down and told."""
    served = lessor()
    select(served)
    asked = packet(message, SERVER_ID=BOX_ID)
    if message is MessageType.DECLINE:
        asked = replace(asked, options={**asked.options, Option.REQUESTED_ADDRESS: packed(FIRST)})
    else:
        asked = replace(asked, ciaddr=FIRST)
    outcome = settle(served, asked)
    assert (outcome.counted, outcome.answer) == (counted, None)
    assert outcome.kept is not None
    assert outcome.kept.state is state
    assert outcome.events[1] == AddressReturned(MAC, FIRST, message is MessageType.DECLINE)


def test_returned_in_vain() -> None:
    """Nothing is told of what changed nothing."""
    outcome = settle(lessor(), packet(MessageType.RELEASE, ciaddr=FIRST, SERVER_ID=BOX_ID))
    assert outcome == Outcome("not_its_lease", events=(HostSeen(MAC, FIRST),))


def test_nothing_left() -> None:
    """Told for each machine that goes without."""
    served = lessor()
    for number in (1, 2, 3):
        settle(served, packet(MessageType.DISCOVER, number))
        served.books[0].bind(client(number), f"10.77.0.{49 + number}", NOW)
    outcome = settle(served, packet(MessageType.DISCOVER, 4))
    assert (outcome.counted, outcome.answer) == ("pool_exhausted", None)
    assert outcome.events[1:] == (PoolExhausted(client(4).key, "10.77.0.0/24"),)


def test_inform() -> None:
    """To who has an address by hand: what goes with it, no address and no time."""
    outcome = settle(lessor(), packet(MessageType.INFORM, ciaddr="10.77.0.200"))
    reply = reply_of(outcome)
    assert outcome.answer is not None
    assert (outcome.counted, outcome.answer.destination) == ("informs", ("10.77.0.200", 68))
    assert (reply.yiaddr, reply.ciaddr, reply.options[Option.ROUTER]) == (
        NO_ADDRESS,
        "10.77.0.200",
        bytes((10, 77, 0, 1)),
    )
    assert Option.LEASE_TIME not in reply.options


def test_another_servers_client() -> None:
    """Silence, even beside: it chose."""
    asked = packet(MessageType.REQUEST, SERVER_ID=OTHER_ID, REQUESTED_ADDRESS=packed(FIRST), **PXE)
    assert settle(lessor(), asked).answer is None


def test_port_4011_gives_no_addresses() -> None:
    """It is the boot server's."""
    assert settle(lessor(), packet(MessageType.DISCOVER, **PXE), via="4011").answer is None
    vendor = build_options({PxeOption.BOOT_ITEM: bytes(4)})
    asked = packet(MessageType.REQUEST, ciaddr=FIRST, VENDOR_SPECIFIC=vendor, **PXE)
    assert settle(lessor(), asked, via="4011").counted == "local_boots"
