"""Lines of the lease file: what is written is read again, and nothing else is a lease."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.dhcp.leasing.lease import LINE_MOST, Lease, LeaseState, build_line, parse_line

LEASE = Lease("10.77.0.50", "52:54:00:77:00:01", "till", LeaseState.BOUND, 1_700_000_000.5, 1_700_003_600.5)
FIELDS = json.loads(build_line(LEASE))


@pytest.mark.parametrize("state", LeaseState)
def test_round_trip(state: LeaseState) -> None:
    """Every state."""
    lease = Lease("10.77.0.50", "ff:00:01", 'a"b', state, 0.0, 7.25)
    assert parse_line(build_line(lease)) == lease


@pytest.mark.parametrize(
    "changed",
    [
        {"address": "10.77.0.050"},
        {"address": "10.77.0"},
        {"address": 7},
        {"client": "x" * 200},
        {"name": "x" * 64},
        {"name": "a\x1b[2Jb"},
        {"state": "offered"},
        {"since": -1},
        {"since": True},
        {"until": float("nan")},
        {"until": float("inf")},
        {"until": 1e300},
        {"until": "1"},
        {"more": 1},
    ],
)
def test_fields_that_are_none(changed: dict[str, object]) -> None:
    """Each is looked at."""
    with pytest.raises(ValueError, match=r"."):
        parse_line(json.dumps({**FIELDS, **changed}).encode())


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"7", b"{}", b"\xff", b"[" * 900, b" " * (LINE_MOST + 1)])
def test_lines_that_are_no_lease(line: bytes) -> None:
    """Nor JSON, some of them."""
    with pytest.raises(ValueError, match=r"."):
        parse_line(line)


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_is_missing(name: str) -> None:
    """All of them are there, or it is no lease."""
    with pytest.raises(ValueError, match="fields"):
        parse_line(json.dumps({each: value for each, value in FIELDS.items() if each != name}).encode())


@given(st.integers(0, len(build_line(LEASE)) - 2), st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_one_byte_is_another(at: int, byte: int) -> None:
    """A lease that can be written again, or none."""
    line = bytearray(build_line(LEASE))
    line[at] = byte
    try:
        lease = parse_line(bytes(line))
    except ValueError:
        return
    assert parse_line(build_line(lease)) == lease
