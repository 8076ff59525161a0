"""Transmission's session: requests in, commands out, results back, replies out, without a socket."""

import errno
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import WireError
from protocols.nbd.handshake import Agreement, flags_of
from protocols.nbd.limits import NbdLimits
from protocols.nbd.transmission import (
    Answer,
    Command,
    Disconnected,
    Transmission,
    TransmissionEvent,
    error_of,
    merge_runs,
    whole_blocks,
    zero_runs,
)
from protocols.nbd.wire import CommandType, Error
from tests.protocols.nbd import peer
from tests.protocols.nbd.peer import Reply

READ, WRITE, DISC, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS = range(8)
FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO = (1 << n for n in range(5))
SIZE = 64 << 20
MIB = 1 << 20
STEP = 16 << 10


def session(
    *, structured: bool = False, writable: bool = False, block: int = 512, limits: NbdLimits | None = None
) -> Transmission:
    """A session on an export of 64 MiB; structured ones have the allocation context too."""
    flags = flags_of(writable=writable, structured=structured)
    return Transmission(Agreement("root", SIZE, flags, structured, structured, block), limits or NbdLimits())


def events(talk: Transmission, *messages: bytes, step: int = 0) -> list[TransmissionEvent]:
    """Feed messages, whole or `step` bytes at a time; the events they make."""
    data = b"".join(messages)
    found = []
    step = step or max(len(data), 1)
    for at in range(0, len(data), step):
        talk.receive(data[at : at + step])
        while (event := talk.next_event()) is not None:
            found.append(event)
    return found


def command(talk: Transmission, message: bytes) -> Command:
    """The one command that a message makes."""
    (event,) = events(talk, message)
    assert isinstance(event, Command)
    return event


def refusal(talk: Transmission, message: bytes) -> int:
    """The error that a message is refused with, in whichever form; the next request still works."""
    (event,) = events(talk, message)
    assert isinstance(event, Answer)
    reply = peer.chunks_of(event.data)[0] if event.data[:4] == b"\x66\x8e\x33\xef" else peer.reply_of(event.data)
    assert reply.cookie == 7
    assert isinstance(events(talk, peer.request(READ, length=512))[0], Command)
    return reply.error


def test_read_becomes_a_command() -> None:
    """With its range and its cookie."""
    made = command(session(), peer.request(READ, cookie=99, offset=4096, length=512))
    assert made == Command(CommandType.READ, 0, 99, 4096, 512, bytearray())


def test_simple_read_reply_is_a_header_and_the_data() -> None:
    """The data goes out as it is, uncopied."""
    talk = session()
    data = b"d" * 512
    head, tail = talk.answer_read(command(talk, peer.request(READ, length=512)), data)
    assert peer.reply_of(bytes(head) + bytes(tail), 512) == Reply(7, data=data)
    assert tail is data


def test_structured_read_reply_is_one_chunk_for_data() -> None:
    """Marked as the last."""
    talk = session(structured=True)
    pieces = talk.answer_read(command(talk, peer.request(READ, offset=512, length=512)), b"d" * 512)
    assert peer.chunks_of(b"".join(pieces)) == [Reply(7, 0, 1, True, struct.pack(">Q", 512) + b"d" * 512)]


def test_structured_read_tells_holes() -> None:
    """Zeros go as their length; only the last chunk is marked."""
    talk = session(structured=True)
    data = b"d" * STEP + bytes(2 * STEP) + b"e" * 512
    chunks = peer.chunks_of(b"".join(talk.answer_read(command(talk, peer.request(READ, length=len(data))), data)))
    assert [(chunk.kind, chunk.is_last) for chunk in chunks] == [(1, False), (2, False), (1, True)]
    assert chunks[1].data == struct.pack(">QI", STEP, 2 * STEP)
    assert peer.assemble(chunks, 0, len(data)) == data


def test_structured_read_of_a_hole_alone() -> None:
    """One chunk of twelve bytes."""
    talk = session(structured=True)
    pieces = talk.answer_read(command(talk, peer.request(READ, offset=MIB, length=STEP)), bytes(STEP))
    assert peer.chunks_of(b"".join(pieces)) == [Reply(7, 0, 2, True, struct.pack(">QI", MIB, STEP))]


