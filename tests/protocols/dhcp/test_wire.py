"""DHCP packets: vectors both ways, truncation everywhere, round trips, nothing but WireError for junk."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.dhcp.wire import (
    COOKIE,
    HEADER,
    MIN_PACKET,
    Op,
    Option,
    Packet,
    build_options,
    build_packet,
    parse_architectures,
    parse_options,
    parse_packet,
    parse_user_classes,
)
from protocols.errors import WireError
from tests.protocols.dhcp.vectors import read_capture

CAPTURES = ["ipxe-rom", "ipxe-rom-4011", "ipxe-rom-reply", "ipxe-snponly", "ipxe-undionly", "ovmf", "ovmf-4011"]
PACKET = Packet(
    op=Op.REPLY,
    xid=0x01020304,
    hops=1,
    secs=4,
    flags=0x8000,
    ciaddr="10.0.0.1",
    yiaddr="10.0.0.2",
    siaddr="10.0.0.3",
    giaddr="10.0.0.4",
    chaddr=bytes.fromhex("525400770001") + bytes(10),
    sname=b"box",
    file=b"loader",
    options={Option.MESSAGE_TYPE: b"\2", Option.VENDOR_CLASS: b"PXEClient"},
)
BYTES = (
    bytes.fromhex("02 01 06 01 01020304 0004 8000 0a000001 0a000002 0a000003 0a000004 525400770001")
    + bytes(10)
    + b"box".ljust(64, b"\0")
    + b"loader".ljust(128, b"\0")
    + bytes.fromhex("63825363 350102 3c09 505845436c69656e74 ff").ljust(64, b"\0")
)
WHOLE = len(BYTES.rstrip(b"\0"))
BEHIND_AN_OPTION = [HEADER.size, HEADER.size + 3, HEADER.size + 14]
addresses = st.ip_addresses(v=4).map(str)
packets = st.builds(
    Packet,
    op=st.sampled_from(Op),
    xid=st.integers(0, 2**32 - 1),
    options=st.dictionaries(st.integers(1, 254), st.binary(max_size=600), max_size=6),
    htype=st.integers(0, 255),
    hlen=st.integers(0, 16),
    hops=st.integers(0, 255),
    secs=st.integers(0, 2**16 - 1),
    flags=st.integers(0, 2**16 - 1),
    ciaddr=addresses,
    yiaddr=addresses,
    siaddr=addresses,
    giaddr=addresses,
    chaddr=st.binary(min_size=16, max_size=16),
    sname=st.binary(max_size=63).map(lambda value: value.partition(b"\0")[0]),
    file=st.binary(max_size=127).map(lambda value: value.partition(b"\0")[0]),
)


def header(*, op: int = 1, hlen: int = 6, cookie: bytes = COOKIE) -> bytes:
    """A header that is right but for what is given."""
    four = bytes(4)
    return HEADER.pack(op, 1, hlen, 0, 0, 0, 0, four, four, four, four, bytes(16), bytes(64), bytes(128), cookie)


def test_build() -> None:
    """Every field has its place."""
    assert build_packet(PACKET) == BYTES


def test_parse() -> None:
    """The same bytes read back are the same packet."""
    assert parse_packet(BYTES) == PACKET


@pytest.mark.parametrize("name", CAPTURES)
def test_captures_survive_both_ways(name: str) -> None:
    """What real firmware sends, written anew, says the same."""
    for data in read_capture(name):
        packet = parse_packet(data)
        assert parse_packet(build_packet(packet)) == packet


@settings(deadline=None)
@given(packets)
def test_round_trip(packet: Packet) -> None:
    """Whatever is built reads back equal, options of many pieces too."""
    assert parse_packet(build_packet(packet)) == packet


@settings(deadline=None)
@given(packets)
def test_padding_only_behind_end(packet: Packet) -> None:
    """At least BOOTP's 300 bytes, and all zeros behind END."""
    data = build_packet(packet)
    options = build_options(packet.options)
    assert len(data) >= MIN_PACKET
    assert data[HEADER.size :].rstrip(b"\0") == options
    assert options[-1] == Option.END


@settings(deadline=None)
@given(st.binary(max_size=700) | st.binary(max_size=400).map(lambda tail: header() + tail))
def test_junk_is_a_wire_error_or_a_packet(data: bytes) -> None:
    """Only WireError escapes, and what parses can be written again."""
    try:
        packet = parse_packet(data)
    except WireError:
        return
    options = packet.options
    assert parse_options(build_options(options)) == options


