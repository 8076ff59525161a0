"""A write request served, step by step: what is acknowledged when, and how it ends."""

import pytest

from protocols.tftp.options import Mode, Terms
from protocols.tftp.transfer import GIVE_UP_AFTER, Outcome
from protocols.tftp.wire import Ack, ErrorCode, OptionAck, build_ack, build_data, build_error, parse_packet
from protocols.tftp.writing import DALLY, WriteTransfer


class Bench:
    """A write transfer in blocks of 10, with a clock that the test moves."""

    def __init__(self, windowsize: int = 1, *, has_oack: bool = True, mode: Mode = Mode.OCTET) -> None:
        terms = Terms(mode, 10, windowsize, None, (("blksize", "10"),) if has_oack else ())
        self.now = 0.0
        self.transfer = WriteTransfer(terms, self.now)

    def sent(self) -> list[int | str]:
        """What was sent since the last look: numbers of ACKs, and "oack"."""
        packets = [parse_packet(d) for d in self.transfer.take_datagrams()]
        return [p.block if isinstance(p, Ack) else "oack" for p in packets if isinstance(p, Ack | OptionAck)]

    def data(self, block: int, payload: bytes = b"0123456789") -> list[int | str]:
        """The client sends a block; what is answered."""
        self.now += 0.01
        self.transfer.receive(build_data(block, payload), self.now)
        return self.sent()

    def wait(self) -> list[int | str]:
        """The timer runs out; what is sent then."""
        deadline = self.transfer.next_timeout()
        assert deadline is not None
        self.now = deadline
        self.transfer.handle_timer(self.now)
        return self.sent()


def test_without_options_ack_zero_is_the_answer() -> None:
    """RFC 1350 §4."""
    assert Bench(has_oack=False).sent() == [0]


def test_with_options_the_oack_is_the_answer() -> None:
    """And no ACK 0 (quirk T-18)."""
    assert Bench().sent() == ["oack"]


def test_blocks_in_order_are_acknowledged_and_kept() -> None:
    """The last one only once the file is in its place."""
    bench = Bench()
    bench.sent()
    assert bench.data(1) == [1]
    assert bench.data(2, b"end") == []
    assert bench.transfer.is_complete
    assert bench.transfer.take_received() == [b"0123456789", b"end"]
    bench.transfer.confirm(bench.now)
    assert bench.sent() == [2]
    assert bench.transfer.outcome is Outcome.COMPLETED
    assert bench.transfer.size == 13


def test_a_window_is_acknowledged_once() -> None:
    """RFC 7440."""
    bench = Bench(3)
    bench.sent()
    assert [bench.data(n) for n in (1, 2, 3, 4, 5, 6)] == [[], [], [3], [], [], [6]]


def test_a_gap_is_reported_once() -> None:
    """With the last block in order; the other blocks of the window say nothing new."""
    bench = Bench(4)
    bench.sent()
    assert [bench.data(n) for n in (1, 3, 4)] == [[], [1], []]
    assert [bench.data(n) for n in (2, 3, 4, 5)] == [[], [], [], [5]]
    assert len(bench.transfer.take_received()) == 5


def test_a_block_that_was_acknowledged_is_acknowledged_again() -> None:
    """Our ACK was lost."""
    bench = Bench()
    bench.sent()
    bench.data(1)
    assert bench.data(1) == [1]
    assert len(bench.transfer.take_received()) == 1


def test_old_and_impossible_blocks_are_ignored() -> None:
    """Long past, before the first, or further than a window ahead."""
    bench = Bench()
    bench.sent()
    assert bench.data(0) == []
    bench.data(1)
    bench.data(2)
    assert [bench.data(1), bench.data(4), bench.data(65535)] == [[], [], []]


def test_a_block_larger_than_agreed_is_ignored() -> None:
    """It can't be cut: the next would not fit."""
    bench = Bench()
    bench.sent()
    assert bench.data(1, bytes(11)) == []
    assert bench.data(1, bytes(10)) == [1]


def test_silence_repeats_the_answer() -> None:
    """The OACK first, later the last ACK."""
    bench = Bench()
    bench.sent()
    assert bench.wait() == ["oack"]
    bench.data(1)
    assert bench.wait() == [1]
    assert bench.transfer.resent == 2


