"""The handshake's session: options in, replies and an agreement out, without a socket."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import WireError
from protocols.nbd.handshake import Agreement, Ended, ExportAsked, Handshake, HandshakeEvent, NamesAsked
from protocols.nbd.limits import NbdLimits
from protocols.nbd.wire import TransmissionFlag
from tests.protocols.nbd import peer
from tests.protocols.nbd.peer import OptionReply

NEWSTYLE = b"\0\0\0\1"
NO_ZEROES = b"\0\0\0\3"
ACK = 1
ERR_UNSUP, ERR_POLICY, ERR_INVALID, ERR_UNKNOWN, ERR_TOO_BIG = (0x8000_0000 + n for n in (1, 2, 3, 6, 9))
READ_ONLY = 0x507  # has flags, read-only, flush, multi-conn, cache
WRITABLE = 0x46D  # has flags, flush, FUA, trim, write zeroes, cache
DF = 0x80
SIZE = 1 << 20


class Conversation:
    """A handshake whose questions are answered as soon as they come."""

    def __init__(self, *, flags: bytes = NO_ZEROES, writable: bool = False, limits: NbdLimits | None = None) -> None:
        self.handshake = Handshake(limits or NbdLimits())
        assert self.handshake.take_output() == peer.GREETING
        self.writable = writable
        self.events: list[HandshakeEvent] = []
        self.agreement: Agreement | None = None
        self.say(flags)

    def say(self, *messages: bytes, step: int = 0) -> bytes:
        """Feed messages, whole or `step` bytes at a time; what the server sends."""
        data = b"".join(messages)
        output = b""
        step = step or max(len(data), 1)
        for at in range(0, len(data), step):
            self.handshake.receive(data[at : at + step])
            while (event := self.handshake.next_event()) is not None:
                self.events.append(event)
                self._answer(event)
            output += self.handshake.take_output()
        return output

    def replies(self, *messages: bytes) -> list[OptionReply]:
        """Feed messages; the option replies they get."""
        return peer.option_replies(self.say(*messages))

    def _answer(self, event: HandshakeEvent) -> None:
        match event:
            case ExportAsked("missing"):
                self.handshake.missing("no such export")
            case ExportAsked("forbidden"):
                self.handshake.missing("not yours", forbidden=True)
            case ExportAsked():
                self.agreement = self.handshake.found(SIZE, writable=self.writable)
            case NamesAsked():
                self.handshake.list_names(["one", "für-alle", "x" * 4097])


def test_export_name_ends_in_an_agreement() -> None:
    """The oldest way in: size and flags, and no promise about blocks."""
    talk = Conversation()
    assert talk.say(peer.option(1, b"root")) == struct.pack(">QH", SIZE, READ_ONLY)
    assert talk.agreement == Agreement("root", SIZE, TransmissionFlag(READ_ONLY), False, False, 1)


def test_export_name_without_no_zeroes_gets_its_124_zeroes() -> None:
    """A client that did not ask to leave them out."""
    talk = Conversation(flags=NEWSTYLE)
    assert talk.say(peer.option(1, b"root")) == struct.pack(">QH", SIZE, READ_ONLY) + bytes(124)


def test_plain_newstyle_client_may_only_name_an_export() -> None:
    """Flags of zero: EXPORT_NAME works."""
    talk = Conversation(flags=bytes(4))
    assert len(talk.say(peer.option(1, b"root"))) == 134


def test_plain_newstyle_client_may_not_haggle() -> None:
    """It could not read an option's reply."""
    with pytest.raises(WireError, match="not fixed newstyle"):
        Conversation(flags=bytes(4)).say(peer.option(3))


def test_empty_name_asks_for_the_default_export() -> None:
    """The finder decides what the default is."""
    talk = Conversation()
    talk.say(peer.option(1))
    assert talk.events == [ExportAsked("")]


def test_unknown_export_name_ends_the_handshake() -> None:
    """EXPORT_NAME has no error reply: nothing is sent, the connection closes."""
    talk = Conversation()
    assert talk.say(peer.option(1, b"missing")) == b""
    assert talk.events == [ExportAsked("missing"), Ended("refused")]


