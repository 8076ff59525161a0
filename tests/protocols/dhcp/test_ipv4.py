"""UDP in IPv4 as a packet socket sees it: as it was built, and with everything in it that may lie."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dhcp.ipv4 import Datagram, build_datagram, checksum, parse_datagram
from protocols.errors import WireError

SENT = Datagram(("10.77.0.9", 68), ("10.77.0.2", 67), b"a DHCP packet, say")
WIRE = build_datagram(SENT)
UDP_AT = 20
SUM_AT = UDP_AT + 6
PSEUDO_HEADER = WIRE[12:20] + bytes((0, 17)) + WIRE[UDP_AT + 4 : UDP_AT + 6]
datagrams = st.builds(
    Datagram,
    st.tuples(st.ip_addresses(v=4).map(str), st.integers(0, 65535)),
    st.tuples(st.ip_addresses(v=4).map(str), st.integers(0, 65535)),
    st.binary(max_size=1500),
)


def resummed(packet: bytes) -> bytes:
    """The packet with a right checksum over its header, whatever that says now."""
    words = 4 * (packet[0] & 0x0F)
    blank = packet[:10] + b"\0\0" + packet[12:]
    return blank[:10] + checksum(blank[:words]).to_bytes(2, "big") + blank[12:]


def changed(at: int, value: bytes) -> bytes:
    """The packet with other bytes in one place of its header, summed again."""
    return resummed(WIRE[:at] + value + WIRE[at + len(value) :])


@given(datagrams)
def test_what_is_built_is_read(datagram: Datagram) -> None:
    """And so it is with padding behind, as in the shortest frames."""
    assert parse_datagram(build_datagram(datagram)) == datagram
    assert parse_datagram(build_datagram(datagram) + bytes(18)) == datagram


def test_known_bytes() -> None:
    """The header whose sum textbooks work out."""
    header = bytes.fromhex("45000073000040004011b861c0a80001c0a800c7")
    assert checksum(header) == 0
    assert checksum(header[:10] + b"\0\0" + header[12:]) == 0xB861


def test_header_with_options() -> None:
    """The payload begins where the header says that it ends."""
    longer = resummed(b"\x46\0" + (len(WIRE) + 4).to_bytes(2, "big") + WIRE[4:20] + b"\1\1\1\0" + WIRE[20:])
    assert parse_datagram(longer) == SENT


@pytest.mark.parametrize("data", [b"", WIRE[:19], changed(0, b"\x65"), changed(9, b"\6")])
def test_other_protocols(data: bytes) -> None:
    """Too little for a header, IPv6, TCP: none of ours, and nothing to complain of."""
    assert parse_datagram(data) is None


@pytest.mark.parametrize("offset", [0x2000, 0x0001, 0x3FFF])
def test_fragments(offset: int) -> None:
    """The first, a later one, one in the middle: the rest of a packet is never waited for."""
    assert parse_datagram(changed(6, offset.to_bytes(2, "big"))) is None


def test_dont_fragment_is_no_fragment() -> None:
    """Its bit stands among the others'."""
    assert parse_datagram(changed(6, b"\x40\0")) == SENT


@pytest.mark.parametrize(
    "data",
    [
        changed(0, b"\x44"),
        changed(0, b"\x4f"),
        changed(2, b"\0\x1b"),
        changed(2, b"\xff\xff"),
        changed(UDP_AT + 4, b"\0\7"),
        changed(UDP_AT + 4, b"\xff\xff"),
        WIRE[:10] + b"\0\0" + WIRE[12:],
        WIRE[:SUM_AT] + b"\x12\x34" + WIRE[SUM_AT + 2 :],
        WIRE[:-1] + b"!",
    ],
)
def test_lies(data: bytes) -> None:
    """Headers too short and too long, packets shorter than their headers and longer than what came, wrong sums."""
    with pytest.raises(WireError):
        parse_datagram(data)


@pytest.mark.parametrize("size", range(20, len(WIRE)))
def test_cut_off(size: int) -> None:
    """Anywhere behind the header's end."""
    with pytest.raises(WireError):
        parse_datagram(WIRE[:size])


@pytest.mark.parametrize("summed", [bytes(2), (checksum(PSEUDO_HEADER) ^ 0xFFFF).to_bytes(2, "big")])
def test_packet_without_its_checksum(summed: bytes) -> None:
    """None at all, or the one that a network card would have finished."""
    assert parse_datagram(WIRE[:SUM_AT] + summed + WIRE[SUM_AT + 2 :]) == SENT


def test_sum_of_zero_is_sent_as_its_other_form() -> None:
    """0 would mean that there is none."""
    blank = build_datagram(Datagram(("0.0.0.0", 0), ("0.0.0.0", 0), bytes(2)))
    value = blank[SUM_AT : SUM_AT + 2]  # as payload it makes the sum come to nothing
    wire = build_datagram(Datagram(("0.0.0.0", 0), ("0.0.0.0", 0), value))
    assert wire[SUM_AT : SUM_AT + 2] == b"\xff\xff"
    assert parse_datagram(wire) is not None


@given(st.binary(max_size=80))
def test_any_bytes(data: bytes) -> None:
    """Nothing but a datagram, none, or WireError."""
    for packet in (data, WIRE[:10] + data, resummed(b"\x45" + (data + WIRE)[1:])):
        try:
            parsed = parse_datagram(packet)
        except WireError:
            continue
        assert parsed is None or len(parsed.payload) <= len(packet)
