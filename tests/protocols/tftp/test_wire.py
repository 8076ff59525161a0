"""TFTP packets: vectors both ways, cuts at every place, and properties."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import WireError
from protocols.tftp.wire import (
    MAX_OPTIONS,
    MAX_REQUEST,
    Ack,
    Data,
    Error,
    Opcode,
    OptionAck,
    Packet,
    Request,
    build_ack,
    build_data,
    build_error,
    build_oack,
    build_request,
    parse_packet,
)

VECTORS: dict[str, tuple[bytes, Packet]] = {
    "rrq": (b"\0\1boot/linux\0octet\0", Request(Opcode.RRQ, "boot/linux", "octet")),
    "rrq of EDK2": (
        b"\0\1snponly.efi\0octet\0tsize\0000\0blksize\x001468\0windowsize\x004\0",
        Request(Opcode.RRQ, "snponly.efi", "octet", (("tsize", "0"), ("blksize", "1468"), ("windowsize", "4"))),
    ),
    "rrq of KIWI's atftp": (
        b"\0\1image/edge.x86_64-1.2.0\0octet\0blksize\x0032768\0multicast\0\0",
        Request(Opcode.RRQ, "image/edge.x86_64-1.2.0", "octet", (("blksize", "32768"), ("multicast", ""))),
    ),
    "wrq": (b"\0\2upload/client.X\0octet\0", Request(Opcode.WRQ, "upload/client.X", "octet")),
    "data": (b"\0\3\0\1abc", Data(1, memoryview(b"abc"))),
    "empty data": (b"\0\3\xff\xff", Data(65535, memoryview(b""))),
    "ack": (b"\0\4\x01\x02", Ack(258)),
    "error": (b"\0\5\0\1File not found\0", Error(1, "File not found")),
    "oack": (b"\0\6blksize\x00512\0tsize\x0077\0", OptionAck((("blksize", "512"), ("tsize", "77")))),
}
TOLERATED: dict[str, tuple[bytes, Packet]] = {
    "option without value": (b"\0\1a\0octet\0tsize\0", Request(Opcode.RRQ, "a", "octet")),
    "padding after the mode": (b"\0\1a\0octet\0\0\0\0\0", Request(Opcode.RRQ, "a", "octet")),
    "name that is no UTF-8": (b"\0\1\xff?Onboard\0octet\0", Request(Opcode.RRQ, "\ufffd?Onboard", "octet")),
    "ack with a tail": (b"\0\4\0\1\0\0", Ack(1)),
    "error without end": (b"\0\5\0\0stop", Error(0, "stop")),
    "error without text": (b"\0\5\0\x08", Error(8, "")),
    "error with a tail": (b"\0\5\0\x08x\0y", Error(8, "x")),
    "error code of its own": (b"\0\5\1\0\0", Error(256, "")),
}
MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "half an opcode": b"\0",
    "opcode 0": b"\0\0\0\0",
    "opcode 7": b"\0\7a\0octet\0",
    "request alone": b"\0\1",
    "request without mode": b"\0\1name\0",
    "request whose mode does not end": b"\0\1name\0octet",
    "request with an option that does not end": b"\0\1name\0octet\0tsize\x000",
    "data without number": b"\0\3\0",
    "ack without number": b"\0\4",
    "error without code": b"\0\5\0",
    "oack that does not end": b"\0\6blksize",
    "request of unseen length": b"\0\1" + b"a" * MAX_REQUEST + b"\0octet\0",
}
texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=30)
options = st.lists(st.tuples(texts.filter(bool), texts), max_size=6).map(tuple)
numbers = st.integers(0, 65535)


def build(packet: Packet) -> bytes:
    """The bytes of any packet."""
    match packet:
        case Request():
            return build_request(packet)
        case Data(block, payload):
            return build_data(block, payload)
        case Ack(block):
            return build_ack(block)
        case Error(code, message):
            return build_error(code, message)
        case OptionAck(accepted):
            return build_oack(accepted)


@pytest.mark.parametrize(("data", "packet"), VECTORS.values(), ids=VECTORS)
def test_vectors_parse(data: bytes, packet: Packet) -> None:
    """Bytes become the packet they are."""
    assert parse_packet(data) == packet


@pytest.mark.parametrize(("data", "packet"), VECTORS.values(), ids=VECTORS)
def test_vectors_build(data: bytes, packet: Packet) -> None:
    """A packet becomes exactly its bytes, without a NUL too many."""
    assert build(packet) == data


@pytest.mark.parametrize(("data", "packet"), TOLERATED.values(), ids=TOLERATED)
def test_what_clients_get_wrong_is_tolerated(data: bytes, packet: Packet) -> None:
    """Small offences that real clients commit still parse."""
    assert parse_packet(data) == packet


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_malformed_packets_raise_wire_errors(data: bytes) -> None:
    """What is no TFTP packet is refused, with the place where reading stopped."""
    with pytest.raises(WireError) as caught:
        parse_packet(data)
    assert 0 <= caught.value.offset <= len(data)


@pytest.mark.parametrize("data", [data for data, _ in VECTORS.values()], ids=VECTORS)
def test_requests_cut_anywhere_never_become_longer(data: bytes) -> None:
    """Every proper prefix is refused or is a packet that holds no more than the prefix."""
    for length in range(len(data)):
        with contextlib.suppress(WireError):
            assert len(build(parse_packet(data[:length]))) <= length + 1  # an ERROR's missing NUL is supplied


def test_a_request_cut_inside_its_last_text_is_refused() -> None:
    """Half a file name is never taken for a whole one."""
    data = VECTORS["rrq"][0]
    for length in range(len(data)):
        with pytest.raises(WireError):
            parse_packet(data[:length])


def test_options_are_bounded() -> None:
    """What comes after MAX_OPTIONS is not looked at."""
    request = Request(Opcode.RRQ, "a", "octet", tuple((f"o{i}", "1") for i in range(MAX_OPTIONS + 5)))
    parsed = parse_packet(build_request(request))
    assert isinstance(parsed, Request)
    assert parsed.options == request.options[:MAX_OPTIONS]


@pytest.mark.parametrize("block", [65536, 131072])
def test_block_numbers_wrap_to_zero(block: int) -> None:
    """After 65535 comes 0 (quirk T-9)."""
    assert parse_packet(build_ack(block)) == Ack(0)
    assert parse_packet(build_data(block, b"x")) == Data(0, memoryview(b"x"))


def test_a_nul_inside_a_text_is_not_built() -> None:
    """It would end the text early on the other side."""
    with pytest.raises(WireError):
        build_error(0, "a\0b")


@given(
    st.one_of(
        st.builds(Request, st.sampled_from([Opcode.RRQ, Opcode.WRQ]), texts, texts, options),
        st.builds(Data, numbers, st.binary(max_size=600).map(memoryview)),
        st.builds(Ack, numbers),
        st.builds(Error, numbers, texts),
        st.builds(OptionAck, options.filter(bool)),
    )
)
def test_what_is_built_parses_to_itself(packet: Packet) -> None:
    """Round trip from values."""
    assert parse_packet(build(packet)) == packet


@given(
    st.binary(max_size=80) | st.binary(max_size=80).map(lambda tail: b"\0\1" + tail) | st.binary().map(b"\0\6".__add__)
)
def test_only_wire_errors_escape_and_what_parses_builds(data: bytes) -> None:
    """Any bytes: refused, or a packet that survives being built and parsed again."""
    with contextlib.suppress(WireError):
        packet = parse_packet(data)
        assert parse_packet(build(packet)) == packet