@pytest.mark.parametrize("name", [b"\xff", b"a\0b", b"x" * 4097])
def test_export_name_that_is_no_string_is_malformed(name: bytes) -> None:
    """Without error replies there is nothing else to do."""
    with pytest.raises(WireError):
        Conversation().say(peer.option(1, name))


def test_go_tells_the_export_and_agrees() -> None:
    """The one fact that is always told, then ACK."""
    talk = Conversation()
    fact = struct.pack(">HQH", 0, SIZE, READ_ONLY)
    assert talk.replies(peer.go("root")) == [OptionReply(7, 3, fact), OptionReply(7, ACK, b"")]
    assert talk.agreement == Agreement("root", SIZE, TransmissionFlag(READ_ONLY), False, False, 1)


def test_go_tells_what_was_asked() -> None:
    """Name, description and block sizes, on request."""
    talk = Conversation()
    facts = [reply.data for reply in talk.replies(peer.go("root", 1, 2, 3))[1:-1]]
    assert facts == [b"\0\1root", b"\0\2" + b"1048576 bytes, read-only", struct.pack(">HIII", 3, 512, 4096, 32 << 20)]


def test_asking_for_block_sizes_is_agreeing_to_them() -> None:
    """Who did not ask may send any block (proto.md: Block size constraints)."""
    talk = Conversation()
    talk.say(peer.go("root", 3))
    assert talk.agreement is not None
    assert talk.agreement.minimum_block == 512


def test_unknown_facts_are_passed_over() -> None:
    """As the protocol wants it."""
    assert [reply.kind for reply in Conversation().replies(peer.go("root", 77))] == [3, ACK]


def test_the_default_export_keeps_its_name() -> None:
    """NAME is left out where we do not know it."""
    assert [reply.data[:2] for reply in Conversation().replies(peer.go("", 1))] == [b"\0\0", b""]


def test_info_tells_and_goes_on() -> None:
    """The same facts, and the haggling continues."""
    talk = Conversation()
    assert [reply.kind for reply in talk.replies(peer.go("root", number=6))] == [3, ACK]
    assert talk.agreement is None
    talk.say(peer.go("root"))
    assert talk.agreement is not None


@pytest.mark.parametrize("number", [6, 7])
@pytest.mark.parametrize(("name", "kind"), [("missing", ERR_UNKNOWN), ("forbidden", ERR_POLICY)])
def test_refused_exports_leave_the_client_to_ask_on(number: int, name: str, kind: int) -> None:
    """An error reply with words in it; the next option works."""
    talk = Conversation()
    (reply,) = talk.replies(peer.go(name, number=number))
    assert reply.kind == kind
    assert reply.data
    assert talk.replies(peer.option(8)) == [OptionReply(8, ACK, b"")]


def test_malformed_data_of_an_option_is_the_options_error() -> None:
    """The frame around it is whole, so the connection lives."""
    talk = Conversation()
    (reply,) = talk.replies(peer.option(7, b"\0\0\0\x09root\0\0"))
    assert reply.kind == ERR_INVALID
    assert [reply.kind for reply in talk.replies(peer.go("root"))] == [3, ACK]


def test_list_names_every_export() -> None:
    """One reply each, then ACK; a name too long for the protocol is left out."""
    replies = Conversation().replies(peer.option(3))
    assert [(r.kind, r.data) for r in replies] == [(2, peer.text("one")), (2, peer.text("für-alle")), (ACK, b"")]


@pytest.mark.parametrize("number", [3, 8])
def test_data_where_none_belongs_is_invalid(number: int) -> None:
    """LIST and STRUCTURED_REPLY take none."""
    assert [reply.kind for reply in Conversation().replies(peer.option(number, b"x"))] == [ERR_INVALID]


def test_abort_is_acknowledged_and_ends() -> None:
    """What follows it is not looked at."""
    talk = Conversation()
    assert talk.replies(peer.option(2), peer.option(3)) == [OptionReply(2, ACK, b"")]
    assert talk.events == [Ended("aborted")]