def test_df_forbids_holes() -> None:
    """One content chunk, zeros and all."""
    talk = session(structured=True)
    data = b"d" * STEP + bytes(STEP)
    pieces = talk.answer_read(command(talk, peer.request(READ, length=2 * STEP, flags=DF)), data)
    assert peer.chunks_of(b"".join(pieces)) == [Reply(7, 0, 1, True, bytes(8) + data)]


def test_structured_read_of_nothing_has_no_content() -> None:
    """A content chunk must have a byte at least."""
    talk = session(structured=True)
    pieces = talk.answer_read(command(talk, peer.request(READ)), b"")
    assert peer.chunks_of(b"".join(pieces)) == [Reply(7, 0, 0, True, b"")]


@pytest.mark.parametrize("step", [0, 1, 100])
def test_write_comes_with_its_data(step: int) -> None:
    """Whole, byte by byte, and in pieces; the request behind it is not lost."""
    data = bytes(range(256)) * 2
    talk = session(writable=True)
    write = peer.request(WRITE, offset=512, length=512, data=data)
    first, second = events(talk, write, peer.request(FLUSH), step=step)
    assert first == Command(CommandType.WRITE, 0, 7, 512, 512, bytearray(data))
    assert isinstance(second, Command)
    assert second.type is CommandType.FLUSH


def test_success_without_data() -> None:
    """A simple reply, structured or not."""
    talk = session(structured=True, writable=True)
    assert peer.reply_of(talk.succeed(command(talk, peer.request(FLUSH)))) == Reply(7)


@pytest.mark.parametrize("flags", [0, FUA])
@pytest.mark.parametrize("kind", [READ, FLUSH, CACHE, TRIM, WRITE_ZEROES])
def test_fua_is_taken_everywhere_once_offered(kind: int, flags: int) -> None:
    """Clients are known to set it on any command."""
    assert command(session(writable=True), peer.request(kind, flags=flags)).flags == flags


@pytest.mark.parametrize(
    ("kind", "flags"), [(READ, DF), (BLOCK_STATUS, REQ_ONE), (WRITE_ZEROES, NO_HOLE), (WRITE_ZEROES, NO_HOLE | FUA)]
)
def test_flags_where_they_belong(kind: int, flags: int) -> None:
    """Each on its own command."""
    talk = session(structured=True, writable=True)
    assert command(talk, peer.request(kind, length=512, flags=flags)).flags == flags


@pytest.mark.parametrize(
    ("kind", "flags"),
    [(READ, REQ_ONE), (READ, 0x8000), (FLUSH, DF), (CACHE, NO_HOLE), (WRITE_ZEROES, FAST_ZERO), (BLOCK_STATUS, DF)],
)
def test_flags_where_they_do_not_belong(kind: int, flags: int) -> None:
    """Unknown ones too: EINVAL, and the connection lives."""
    talk = session(structured=True, writable=True)
    assert refusal(talk, peer.request(kind, length=0 if kind == FLUSH else 512, flags=flags)) == Error.EINVAL


@pytest.mark.parametrize(("kind", "flags"), [(READ, FUA), (READ, DF)])
def test_flags_that_were_not_offered(kind: int, flags: int) -> None:
    """FUA on a read-only export, DF without structured replies."""
    assert refusal(session(), peer.request(kind, length=512, flags=flags)) == Error.EINVAL


@pytest.mark.parametrize("kind", [WRITE_ZEROES, TRIM])
def test_changing_a_read_only_export_is_not_permitted(kind: int) -> None:
    """EPERM, whatever the command's other faults."""
    assert refusal(session(), peer.request(kind, offset=SIZE, length=512)) == Error.EPERM


@pytest.mark.parametrize("length", [512, 4 * MIB, 40 * MIB])
@pytest.mark.parametrize("step", [0, 1 << 16])
def test_refused_write_has_its_data_passed_over(length: int, step: int) -> None:
    """Small, large and oversized: one refusal after the data, and the next request works."""
    talk = session()
    write = peer.request(WRITE, length=length, data=b"\x25" * length)
    answer, read = events(talk, write, peer.request(READ, length=512), step=step)
    assert isinstance(answer, Answer)
    assert peer.reply_of(answer.data) == Reply(7, Error.EPERM)
    assert isinstance(read, Command)


