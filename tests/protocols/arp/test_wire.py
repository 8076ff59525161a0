"""ARP packets both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.arp.wire import ArpPacket, Operation, build_arp, parse_arp
from protocols.errors import WireError

CLIENT = bytes.fromhex("525400770001")
# A Linux client asks for 10.77.0.2, as captured: broadcast, padded to 60 bytes by the interface.
REQUEST = bytes.fromhex("ffffffffffff525400770001080600010800060400015254007700010a4d00320000000000000a4d0002")
PACKET = ArpPacket(Operation.REQUEST, CLIENT, bytes([10, 77, 0, 50]), bytes(6), bytes([10, 77, 0, 2]))


def test_a_request_both_ways() -> None:
    """Parsed with padding or without, and built."""
    assert parse_arp(REQUEST) == parse_arp(REQUEST.ljust(60, b"\0")) == PACKET
    assert build_arp(PACKET, b"\xff" * 6) == REQUEST


def test_every_truncation_is_a_wire_error() -> None:
    """Cut at each offset."""
    for end in range(len(REQUEST)):
        with pytest.raises(WireError):
            parse_arp(REQUEST[:end])


@pytest.mark.parametrize(
    ("offset", "value", "said"),
    [
        (12, "88a2", 12),  # ethertype
        (14, "0006", 14),  # IEEE 802 hardware
        (16, "86dd", 14),  # IPv6
        (18, "08", 14),  # hardware address length
        (19, "10", 14),  # protocol address length
        (20, "0003", 20),  # reverse ARP
        (22, "ffffffffffff", 22),  # a sender that is everyone
        (22, "000000000000", 22),  # and one that is nobody
    ],
)
def test_what_is_not_ours_is_refused(offset: int, value: str, said: int) -> None:
    """Each field that makes it something else."""
    changed = bytes.fromhex(value)
    with pytest.raises(WireError) as caught:
        parse_arp(REQUEST[:offset] + changed + REQUEST[offset + len(changed) :])
    assert caught.value.offset == said


@given(st.binary(max_size=60))
def test_only_wire_errors_escape(tail: bytes) -> None:
    """Any bytes behind the ethertype: a packet that builds to the same again, or a WireError."""
    raw = REQUEST[:14] + tail
    try:
        packet = parse_arp(raw)
    except WireError:
        return
    assert build_arp(packet, raw[:6])[14:] == raw[14:42]


macs = st.binary(min_size=5, max_size=5).map(lambda tail: b"\x02" + tail)
ipv4 = st.binary(min_size=4, max_size=4)


@given(st.builds(ArpPacket, st.sampled_from(Operation), macs, ipv4, macs, ipv4), macs)
def test_packets_round_trip(packet: ArpPacket, destination: bytes) -> None:
    """Any packet between stations."""
    assert parse_arp(build_arp(packet, destination)) == packet
