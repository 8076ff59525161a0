"""Option negotiation: what is accepted, clamped, ignored, and how it is echoed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.tftp.options import Ceilings, Mode, Terms, announced_size, negotiate
from protocols.tftp.wire import Opcode, Options, Request


def terms(*options: tuple[str, str], size: int = 1000, mode: Mode = Mode.OCTET, opcode: Opcode = Opcode.RRQ) -> Terms:
    """What is agreed when a client asks for `options`."""
    return negotiate(Request(opcode, "name", mode, options), mode, size, Ceilings())


def test_no_options_mean_rfc_1350() -> None:
    """512 bytes, lock step, no OACK."""
    assert terms() == Terms(Mode.OCTET, 512, 1, None, ())


@pytest.mark.parametrize(
    ("asked", "answered"),
    [("8", "8"), ("1428", "1428"), ("65464", "65464"), ("65535", "65464"), ("99999999", "65464"), ("0512", "512")],
)
def test_blksize_is_accepted_up_to_the_largest(asked: str, answered: str) -> None:
    """8 to 65464 as asked, more clamped, never raised."""
    agreed = terms(("blksize", asked))
    assert agreed.answer == (("blksize", answered),)
    assert agreed.blksize == int(answered)


@pytest.mark.parametrize("value", ["0", "7", "", "-1", "1e3", "12 ", "0x200", "\u0661\u0662\u0663\u0664", "9" * 5000])
def test_blksize_that_makes_no_sense_is_ignored(value: str) -> None:
    """KIWI sends `blksize 0`: no option, no error."""
    assert terms(("blksize", value)) == terms()


@pytest.mark.parametrize(("asked", "answered"), [("1", 1), ("4", 4), ("64", 64), ("65535", 64)])
def test_windowsize_is_clamped(asked: str, answered: int) -> None:
    """As asked up to the ceiling (quirk T-7)."""
    agreed = terms(("windowsize", asked))
    assert (agreed.windowsize, agreed.answer) == (answered, (("windowsize", str(answered)),))


def test_a_window_is_bounded_in_bytes() -> None:
    """Large blocks get a smaller window: it is held in memory."""
    assert terms(("windowsize", "64"), ("blksize", "65464")).windowsize == 16


@pytest.mark.parametrize("value", ["0", "", "many"])
def test_windowsize_that_makes_no_sense_is_ignored(value: str) -> None:
    """No option, no error."""
    assert terms(("windowsize", value)) == terms()


@pytest.mark.parametrize(("value", "agreed"), [("1", 1), ("255", 255), ("0", None), ("256", None), ("soon", None)])
def test_timeout(value: str, agreed: int | None) -> None:
    """1 to 255 seconds are echoed unchanged, anything else is ignored (RFC 2349)."""
    assert terms(("timeout", value)).timeout == agreed
    assert terms(("timeout", value)).answer == (() if agreed is None else (("timeout", value),))


def test_tsize_is_the_real_size() -> None:
    """Never 0, never 1 (quirk T-3)."""
    assert terms(("tsize", "0"), size=4321).answer == (("tsize", "4321"),)


def test_tsize_of_an_empty_file_is_left_out() -> None:
    """curl refuses a size of 0 (quirk T-3)."""
    assert terms(("tsize", "0"), size=0).answer == ()


def test_tsize_of_a_write_is_echoed() -> None:
    """RFC 2349: the server repeats what the client announced."""
    assert terms(("tsize", "77"), opcode=Opcode.WRQ).answer == (("tsize", "77"),)


def test_netascii_has_neither_tsize_nor_windows() -> None:
    """Its size is not known beforehand, and its blocks are made one after the other."""
    agreed = terms(("tsize", "0"), ("windowsize", "8"), ("blksize", "1024"), mode=Mode.NETASCII)
    assert agreed == Terms(Mode.NETASCII, 1024, 1, None, (("blksize", "1024"),))


def test_the_answer_keeps_order_and_spelling_and_adds_nothing() -> None:
    """Only what was asked, in its order, as it was spelt; unknown options vanish (quirks T-2, T-21)."""
    agreed = terms(("TSIZE", "0"), ("multicast", ""), ("BlkSize", "1432"), ("utimeout", "5"), size=9)
    assert agreed.answer == (("TSIZE", "9"), ("BlkSize", "1432"))


def test_a_repeated_option_counts_once() -> None:
    """The first one, answered in its place."""
    assert terms(("blksize", "1024"), ("BLKSIZE", "8")).answer == (("blksize", "1024"),)


@pytest.mark.parametrize(
    ("options", "size"), [((("TSIZE", "12"),), 12), ((("blksize", "9"),), None), ((("tsize", "x"),), None)]
)
def test_announced_size(options: Options, size: int | None) -> None:
    """What an upload says of itself, where it can be used."""
    assert announced_size(Request(Opcode.WRQ, "up", "octet", options)) == size


def test_a_ceiling_below_the_smallest_blksize_is_not_below_it() -> None:
    """RFC 2348 knows no block under 8 bytes."""
    assert negotiate(Request(Opcode.RRQ, "n", "octet", (("blksize", "512"),)), Mode.OCTET, 1, Ceilings(1)).blksize == 8


@given(st.lists(st.tuples(st.text(max_size=10), st.text(max_size=10)), max_size=8).map(tuple), st.sampled_from(Mode))
def test_no_options_ever_fail(options: Options, mode: Mode) -> None:
    """Any texts: terms within bounds, and an answer among what was asked."""
    agreed = negotiate(Request(Opcode.RRQ, "n", mode, options), mode, 5, Ceilings())
    assert 8 <= agreed.blksize <= 65464
    assert 1 <= agreed.windowsize <= 64
    assert {name for name, _ in agreed.answer} <= {name for name, _ in options}


@pytest.mark.parametrize(
    ("asked", "ceiling", "answered", "wrap"),
    [("1", 0, True, 1), ("0", 1, True, 0), ("2", 0, False, 0), ("2", 1, False, 1), ("", 0, False, 0)],
)
def test_rollover(asked: str, ceiling: int, answered: bool, wrap: int) -> None:
    """The client's word, else what is known of it (quirk T-9)."""
    request = Request(Opcode.RRQ, "f", "octet", (("rollover", asked),))
    agreed = negotiate(request, Mode.OCTET, 9, Ceilings(wrap=ceiling))
    assert agreed == Terms(Mode.OCTET, 512, 1, None, (("rollover", asked),) if answered else (), wrap)


def test_rollover_of_a_write() -> None:
    """It is left unanswered: who sends decides, and goes on with 0."""
    request = Request(Opcode.WRQ, "f", "octet", (("rollover", "1"),))
    assert negotiate(request, Mode.OCTET, 0, Ceilings()).answer == ()
