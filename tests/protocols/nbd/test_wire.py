"""NBD's bytes and values: vectors both ways, truncation, round trips."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import WireError
from protocols.nbd import wire
from protocols.nbd.wire import ClientFlag, Error, Extent, HandshakeFlag, OptionReply, Request, TransmissionFlag

READ_VECTOR = bytes.fromhex("25609513 0004 0000 1122334455667788 0000000000100000 00001000")
READ_VALUE = Request(flags=4, type=0, cookie=0x1122334455667788, offset=1 << 20, length=4096)
OPTION_VECTOR = bytes.fromhex("49484156454f5054 00000007 00000006")


def test_greeting_is_what_every_client_expects() -> None:
    """Magic, magic, and both handshake flags."""
    flags = HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES
    assert wire.build_greeting(flags) == b"NBDMAGICIHAVEOPT\x00\x03"


@pytest.mark.parametrize("flags", range(4))
def test_known_client_flags_parse(flags: int) -> None:
    """Every combination of the two flags that we offer."""
    assert wire.parse_client_flags(struct.pack(">I", flags)) == ClientFlag(flags)


@pytest.mark.parametrize("flags", [4, 0x8000, 0x8000_0001, 0xFFFF_FFFF])
def test_unknown_client_flags_are_refused(flags: int) -> None:
    """The server must drop a client that sets a flag nobody offered."""
    with pytest.raises(WireError, match="unknown flags"):
        wire.parse_client_flags(struct.pack(">I", flags))


def test_option_header_both_ways() -> None:
    """The vector parses to the value that builds it."""
    assert wire.parse_option_header(OPTION_VECTOR) == wire.OptionHeader(7, 6)
    assert wire.build_option(7, b"abcdef") == OPTION_VECTOR + b"abcdef"


def test_option_with_another_magic_is_refused() -> None:
    """The reply's magic in an option's place."""
    with pytest.raises(WireError, match="option has magic 0x3e889045565a9"):
        wire.parse_option_header(bytes.fromhex("0003e889045565a9") + bytes(8))


def test_request_both_ways() -> None:
    """The vector parses to the value that builds it."""
    assert wire.parse_request(READ_VECTOR) == READ_VALUE
    assert wire.build_request(READ_VALUE) == READ_VECTOR


def test_request_parses_amid_other_bytes() -> None:
    """At an offset, with trailing bytes left alone."""
    assert wire.parse_request(b"before" + READ_VECTOR + b"after", 6) == READ_VALUE


@pytest.mark.parametrize("at", range(4))
def test_request_with_another_magic_is_refused(at: int) -> None:
    """Any wrong byte of the magic, told with where it stood."""
    broken = bytearray(b"xx" + READ_VECTOR)
    broken[2 + at] ^= 0x40
    with pytest.raises(WireError, match="request has magic") as caught:
        wire.parse_request(broken, 2)
    assert caught.value.offset == 2


@given(
    st.builds(
        Request,
        flags=st.integers(0, 0xFFFF),
        type=st.integers(0, 0xFFFF),
        cookie=st.integers(0, (1 << 64) - 1),
        offset=st.integers(0, (1 << 64) - 1),
        length=st.integers(0, (1 << 32) - 1),
    )
)
def test_requests_round_trip(request: Request) -> None:
    """What is built parses to the same."""
    assert wire.parse_request(wire.build_request(request)) == request


@given(st.binary(min_size=28, max_size=28))
def test_any_28_bytes_parse_or_raise_a_wire_error(data: bytes) -> None:
    """What parses builds the same bytes again."""
    try:
        request = wire.parse_request(data)
    except WireError:
        return
    assert wire.build_request(request) == data


@given(st.binary(min_size=24, max_size=24).map(lambda tail: wire.REQUEST_MAGIC.to_bytes(4, "big") + tail))
def test_any_tail_of_a_request_rebuilds(data: bytes) -> None:
    """With the right magic every header is a request."""
    assert wire.build_request(wire.parse_request(data)) == data


def test_option_reply_vector() -> None:
    """An error reply with its message."""
    expected = bytes.fromhex("0003e889045565a9 00000005 80000001 00000002") + b"no"
    assert wire.build_option_reply(5, OptionReply.ERR_UNSUP, b"no") == expected


@pytest.mark.parametrize(("no_zeroes", "length"), [(True, 10), (False, 134)])
def test_export_name_reply_has_its_zeroes(no_zeroes: bool, length: int) -> None:
    """124 zero bytes unless both sides left them out."""
    flags = TransmissionFlag.HAS_FLAGS | TransmissionFlag.READ_ONLY
    reply = wire.build_export_name_reply(1 << 33, flags, no_zeroes=no_zeroes)
    assert reply == (bytes.fromhex("0000000200000000 0003") + bytes(124))[:length]


def test_simple_reply_vector() -> None:
    """Magic, error, cookie."""
    assert wire.build_simple_reply(258, Error.EPERM) == bytes.fromhex("67446698 00000001 0000000000000102")


def test_data_chunk_vector() -> None:
    """The length counts the offset and the bytes that follow."""
    expected = bytes.fromhex("668e33ef 0001 0001 0000000000000009 00000208 0000000000001000")
    assert wire.build_data_chunk(9, 4096, 512, is_last=True) == expected


def test_hole_chunk_vector() -> None:
    """Not the last: its flag is clear."""
    expected = bytes.fromhex("668e33ef 0000 0002 0000000000000009 0000000c 0000000000001000 00000200")
    assert wire.build_hole_chunk(9, 4096, 512, is_last=False) == expected


def test_error_chunk_vector() -> None:
    """The message has its own length."""
    expected = bytes.fromhex("668e33ef 0001 8001 0000000000000009 00000009 00000016 0003") + b"bad"
    assert wire.build_error_chunk(9, Error.EINVAL, "bad") == expected


def test_error_message_is_cut_to_what_the_protocol_allows() -> None:
    """4096 bytes of message."""
    assert len(wire.build_error_chunk(9, Error.EIO, "x" * 5000)) == 20 + 6 + 4096


def test_status_chunk_vector() -> None:
    """The context's number, then pairs of length and state."""
    expected = bytes.fromhex(
        "668e33ef 0001 0005 0000000000000009 00000014 00000001 00001000 00000000 00002000 00000003"
    )
    runs = [(4096, Extent(0)), (8192, Extent.HOLE | Extent.ZERO)]
    assert wire.build_status_chunk(9, 1, runs) == expected


def test_text_is_utf8() -> None:
    """Export names are not ASCII only."""
    assert wire.parse_text("für-alle".encode()) == "für-alle"


@pytest.mark.parametrize(("data", "message"), [(b"\xff", "not UTF-8"), (b"a\0b", "NUL"), (b"x" * 4097, "over 4096")])
def test_text_that_is_none_is_refused(data: bytes, message: str) -> None:
    """Wrong bytes, a NUL, too long."""
    with pytest.raises(WireError, match=message):
        wire.parse_text(data)


def test_broken_text_says_where() -> None:
    """The offset counts from the message's start."""
    with pytest.raises(WireError) as caught:
        wire.parse_text(b"ab\xff", 10)
    assert caught.value.offset == 12