def test_oversized_write_is_invalid_and_keeps_no_data() -> None:
    """Its data goes by in bounded memory: after each piece nothing is held."""
    talk = session(writable=True)
    talk.receive(peer.request(WRITE, length=40 * MIB))
    assert talk.next_event() is None
    for _ in range(39):
        talk.receive(bytes(MIB))
        assert talk.next_event() is None
        assert talk.bytes_in_flight == 0
        assert len(talk._buffer) == 0
    talk.receive(bytes(MIB))
    assert talk.next_event() == Answer(struct.pack(">IIQ", 0x67446698, Error.EINVAL, 7))


@pytest.mark.parametrize("structured", [False, True])
@pytest.mark.parametrize(
    ("offset", "length", "error"),
    [
        (0, 33 * MIB, Error.EINVAL),  # over the payload limit
        (0, 0xFFFF_FFFF, Error.EINVAL),
        (1, 512, Error.EINVAL),  # misaligned
        (0, 511, Error.EINVAL),
        (SIZE, 512, Error.EINVAL),  # out of range
        (SIZE - 512, 1024, Error.EINVAL),
        ((1 << 64) - 512, 512, Error.EINVAL),  # past 64 bits
    ],
)
def test_reads_that_can_not_be(structured: bool, offset: int, length: int, error: Error) -> None:
    """Each an error of the request, never of the connection."""
    assert refusal(session(structured=structured), peer.request(READ, offset=offset, length=length)) == error


@pytest.mark.parametrize("kind", [WRITE, WRITE_ZEROES, TRIM])
def test_writing_past_the_end_has_no_space(kind: int) -> None:
    """ENOSPC, as proto.md: Error values wants it."""
    data = bytes(512) if kind == WRITE else b""
    assert refusal(session(writable=True), peer.request(kind, offset=SIZE, length=512, data=data)) == Error.ENOSPC


def test_the_largest_requests_are_allowed() -> None:
    """32 MiB of data; more of a command that carries none."""
    assert command(session(), peer.request(READ, length=32 * MIB)).length == 32 * MIB
    assert command(session(), peer.request(CACHE, length=SIZE)).length == SIZE


def test_without_agreed_blocks_any_range_is_served() -> None:
    """A client that never asked for block sizes may read one byte."""
    assert command(session(block=1), peer.request(READ, offset=3, length=1)).offset == 3


@pytest.mark.parametrize(("offset", "length"), [(512, 0), (0, 512)])
def test_flush_has_no_range(offset: int, length: int) -> None:
    """Both fields are reserved."""
    assert refusal(session(writable=True), peer.request(FLUSH, offset=offset, length=length)) == Error.EINVAL


@pytest.mark.parametrize("kind", [8, 0xFFFF])
def test_commands_we_do_not_have(kind: int) -> None:
    """They are not defined."""
    assert refusal(session(writable=True), peer.request(kind, length=512)) == Error.EINVAL


def test_block_status_needs_a_context() -> None:
    """Without one selected it is invalid."""
    assert refusal(session(), peer.request(BLOCK_STATUS, length=512)) == Error.EINVAL


def test_block_status_of_nothing_is_invalid() -> None:
    """There is no empty answer."""
    assert refusal(session(structured=True), peer.request(BLOCK_STATUS)) == Error.EINVAL


def status(talk: Transmission, runs: list[tuple[int, bool]], *, length: int, flags: int = 0) -> list[tuple[int, int]]:
    """The descriptors of a BLOCK_STATUS reply."""
    made = command(talk, peer.request(BLOCK_STATUS, length=length, flags=flags))
    (chunk,) = peer.chunks_of(talk.answer_status(made, runs))
    assert (chunk.kind, chunk.is_last, chunk.data[:4]) == (5, True, b"\0\0\0\1")
    return list(struct.iter_unpack(">II", chunk.data[4:]))


def test_block_status_describes_runs() -> None:
    """Data is 0, a hole is a hole and zeros."""
    assert status(session(structured=True), [(4096, False), (8192, True)], length=12288) == [(4096, 0), (8192, 3)]


def test_req_one_gets_one() -> None:
    """However many runs were found."""
    runs = [(4096, False), (8192, True)]
    assert status(session(structured=True), runs, length=12288, flags=REQ_ONE) == [(4096, 0)]


