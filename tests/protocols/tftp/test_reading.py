"""A read request served, step by step: what is sent when, and how it ends."""

import pytest

from protocols.errors import WireError
from protocols.tftp.content import NetasciiContent, OctetContent
from protocols.tftp.options import Mode, Terms
from protocols.tftp.reading import FINAL_RESENDS, MIN_RTO, ReadTransfer
from protocols.tftp.transfer import GIVE_UP_AFTER, START_RESENDS, Outcome
from protocols.tftp.wire import (
    Data,
    ErrorCode,
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

PLAIN = bytes(range(100))
ANSWER = (("blksize", "10"),)
TICK = 0.01  # seconds between a packet and its answer in these tests


class Bench:
    """A read transfer of 100 bytes in blocks of 10, with a clock that the test moves."""

    def __init__(self, windowsize: int = 1, *, timeout: int | None = None, has_oack: bool = True) -> None:
        terms = Terms(Mode.OCTET, 10, windowsize, timeout, ANSWER if has_oack else ())
        self.now = 0.0
        self.transfer = ReadTransfer(terms, OctetContent(len(PLAIN), 10), self.now)

    def sent(self) -> list[int | str]:
        """What was sent since the last look: block numbers, and "oack"."""
        while (wanted := self.transfer.wants()) is not None:
            self.transfer.supply(wanted[0], PLAIN[wanted[0] :][: wanted[1]], self.now)
        return [self._name(parse_packet(d)) for d in self.transfer.take_datagrams()]

    def ack(self, block: int) -> list[int | str]:
        """The client acknowledges; what is sent then."""
        self.now += TICK
        self.transfer.receive(build_ack(block), self.now)
        return self.sent()

    def wait(self) -> list[int | str]:
        """The timer runs out; what is sent then."""
        deadline = self.transfer.next_timeout()
        assert deadline is not None
        self.now = deadline
        self.transfer.handle_timer(self.now)
        return self.sent()

    def start(self) -> list[int | str]:
        """The first window, with options agreed where there are any."""
        first = self.sent()
        return self.ack(0) if first == ["oack"] else first

    @staticmethod
    def _name(packet: Packet) -> int | str:
        if isinstance(packet, Data):
            assert bytes(packet.payload) == PLAIN[(packet.block - 1) * 10 : packet.block * 10]
            return packet.block
        return "oack" if isinstance(packet, OptionAck) else type(packet).__name__


def test_without_options_block_one_is_the_answer() -> None:
    """RFC 1350 §4."""
    assert Bench(has_oack=False).sent() == [1]


def test_with_options_data_waits_for_ack_zero() -> None:
    """RFC 2347."""
    bench = Bench()
    assert bench.sent() == ["oack"]
    assert bench.ack(0) == [1]


def test_an_ack_of_anything_else_does_not_answer_an_oack() -> None:
    """Only block 0 does."""
    bench = Bench()
    bench.sent()
    assert bench.ack(1) == []
    assert bench.ack(0) == [1]


def test_lock_step_to_the_end() -> None:
    """One block for one ACK; the last is empty as 100 is a whole number of blocks."""
    bench = Bench()
    assert bench.start() == [1]
    assert [bench.ack(n) for n in range(1, 11)] == [[n + 1] for n in range(1, 11)]
    assert bench.transfer.outcome is None
    assert bench.ack(11) == []
    assert bench.transfer.outcome is Outcome.COMPLETED
    assert (bench.transfer.size, bench.transfer.resent, bench.transfer.is_closed) == (100, 0, True)


def test_an_empty_file_is_one_empty_block() -> None:
    """There is always a short block."""
    transfer = ReadTransfer(Terms(Mode.OCTET, 512, 1, None, ()), OctetContent(0, 512), 0.0)
    assert transfer.wants() is None
    transfer.advance(0.0)
    assert transfer.take_datagrams() == [build_data(1, b"")]
    transfer.receive(build_ack(1), 0.1)
    assert transfer.outcome is Outcome.COMPLETED


def test_windows() -> None:
    """A window for each ACK of a whole one (RFC 7440)."""
    bench = Bench(4)
    assert bench.start() == [1, 2, 3, 4]
    assert bench.ack(4) == [5, 6, 7, 8]
    assert bench.ack(8) == [9, 10, 11]
    bench.ack(11)
    assert bench.transfer.outcome is Outcome.COMPLETED


def test_an_ack_in_the_middle_rewinds_the_window() -> None:
    """What follows it was lost (RFC 7440 §4), and is sent again at once, once."""
    bench = Bench(4)
    bench.start()
    assert bench.ack(2) == [3, 4, 5, 6]
    assert bench.ack(2) == []
    assert bench.transfer.resent == 2
    assert bench.ack(6) == [7, 8, 9, 10]


@pytest.mark.parametrize("windowsize", [1, 4])
def test_a_duplicate_ack_causes_nothing(windowsize: int) -> None:
    """No sorcerer's apprentice (quirk T-8)."""
    bench = Bench(windowsize)
    bench.start()
    assert bench.ack(0) == []
    bench.ack(windowsize)
    assert bench.ack(windowsize) == []
    assert bench.transfer.resent == 0


def test_an_ack_of_the_future_causes_nothing() -> None:
    """Blocks that were never sent can't have arrived."""
    bench = Bench(4)
    bench.start()
    assert bench.ack(5) == []
    assert bench.ack(65535) == []


def test_silence_resends_the_window() -> None:
    """A second after the first packet when nothing was measured, twice as long after that."""
    bench = Bench(has_oack=False)
    assert bench.sent() == [1]
    assert bench.transfer.next_timeout() == 1.0
    assert bench.wait() == [1]
    assert bench.transfer.next_timeout() == 3.0
    assert bench.transfer.resent == 1


def test_measured_round_trips_shorten_the_wait() -> None:
    """RFC 6298, not less than MIN_RTO."""
    bench = Bench()
    bench.start()
    for block in range(1, 5):
        bench.ack(block)
    assert bench.transfer.next_timeout() == pytest.approx(bench.now + MIN_RTO)


def test_what_was_sent_twice_is_not_measured() -> None:
    """Karn: nobody knows which of the two was answered."""
    bench = Bench(has_oack=False)
    bench.sent()
    bench.wait()
    bench.ack(1)
    assert bench.transfer.next_timeout() == pytest.approx(bench.now + 2.0)
    bench.ack(2)
    assert bench.transfer.next_timeout() == pytest.approx(bench.now + MIN_RTO)


def test_a_timer_that_fires_early_does_nothing() -> None:
    """The endpoint may be lazy about moving its timer."""
    bench = Bench()
    bench.sent()
    bench.transfer.handle_timer(0.5)
    assert bench.sent() == []


def test_the_clients_interval_is_honoured() -> None:
    """RFC 2349: every so many seconds, neither sooner nor later."""
    bench = Bench(timeout=3)
    assert bench.sent() == ["oack"]
    assert [bench.transfer.next_timeout(), bench.wait(), bench.transfer.next_timeout()] == [3.0, ["oack"], 6.0]


def test_silence_in_the_middle_ends_in_a_time_out() -> None:
    """Not before GIVE_UP_AFTER without progress, and not long after (quirk T-12)."""
    bench = Bench()
    bench.start()
    while bench.transfer.outcome is None:
        bench.wait()
    assert bench.transfer.outcome is Outcome.TIMED_OUT
    assert GIVE_UP_AFTER <= bench.now <= GIVE_UP_AFTER + 17
    assert bench.transfer.next_timeout() is None


def test_a_client_that_asks_for_long_waits_gets_them() -> None:
    """`timeout` 255: the total limit leaves room for more than one try."""
    bench = Bench(timeout=255)
    bench.start()
    assert bench.wait() == [1]
    assert bench.wait() == [1]


def test_silence_after_the_oack_is_a_probe() -> None:
    """`curl -I` leaves without a word (quirk T-24)."""
    bench = Bench()
    bench.sent()
    assert [bench.wait() for _ in range(START_RESENDS)] == [["oack"]] * START_RESENDS
    assert bench.wait() == []
    assert bench.transfer.outcome is Outcome.PROBED


def test_a_client_that_never_takes_the_oack_is_given_up() -> None:
    """Something is heard of it again and again, but no ACK of block 0."""
    bench = Bench()
    bench.sent()
    while bench.transfer.outcome is None:
        bench.wait()
        bench.ack(9)
    assert bench.transfer.outcome is Outcome.PROBED
    assert bench.now >= GIVE_UP_AFTER


@pytest.mark.parametrize("code", [ErrorCode.OPTIONS_REFUSED, ErrorCode.NOT_DEFINED])
def test_an_error_after_the_oack_is_a_probe(code: ErrorCode) -> None:
    """EDK2 says 8, Intel's ROMs say 0 (quirk T-1)."""
    bench = Bench()
    bench.sent()
    bench.transfer.receive(build_error(code, "User aborted the transfer"), 0.1)
    assert bench.transfer.outcome is Outcome.PROBED
    assert bench.transfer.is_closed


def test_an_error_in_the_middle_is_an_abort() -> None:
    """Also when it says 8."""
    bench = Bench()
    bench.start()
    bench.transfer.receive(build_error(ErrorCode.OPTIONS_REFUSED, ""), 0.1)
    assert bench.transfer.outcome is Outcome.ABORTED


def test_a_missing_last_ack_is_a_success() -> None:
    """The client has jumped into what it loaded (quirk T-11)."""
    bench = Bench(16)
    assert bench.start() == list(range(1, 12))
    assert [bench.wait() for _ in range(FINAL_RESENDS)] == [list(range(1, 12))] * FINAL_RESENDS
    assert bench.wait() == []
    assert bench.transfer.outcome is Outcome.COMPLETED
    assert bench.transfer.size == 100


def test_a_client_that_still_asks_is_not_taken_for_gone() -> None:
    """A duplicate ACK at the end means that the last block was lost, not that the client is."""
    bench = Bench(16)
    bench.start()
    for _ in range(2 * FINAL_RESENDS):
        assert bench.wait() == list(range(1, 12))
        bench.ack(0)
    assert bench.transfer.outcome is None


def test_a_client_that_never_spoke_did_not_take_the_file() -> None:
    """One block, no options, no ACK: nobody knows that it arrived."""
    transfer = ReadTransfer(Terms(Mode.OCTET, 512, 1, None, ()), OctetContent(0, 512), 0.0)
    transfer.advance(0.0)
    while (deadline := transfer.next_timeout()) is not None:
        transfer.handle_timer(deadline)
    assert transfer.outcome is Outcome.TIMED_OUT


def test_a_repeated_request_repeats_the_oack() -> None:
    """One transfer, whatever the network or a hasty client doubles (quirk T-8)."""
    bench = Bench()
    bench.sent()
    assert bench.transfer.repeat_answer(0.2)
    assert bench.sent() == ["oack"]


def test_a_repeated_request_repeats_block_one() -> None:
    """Where there were no options."""
    bench = Bench(has_oack=False)
    bench.sent()
    assert bench.transfer.repeat_answer(0.2)
    assert bench.sent() == [1]


def test_a_repeated_request_while_the_disk_is_slow_needs_nothing() -> None:
    """The answer is on its way already."""
    bench = Bench(has_oack=False)
    assert bench.transfer.repeat_answer(0.2)
    assert bench.transfer.take_datagrams() == []


def test_a_repeated_request_later_on_is_not_answered_here() -> None:
    """Once blocks flow, the same request means that the client began anew."""
    bench = Bench()
    bench.start()
    assert not bench.transfer.repeat_answer(0.2)
    bench.ack(1)
    assert not bench.transfer.repeat_answer(0.3)


def test_after_an_end_nothing_is_answered() -> None:
    """Neither packets nor repeated requests, nor bytes that come late."""
    bench = Bench(has_oack=False)
    bench.transfer.abandon()
    assert bench.transfer.outcome is Outcome.ABORTED
    assert not bench.transfer.repeat_answer(0.1)
    bench.transfer.supply(0, PLAIN, 0.1)
    bench.transfer.receive(build_ack(0), 0.1)
    bench.transfer.handle_timer(1000.0)
    assert bench.transfer.take_datagrams() == []


def test_a_failure_of_ours_is_told_once() -> None:
    """The client gets an ERROR; the outcome stays what it was first."""
    bench = Bench()
    bench.start()
    bench.transfer.fail(ErrorCode.NOT_DEFINED, "the disk broke")
    assert bench.transfer.take_datagrams() == [build_error(0, "the disk broke")]
    bench.transfer.fail(ErrorCode.NOT_DEFINED, "again")
    bench.transfer.abandon()
    assert bench.transfer.take_datagrams() == []
    assert bench.transfer.outcome is Outcome.FAILED


def test_packets_that_make_no_sense_are_ignored() -> None:
    """DATA, OACK and requests on a port that sends."""
    bench = Bench()
    bench.start()
    for datagram in (
        build_data(1, b"x"),
        build_oack(ANSWER),
        build_request(Request(Opcode.RRQ, "other", "octet")),
    ):
        bench.transfer.receive(datagram, 0.1)
    assert bench.sent() == []
    assert bench.transfer.outcome is None


def test_malformed_packets_change_nothing() -> None:
    """They raise, for the endpoint to count."""
    bench = Bench()
    bench.start()
    with pytest.raises(WireError):
        bench.transfer.receive(b"\0\4", 0.1)
    assert bench.ack(1) == [2]


def test_no_timer_runs_while_the_disk_is_read() -> None:
    """Nothing is under way that could be lost."""
    bench = Bench(has_oack=False)
    assert bench.transfer.next_timeout() is None
    assert bench.transfer.wants() == (0, 100)


def test_netascii_is_sent_encoded() -> None:
    """And counted as it travels."""
    transfer = ReadTransfer(Terms(Mode.NETASCII, 8, 1, None, ()), NetasciiContent(8, 8), 0.0)
    transfer.supply(0, b"1234567\n", 0.0)
    assert transfer.take_datagrams() == [build_data(1, b"1234567\r")]
    transfer.receive(build_ack(1), 0.1)
    transfer.advance(0.1)
    assert transfer.take_datagrams() == [build_data(2, b"\n")]
    transfer.receive(build_ack(2), 0.2)
    assert transfer.size == 9


@pytest.mark.parametrize("windowsize", [1, 7])
def test_block_numbers_that_go_on_with_one(windowsize: int) -> None:
    """After 65535 comes 1, again and again, and an ACK of it is understood (quirk T-9)."""
    blocks = 2 * 65535 + 20
    terms = Terms(Mode.OCTET, 8, windowsize, None, (), wrap=1)
    transfer = ReadTransfer(terms, OctetContent(blocks * 8 - 1, 8), 0.0)
    seen = 0
    while transfer.outcome is None:
        while (wanted := transfer.wants()) is not None:
            transfer.supply(wanted[0], bytes(wanted[1]), 0.0)
        numbers = [int.from_bytes(datagram[2:4], "big") for datagram in transfer.take_datagrams()]
        assert numbers == [(seen + at) % 65535 + 1 for at in range(len(numbers))]
        seen += len(numbers)
        transfer.receive(build_ack(numbers[-1]), 0.0)
    assert (transfer.outcome, seen) == (Outcome.COMPLETED, blocks)