@pytest.mark.parametrize("length", sorted(set(range(WHOLE)) - set(BEHIND_AN_OPTION)))
def test_truncated(length: int) -> None:
    """A packet cut short in its header or in an option is refused."""
    with pytest.raises(WireError) as caught:
        parse_packet(BYTES[:length])
    assert caught.value.offset <= length


@pytest.mark.parametrize("length", BEHIND_AN_OPTION)
def test_end_is_missing(length: int) -> None:
    """A packet that stops behind an option lacks END alone, which is forgiven."""
    assert parse_packet(BYTES[:length]).options.items() <= PACKET.options.items()


def test_what_follows_end_is_not_read() -> None:
    """Trailing bytes are padding by definition, whatever they hold."""
    assert parse_packet(BYTES.rstrip(b"\0") + b"\x35\xffjunk") == PACKET


@pytest.mark.parametrize(
    ("data", "message", "offset"),
    [
        (header(op=3), "neither request nor reply", 0),
        (header(hlen=17), "does not fit in chaddr", 2),
        (header(cookie=b"\1\2\3\4"), "no DHCP magic cookie", 236),
        (header() + b"\x35", "option 53 has no length", 240),
        (header() + b"\0\0\x35\2\1", "option 53 runs past the end", 242),
    ],
)
def test_refused(data: bytes, message: str, offset: int) -> None:
    """Each wrong thing is named, with where it stands."""
    with pytest.raises(WireError, match=message) as caught:
        parse_packet(data)
    assert caught.value.offset == offset


def test_hardware_address_of_sixteen_bytes() -> None:
    """EDK2's SendGUID mode fills all of chaddr."""
    packet = parse_packet(header(hlen=16))
    assert packet.hardware_address == bytes(16)


def test_option_in_pieces_is_joined() -> None:
    """RFC 3396: the same code again continues the value; padding may stand between."""
    assert parse_options(b"\x43\2ab\0\x36\1x\x43\1c\xff") == {67: b"abc", 54: b"x"}


def test_long_option_is_split() -> None:
    """More than 255 bytes go out in pieces; an empty value is one empty option."""
    assert (
        build_options({82: bytes(300), 80: b""}) == b"\x52\xff" + bytes(255) + b"\x52\x2d" + bytes(45) + b"\x50\0\xff"
    )


@pytest.mark.parametrize("change", [{"sname": bytes(64)}, {"file": bytes(128)}])
def test_header_text_keeps_room_for_its_nul(change: dict[str, bytes]) -> None:
    """Some ROMs read on behind a field that is full."""
    with pytest.raises(ValueError, match="room for a NUL"):
        build_packet(Packet(op=Op.REPLY, xid=0, **change))  # type: ignore[arg-type]  # which field is the parameter


@pytest.mark.parametrize(
    ("value", "classes"),
    [
        (b"", ()),
        (b"iPXE", (b"iPXE",)),
        (b"\4iPXE", (b"iPXE",)),
        (b"\4iPXE\3lab", (b"iPXE", b"lab")),
        (b"\4iPXE\0", (b"\4iPXE\0",)),
        (b"\4iPX", (b"\4iPX",)),
    ],
)
def test_user_classes(value: bytes, classes: tuple[bytes, ...]) -> None:
    """Option 77 with length bytes, or as one bare string."""
    assert parse_user_classes(value) == classes


def test_architectures() -> None:
    """Option 93 is a list."""
    assert parse_architectures(b"\0\7\0\x10") == (7, 16)


@pytest.mark.parametrize("value", [b"", b"\0", b"\0\7\0"])
def test_half_an_architecture(value: bytes) -> None:
    """An odd number of bytes, or none, is no list."""
    with pytest.raises(WireError, match="option 93"):
        parse_architectures(value)


def test_option_as_number_and_address() -> None:
    """Absent is None."""
    packet = Packet(op=Op.REQUEST, xid=0, options={Option.MAX_MESSAGE_SIZE: b"\5\xc0", Option.SERVER_ID: b"\x0a\0\0\1"})
    assert packet.number(Option.MAX_MESSAGE_SIZE, 2) == 1472
    assert packet.address(Option.SERVER_ID) == "10.0.0.1"
    assert packet.number(Option.MESSAGE_TYPE, 1) is None
    assert packet.address(Option.REQUESTED_ADDRESS) is None


def test_option_of_the_wrong_length() -> None:
    """A number of another size is refused."""
    packet = Packet(op=Op.REQUEST, xid=0, options={Option.SERVER_ID: b"\x0a\0\0"})
    with pytest.raises(WireError, match="option 54 has 3 bytes, not 4"):
        packet.address(Option.SERVER_ID)
