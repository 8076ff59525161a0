"""The fuzzer's corpus: one packet for each branch of the room, every answer judged; and the judge itself is no fool."""

from dataclasses import replace

import pytest

from protocols.dhcp.offer import Offer
from protocols.dhcp.reply import build_reply
from protocols.dhcp.wire import MessageType, Op, Option, Packet, build_packet, parse_packet
from tests.corpus import read_kept
from tests.protocols.dhcp.exercise import BOX, BOX_BYTES, exercise
from tests.protocols.dhcp.fuzz import CORPUS
from tests.protocols.dhcp.judge import Broken, asker, judge_destination, judge_reply, may_be_answered, take_apart
from tests.protocols.dhcp.vectors import read_capture

DISCOVER = read_capture("ovmf")[0]
AGENT = b"\1\4eth0"


def discover(**options: bytes) -> Packet:
    """OVMF's DISCOVER by way of a relay, with other options."""
    packet = parse_packet(DISCOVER)
    return replace(packet, options={**packet.options, **{Option[name]: value for name, value in options.items()}})


def offer(packet: Packet) -> Packet:
    """What it is answered."""
    reply = build_reply(packet, MessageType.OFFER, BOX, Offer("loader"), None)
    assert reply is not None
    return parse_packet(reply)


def test_corpus() -> None:
    """Every way to count a packet is met."""
    counted = {exercise(data) for data in read_kept(CORPUS)}
    assert {"malformed", "offers", "boot_server_replies", "refused", "for_others", "plain_clients"} <= counted


def test_judge_accepts_a_good_reply() -> None:
    """With the relay's option and without."""
    for packet in (discover(), discover(RELAY_AGENT=AGENT)):
        judge_reply(take_apart(build_packet(packet)), build_packet(offer(packet)), BOX_BYTES)


@pytest.mark.parametrize(
    "wrong",
    [
        {"op": Op.REQUEST},
        {"xid": 1},
        {"yiaddr": "10.77.0.99"},
        {"siaddr": "10.77.0.1"},
        {"chaddr": bytes(16)},
        {"giaddr": "10.9.0.1"},
        {"hlen": 16},
    ],
)
def test_judge_rejects_a_wrong_header(wrong: dict[str, object]) -> None:
    """Each field by itself."""
    packet = discover()
    with pytest.raises(AssertionError):
        judge_reply(take_apart(build_packet(packet)), build_packet(replace(offer(packet), **wrong)), BOX_BYTES)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "value"),
    [
        (Option.MESSAGE_TYPE, bytes((MessageType.NAK,))),
        (Option.SERVER_ID, bytes((10, 77, 0, 1))),
        (Option.VENDOR_CLASS, b"HTTPClient"),
        (Option.CLIENT_UUID, bytes(17)),
        (Option.RELAY_AGENT, AGENT),
        (51, bytes(4)),
        (52, b"\1"),
        (200, bytes(300)),
        (200, bytes(1400)),
    ],
)
def test_judge_rejects_a_wrong_option(code: int, value: bytes) -> None:
    """A NAK, another server, another family's class, a lease, overload, pieces, and too much."""
    packet = discover(MAX_MESSAGE_SIZE=b"\5\xc0")
    reply = offer(packet)
    wrong = build_packet(replace(reply, options={**reply.options, code: value}))
    with pytest.raises(AssertionError):
        judge_reply(take_apart(build_packet(packet)), wrong, BOX_BYTES)


def test_judge_rejects_what_stands_behind_the_relays_option() -> None:
    """It comes last."""
    packet = discover(RELAY_AGENT=AGENT)
    reply = offer(packet)
    wrong = build_packet(replace(reply, options={**reply.options, 200: b"x"}))
    with pytest.raises(AssertionError, match="relay"):
        judge_reply(take_apart(build_packet(packet)), wrong, BOX_BYTES)


def test_judge_rejects_bytes_behind_end() -> None:
    """Only zeros may stand there."""
    packet = discover()
    with pytest.raises(AssertionError, match="behind END"):
        judge_reply(take_apart(build_packet(packet)), build_packet(offer(packet)) + b"x", BOX_BYTES)


@pytest.mark.parametrize("data", [b"", DISCOVER[:239], b"\3" + DISCOVER[1:], DISCOVER[:-20], DISCOVER[:240] + b"\x35"])
def test_judge_knows_no_packet(data: bytes) -> None:
    """Short, no BOOTP, an option cut off."""
    with pytest.raises(Broken):
        take_apart(data)


@pytest.mark.parametrize(
    ("options", "who"),
    [
        ({}, "pxe"),
        ({"VENDOR_CLASS": b"HTTPClient:Arch:00016"}, "http"),
        ({"VENDOR_CLASS": b"MSFT 5.0"}, "plain"),
        ({"VENDOR_CLASS": b"", "USER_CLASS": b"iPXE"}, "pxe"),
        ({"VENDOR_CLASS": b"", "USER_CLASS": b"\4iPXE"}, "pxe"),
        ({"VENDOR_CLASS": b"", "USER_CLASS": b"\1a\4iPXE\1b"}, "pxe"),
        ({"VENDOR_CLASS": b"", "USER_CLASS": b"\4iPXE\5b"}, "plain"),
        ({"VENDOR_CLASS": b"", "USER_CLASS": b"\5iPXE"}, "plain"),
    ],
)
def test_judge_knows_who_asks(options: dict[str, bytes], who: str) -> None:
    """By the vendor class, or as iPXE."""
    assert asker(take_apart(build_packet(discover(**options)))) == who


@pytest.mark.parametrize(
    ("message", "server", "on_67", "on_4011"),
    [
        (MessageType.DISCOVER, None, True, False),
        (MessageType.REQUEST, None, False, True),
        (MessageType.REQUEST, b"\x0a\x4d\0\1", False, True),
        (MessageType.REQUEST, BOX_BYTES, True, True),
        (MessageType.INFORM, None, True, True),
        (MessageType.INFORM, b"\x0a\x4d\0\1", False, True),
        (MessageType.RELEASE, BOX_BYTES, False, False),
        (MessageType.OFFER, None, False, False),
    ],
)
def test_judge_knows_what_is_ours(message: MessageType, server: bytes | None, on_67: bool, on_4011: bool) -> None:
    """A REQUEST on port 67 only when it names us."""
    named = {} if server is None else {"SERVER_ID": server}
    packet = take_apart(build_packet(discover(MESSAGE_TYPE=bytes((message,)), **named)))
    assert may_be_answered(packet, "67", BOX_BYTES) is on_67
    assert may_be_answered(packet, "4011", BOX_BYTES) is on_4011


@pytest.mark.parametrize(
    ("via", "giaddr", "destination"),
    [
        ("67", "0.0.0.0", ("10.77.0.173", 68)),
        ("67", "10.9.0.1", ("255.255.255.255", 68)),
        ("67", "10.9.0.1", ("10.9.0.1", 68)),
        ("4011", "0.0.0.0", ("255.255.255.255", 68)),
    ],
)
def test_judge_knows_where_replies_go(via: str, giaddr: str, destination: tuple[str, int]) -> None:
    """Each of these is wrong."""
    packet = take_apart(build_packet(replace(discover(), giaddr=giaddr)))
    with pytest.raises(AssertionError):
        judge_destination(packet, via, ("10.77.0.173", 4011), destination)