def test_block_status_is_bounded() -> None:
    """The client asks again for what is left out."""
    talk = session(structured=True, limits=NbdLimits(extents=2))
    assert status(talk, [(512, False), (512, True), (512, False)], length=1536) == [(512, 0), (512, 3)]


@pytest.mark.parametrize(("number", "error"), [(errno.EIO, 5), (errno.EROFS, 1), (errno.EFBIG, 28), (errno.ENXIO, 5)])
def test_system_errors_become_the_protocols(number: int, error: int) -> None:
    """Those it knows by their number, the rest as EIO."""
    assert error_of(number) == error


def test_failed_structured_read_is_an_error_chunk() -> None:
    """With words for the user."""
    talk = session(structured=True)
    failed = talk.fail(command(talk, peer.request(READ, length=512)), errno.EIO, "disk broke")
    assert peer.chunks_of(failed) == [Reply(7, 5, 0x8001, True, struct.pack(">IH", 5, 10) + b"disk broke")]


def test_failed_write_is_a_simple_error() -> None:
    """Only reads and block status must be chunks."""
    talk = session(structured=True, writable=True)
    failed = talk.fail(command(talk, peer.request(FLUSH)), errno.ENOSPC, "full")
    assert peer.reply_of(failed) == Reply(7, Error.ENOSPC)


def test_disc_ends_it() -> None:
    """Nothing after it is looked at."""
    talk = session()
    assert events(talk, peer.request(DISC), peer.request(READ, length=512)) == [Disconnected()]
    assert not talk.wants_data


def test_disc_does_not_wait_for_room() -> None:
    """A client may leave with its queue full."""
    talk = session(limits=NbdLimits(requests_in_flight=1))
    first, second = events(talk, peer.request(READ, length=512), peer.request(DISC))
    assert isinstance(first, Command)
    assert second == Disconnected()
    assert talk.requests_in_flight == 1


def test_requests_in_flight_are_bounded() -> None:
    """The third of two waits, unread, until one is answered."""
    talk = session(limits=NbdLimits(requests_in_flight=2))
    reads = [peer.request(READ, cookie=n, length=512) for n in range(3)]
    first, _ = events(talk, *reads)
    assert not talk.wants_data
    assert isinstance(first, Command)
    talk.answer_read(first, bytes(512))
    assert talk.wants_data
    assert [event.cookie for event in events(talk, b"x") if isinstance(event, Command)] == [2]


def test_bytes_in_flight_are_bounded() -> None:
    """By what the commands will hold in memory."""
    talk = session(limits=NbdLimits(bytes_in_flight=MIB))
    made = events(talk, *[peer.request(READ, length=MIB // 2)] * 3)
    assert len(made) == 2
    assert talk.bytes_in_flight == MIB
    assert not talk.wants_data


def test_one_request_is_always_let_in() -> None:
    """Even if it alone is over the bound on bytes."""
    talk = session(limits=NbdLimits(bytes_in_flight=512))
    made = command(talk, peer.request(READ, length=MIB))
    talk.answer_read(made, bytes(MIB))
    assert talk.bytes_in_flight == talk.requests_in_flight == 0


def test_a_write_waits_for_room_before_its_data_is_kept() -> None:
    """At the bound, data stays unread in the socket."""
    talk = session(writable=True, limits=NbdLimits(bytes_in_flight=MIB))
    (read,) = events(talk, peer.request(READ, length=MIB), peer.request(WRITE, length=MIB))
    assert not talk.wants_data
    assert isinstance(read, Command)
    talk.answer_read(read, bytes(MIB))
    assert talk.wants_data
    assert [type(event) for event in events(talk, bytes(MIB))] == [Command]


def test_a_write_being_received_counts_as_in_flight() -> None:
    """Its data is held from its first byte on, and more of it is wanted."""
    talk = session(writable=True)
    assert events(talk, peer.request(WRITE, length=MIB), b"x") == []
    assert talk.bytes_in_flight == MIB
    assert talk.wants_data


@pytest.mark.parametrize("before", [b"", peer.request(READ, length=512)])
def test_another_magic_raises(before: bytes) -> None:
    """There is no way to find the next request."""
    with pytest.raises(WireError, match="request has magic 0x0"):
        events(session(), before + b"\0" * 28)


@pytest.mark.parametrize("length", range(28))
def test_a_truncated_request_waits(length: int) -> None:
    """Cut at every offset."""
    talk = session()
    assert events(talk, peer.request(READ, length=512)[:length]) == []
    assert talk.wants_data


MIXED = [
    peer.request(READ, cookie=1, length=1024),
    peer.request(WRITE, cookie=2, length=512, data=b"\x25\x60\x95\x13" * 128),
    peer.request(WRITE, cookie=3, length=513, data=b"y" * 513),
    peer.request(BLOCK_STATUS, cookie=4, length=4096),
    peer.request(9, cookie=5),
    peer.request(DISC, cookie=6),
]


@pytest.mark.parametrize("step", [1, 5, 28, 600])
def test_requests_in_pieces_are_the_same_requests(step: int) -> None:
    """Byte by byte, and in odd pieces; a magic number inside data is data."""
    whole = events(session(structured=True, writable=True), *MIXED)
    assert events(session(structured=True, writable=True), *MIXED, step=step) == whole
    assert [type(event).__name__ for event in whole] == ["Command"] * 2 + [
        "Answer",
        "Command",
        "Answer",
        "Disconnected",
    ]


@settings(max_examples=300)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=64),
            st.builds(
                lambda *numbers: struct.pack(">IHHQQI", 0x25609513, *numbers),
                st.integers(0, 31),
                st.integers(0, 9),
                st.integers(0, 9),
                st.integers(0, SIZE // 512).map(lambda n: n * 512),
                st.integers(0, 9).map(lambda n: n * 512),
            ),
        ),
        max_size=6,
    ),
    st.booleans(),
    st.booleans(),
)
def test_whatever_comes_only_wire_errors_leave(messages: list[bytes], structured: bool, writable: bool) -> None:
    """And every command given out keeps the promises of its range."""
    talk = session(structured=structured, writable=writable)
    try:
        made = events(talk, *messages)
    except WireError:
        return
    for event in made:
        if isinstance(event, Command):
            assert event.offset + event.length <= SIZE
            assert len(bytes(event.data)) == (event.length if event.type is CommandType.WRITE else 0)


