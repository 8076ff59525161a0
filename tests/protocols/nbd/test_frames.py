"""Requests checked and replies built natively, against the session that says the same in Python."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.nbd.frames import refusal_of, reply_to_read
from protocols.nbd.handshake import Agreement, flags_of
from protocols.nbd.limits import NbdLimits
from protocols.nbd.transmission import Answer, Command, Transmission
from protocols.nbd.wire import CommandType
from tests.protocols.nbd import peer

READ, WRITE = 0, 1
SIZE = 64 << 20
STEP = 16 << 10
LIMITS = NbdLimits()

edges = st.sampled_from([0, 1, 511, 512, SIZE - 512, SIZE, SIZE + 512, (1 << 32) - 512, (1 << 64) - 512])
lengths = st.sampled_from([0, 1, 511, 512, 4096, 32 << 20, (32 << 20) + 512, (1 << 32) - 1])


@st.composite
def agreements(draw: st.DrawFn) -> Agreement:
    """Whatever a handshake may end with."""
    structured = draw(st.booleans())
    flags = flags_of(writable=draw(st.booleans()), structured=structured)
    allocation = structured and draw(st.booleans())
    return Agreement("root", SIZE, flags, structured, allocation, draw(st.sampled_from([1, 512])))


def error_by_twin(header: bytes, agreement: Agreement) -> int:
    """What the Python session answers, after as much data as it wants; 0 when it would carry the request out."""
    talk = Transmission(agreement, LIMITS)
    talk.receive(header)
    event = talk.next_event()
    answer = event.data if isinstance(event, Answer) else talk._refusal  # one that waits for a WRITE's data to go by
    if not answer:
        return 0
    return int.from_bytes(answer[20:24] if answer[:4] == b"\x66\x8e\x33\xef" else answer[4:8], "big")


@given(agreements(), st.integers(0, 9), st.integers(0, 32), edges, lengths)
def test_requests_are_refused_as_by_the_twin(
    agreement: Agreement, kind: int, flags: int, offset: int, length: int
) -> None:
    """Every command, flag, range and agreement: the same error, or none."""
    header = peer.request(kind, offset=offset, length=length, flags=flags)
    assert refusal_of(header, agreement, LIMITS) == error_by_twin(header, agreement)


@pytest.mark.parametrize("header", [bytes(28), peer.request(READ)[:27], peer.request(READ) + b"\0"])
def test_what_is_no_request(header: bytes) -> None:
    """Another magic number, and other lengths than 28 bytes."""
    with pytest.raises(ValueError, match="no request"):
        refusal_of(header, Agreement("root", SIZE, flags_of(writable=False, structured=False), False, False, 1), LIMITS)


steps = st.lists(
    st.sampled_from([bytes(STEP), b"d" * STEP, bytes(STEP - 1) + b"e", b"f" + bytes(STEP - 1)]), max_size=6
)
ends = st.sampled_from([b"", b"\0", bytes(STEP - 1), b"tail", b"t" * (STEP - 1)])


@given(agreements(), steps, ends, st.sampled_from([0, 4]), st.integers(0, 1 << 20))
def test_replies_are_those_of_the_twin(
    agreement: Agreement, parts: list[bytes], end: bytes, flags: int, offset: int
) -> None:
    """Data and holes in any order, short ends, DF: byte for byte."""
    data = b"".join(parts) + end
    header = peer.request(READ, cookie=99, offset=offset, length=len(data), flags=flags)
    command = Command(CommandType.READ, flags, 99, offset, len(data))
    talk = Transmission(agreement, LIMITS)
    assert reply_to_read(header, data, agreement, LIMITS) == b"".join(talk.answer_read(command, data))


def test_a_reply_needs_its_request() -> None:
    """A READ, of as many bytes as there are."""
    agreement = Agreement("root", SIZE, flags_of(writable=True, structured=False), False, False, 1)
    for header in (peer.request(WRITE, length=4), peer.request(READ, length=5)):
        with pytest.raises(ValueError, match="no READ"):
            reply_to_read(header, b"data", agreement, LIMITS)