@pytest.mark.parametrize("number", [4, 5, 11, 12, 0xFFFF_FFFF])
def test_other_options_are_unsupported(number: int) -> None:
    """STARTTLS among them; their data is passed over."""
    replies = Conversation().replies(peer.option(number, b"data"), peer.option(8))
    assert [(reply.option, reply.kind) for reply in replies] == [(number, ERR_UNSUP), (8, ACK)]


def test_structured_replies_allow_df() -> None:
    """The flag is clear until they are agreed on."""
    talk = Conversation()
    talk.say(peer.option(8), peer.go("root"))
    assert talk.agreement == Agreement("root", SIZE, TransmissionFlag(READ_ONLY | DF), True, False, 1)


def test_writable_exports_say_what_they_can() -> None:
    """FUA, TRIM and WRITE_ZEROES, no READ_ONLY."""
    talk = Conversation(writable=True)
    assert talk.say(peer.option(1, b"root"))[8:10] == struct.pack(">H", WRITABLE)


def test_selecting_a_context_allows_block_status() -> None:
    """One context, with the number its replies will carry."""
    talk = Conversation()
    replies = talk.replies(peer.option(8), peer.meta("root", "base:allocation"), peer.go("root"))
    assert replies[1:3] == [OptionReply(10, 4, b"\0\0\0\1base:allocation"), OptionReply(10, ACK, b"")]
    assert talk.agreement is not None
    assert talk.agreement.allocation


@pytest.mark.parametrize("queries", [(), ("base:",), ("x-other:thing",)])
def test_selecting_nothing_we_have_selects_nothing(queries: tuple[str, ...]) -> None:
    """An ACK alone; a wildcard only lists."""
    talk = Conversation()
    replies = talk.replies(peer.option(8), peer.meta("root", *queries), peer.go("root"))
    assert replies[1] == OptionReply(10, ACK, b"")
    assert talk.agreement is not None
    assert not talk.agreement.allocation


def test_the_last_selection_counts() -> None:
    """Selecting again, even in vain, forgets the selection before."""
    talk = Conversation()
    talk.say(peer.option(8), peer.meta("root", "base:allocation"), peer.option(10, b"x"), peer.go("root"))
    assert talk.agreement is not None
    assert not talk.agreement.allocation


def test_a_selection_is_for_one_export() -> None:
    """Going to another is going without."""
    talk = Conversation()
    talk.say(peer.option(8), peer.meta("other", "base:allocation"), peer.go("root"))
    assert talk.agreement is not None
    assert not talk.agreement.allocation


@pytest.mark.parametrize("queries", [(), ("base:",), ("base:allocation",), ("x-a:b", "base:allocation")])
def test_contexts_are_listed_without_a_number(queries: tuple[str, ...]) -> None:
    """All of them for no query, those that match otherwise."""
    replies = Conversation().replies(peer.option(8), peer.meta("root", *queries, number=9))
    assert replies[1:] == [OptionReply(9, 4, b"\0\0\0\0base:allocation"), OptionReply(9, ACK, b"")]


def test_listing_selects_nothing() -> None:
    """LIST_META_CONTEXT leaves the selection as it was."""
    talk = Conversation()
    talk.say(peer.option(8), peer.meta("root", "base:allocation"), peer.meta("root", number=9), peer.go("root"))
    assert talk.agreement is not None
    assert talk.agreement.allocation


@pytest.mark.parametrize("number", [9, 10])
def test_contexts_need_structured_replies_first(number: int) -> None:
    """Block status could not be answered without."""
    assert [reply.kind for reply in Conversation().replies(peer.meta("root", number=number))] == [ERR_INVALID]


def test_contexts_of_an_unknown_export() -> None:
    """Refused like the export itself."""
    replies = Conversation().replies(peer.option(8), peer.meta("missing", "base:allocation"))
    assert replies[1].kind == ERR_UNKNOWN


@pytest.mark.parametrize("step", [0, 1, 7])
def test_oversized_option_is_passed_over(step: int) -> None:
    """Answered at once, its data never kept; the next option works."""
    talk = Conversation()
    output = talk.say(peer.option(7, bytes(70_000)), peer.option(8), step=step)
    assert [(r.option, r.kind) for r in peer.option_replies(output)] == [(7, ERR_TOO_BIG), (8, ACK)]