def test_zero_runs_are_told_in_steps() -> None:
    """A page of zeros amid data is sent; the odd end counts as data."""
    assert zero_runs(b"x" + bytes(STEP - 1) + bytes(STEP) + bytes(100)) == [(STEP, False), (STEP, True), (100, False)]


@given(st.lists(st.tuples(st.integers(1, 3 * STEP), st.booleans()), max_size=5))
def test_zero_runs_never_lose_a_byte(runs: list[tuple[int, bool]]) -> None:
    """They cover the data, and holes are zeros."""
    data = b"".join((b"\0" if is_zero else b"d") * length for length, is_zero in runs)
    at = 0
    for length, is_hole in zero_runs(data):
        assert not (is_hole and data[at : at + length].strip(b"\0"))
        at += length
    assert at == len(data)


def test_merging_joins_neighbours() -> None:
    """And drops what is empty."""
    assert merge_runs([(1, True), (0, False), (2, True), (3, False)]) == [(3, True), (3, False)]


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([(1000, False), (536, True)], [(1024, False), (512, True)]),  # a file's padded end
        ([(100, True), (1436, False)], [(1536, False)]),
        ([(1024, True), (512, False)], [(1024, True), (512, False)]),
        ([(700, True), (100, False), (736, True)], [(512, True), (512, False), (512, True)]),
        ([(100, False), (50, True), (100, False), (774, True)], [(512, False), (512, True)]),
    ],
)
def test_runs_are_moved_to_whole_blocks(runs: list[tuple[int, bool]], expected: list[tuple[int, bool]]) -> None:
    """A block that is data in part is data."""
    assert whole_blocks(512, runs, 512) == expected


@given(st.lists(st.tuples(st.integers(1, 2000), st.booleans()), min_size=1, max_size=8))
def test_whole_blocks_cover_the_range_and_keep_all_data(runs: list[tuple[int, bool]]) -> None:
    """Same end, boundaries on blocks, no byte of data called a hole."""
    runs.append((-sum(length for length, _ in runs) % 512, True))
    is_data = b"".join(bytes([not is_hole]) * length for length, is_hole in runs)
    at = 0
    for length, is_hole in whole_blocks(0, runs, 512):
        assert not length % 512
        assert not (is_hole and any(is_data[at : at + length]))
        at += length
    assert at == len(is_data)