def test_silence_inside_a_window_acknowledges_what_came() -> None:
    """So that the client goes on from there."""
    bench = Bench(4)
    bench.sent()
    bench.data(1)
    bench.data(2)
    assert bench.wait() == [2]


def test_silence_ends_in_a_time_out() -> None:
    """Nothing of the file is of use then."""
    bench = Bench()
    while bench.transfer.outcome is None:
        bench.wait()
    assert bench.transfer.outcome is Outcome.TIMED_OUT
    assert bench.now >= GIVE_UP_AFTER
    assert bench.transfer.is_closed


def test_a_repeated_request_repeats_the_answer() -> None:
    """Until the first block came."""
    bench = Bench()
    bench.sent()
    assert bench.transfer.repeat_answer(0.1)
    assert bench.sent() == ["oack"]
    bench.data(1)
    assert not bench.transfer.repeat_answer(0.2)


def test_an_error_of_the_client_is_an_abort() -> None:
    """It thought better of it."""
    bench = Bench()
    bench.transfer.receive(build_error(0, "no"), 0.1)
    assert bench.transfer.outcome is Outcome.ABORTED
    assert not bench.transfer.repeat_answer(0.1)


def test_the_last_ack_is_repeated_for_a_while() -> None:
    """The client resends its last block when our ACK was lost (RFC 1350 §6)."""
    bench = Bench()
    bench.sent()
    bench.data(1, b"end")
    bench.transfer.confirm(bench.now)
    bench.sent()
    assert not bench.transfer.is_closed
    assert bench.data(1, b"end") == [1]
    assert bench.data(2, b"") == []
    bench.transfer.receive(build_error(0, "late"), bench.now)
    assert bench.transfer.outcome is Outcome.COMPLETED
    bench.transfer.handle_timer(bench.now + DALLY)
    assert bench.transfer.is_closed


def test_a_file_that_is_complete_takes_no_more() -> None:
    """Until it is stored nothing is said; what the client repeats meanwhile is dropped."""
    bench = Bench()
    bench.sent()
    bench.data(1, b"end")
    assert bench.data(1, b"end") == []
    assert bench.data(2, b"more") == []
    assert bench.transfer.take_received() == [b"end"]


def test_a_failure_of_ours_is_told() -> None:
    """And blocks that come after it are not acknowledged."""
    bench = Bench()
    bench.sent()
    bench.transfer.fail(ErrorCode.DISK_FULL, "Disk full or allocation exceeded")
    assert bench.transfer.take_datagrams() == [build_error(3, "Disk full or allocation exceeded")]
    assert bench.data(1) == []
    assert bench.transfer.is_closed


def test_a_new_request_ends_the_waiting_after_an_upload() -> None:
    """The outcome stays."""
    bench = Bench()
    bench.data(1, b"end")
    bench.transfer.confirm(bench.now)
    bench.transfer.abandon()
    assert bench.transfer.is_closed
    assert bench.transfer.outcome is Outcome.COMPLETED


def test_packets_that_make_no_sense_are_ignored() -> None:
    """ACKs on a port that receives."""
    bench = Bench()
    bench.sent()
    bench.transfer.receive(build_ack(0), 0.1)
    assert bench.sent() == []


@pytest.mark.parametrize("first", [b"123456789\r", b"12345678\r\n"])
def test_netascii_is_decoded_across_blocks(first: bytes) -> None:
    """A line end cut by a block's end is still one line end."""
    bench = Bench(mode=Mode.NETASCII)
    bench.data(1, first)
    bench.data(2, b"\nend")
    text = b"".join(bench.transfer.take_received())
    assert text == (first + b"\nend").replace(b"\r\n", b"\n")


def test_round_trips_are_measured_from_the_last_ack() -> None:
    """So that a lost ACK is repeated soon; what was sent twice is not measured."""
    bench = Bench()
    bench.sent()
    bench.data(1)
    assert bench.transfer.next_timeout() == pytest.approx(bench.now + 0.25)
    bench.wait()
    bench.data(2)
    assert bench.transfer.next_timeout() == pytest.approx(bench.now + 0.25)