def test_oversized_option_keeps_no_data() -> None:
    """While it passes, nothing of it stays in memory."""
    talk = Conversation()
    talk.say(peer.option(7, bytes(70_000))[:-1])
    assert talk.handshake.take_rest() == b""


def test_absurd_option_ends_the_handshake() -> None:
    """Passing over 4 GiB is no handshake."""
    talk = Conversation()
    (reply,) = talk.replies(b"IHAVEOPT" + struct.pack(">II", 7, 0xFFFF_FFFF))
    assert reply.kind == ERR_TOO_BIG
    assert talk.events == [Ended("option_too_big")]


def test_oversized_export_name_ends_the_handshake() -> None:
    """There is no error reply for it."""
    talk = Conversation()
    assert talk.say(b"IHAVEOPT" + struct.pack(">II", 1, 70_000)) == b""
    assert talk.events == [Ended("refused")]


def test_options_are_bounded() -> None:
    """A client can't haggle for ever."""
    talk = Conversation(limits=NbdLimits(options=2))
    replies = talk.replies(peer.option(8), peer.option(8), peer.option(8))
    assert [reply.kind for reply in replies] == [ACK, ACK, ERR_POLICY]
    assert talk.events == [Ended("too_many_options")]


@pytest.mark.parametrize("at", range(8))
def test_another_magic_is_malformed(at: int) -> None:
    """Any wrong byte of it."""
    broken = bytearray(peer.option(8))
    broken[at] ^= 1
    with pytest.raises(WireError, match="magic"):
        Conversation().say(bytes(broken))


def test_unknown_client_flags_are_malformed() -> None:
    """The protocol demands that they end the connection."""
    with pytest.raises(WireError, match="unknown flags"):
        Conversation(flags=b"\0\0\0\x07")


FULL = [peer.option(8), peer.meta("root", "base:allocation"), peer.go("root", 1, 3)]


@pytest.mark.parametrize("step", [1, 3, 16])
def test_a_handshake_in_pieces_is_the_same_handshake(step: int) -> None:
    """Byte by byte, and in odd pieces."""
    whole, pieces = Conversation(), Conversation()
    assert pieces.say(*FULL, step=step) == whole.say(*FULL)
    assert pieces.agreement == whole.agreement


@pytest.mark.parametrize("length", range(len(b"".join(FULL))))
def test_a_truncated_handshake_waits(length: int) -> None:
    """Cut at every offset: no agreement, no end, more is wanted."""
    talk = Conversation()
    talk.say(b"".join(FULL)[:length])
    assert talk.agreement is None
    assert talk.handshake.wants_data


@pytest.mark.parametrize("step", [0, 1])
def test_what_follows_the_handshake_is_kept(step: int) -> None:
    """Requests that were sent ahead belong to transmission."""
    talk = Conversation()
    talk.say(peer.go("root"), peer.request(0), step=step)
    assert talk.handshake.take_rest() == peer.request(0)
    assert not talk.handshake.wants_data


def test_nothing_is_looked_at_while_a_question_is_open() -> None:
    """Options behind it wait for its answer."""
    handshake = Handshake(NbdLimits())
    handshake.receive(NO_ZEROES + peer.go("root", number=6) + peer.option(8))
    assert handshake.next_event() == ExportAsked("root")
    assert handshake.next_event() is None
    assert not handshake.wants_data


def test_an_answer_without_a_question_is_our_bug() -> None:
    """Found must follow ExportAsked."""
    with pytest.raises(AssertionError):
        Handshake(NbdLimits()).found(SIZE, writable=False)


@settings(max_examples=300)
@given(st.lists(st.one_of(st.binary(max_size=40), st.builds(peer.option, st.integers(0, 13), st.binary(max_size=40)))))
def test_whatever_comes_only_wire_errors_leave(messages: list[bytes]) -> None:
    """Options with any data, and bytes that are none."""
    talk = Conversation()
    try:
        for message in messages:
            if message:
                talk.say(message)
    except WireError:
        pass
