"""The retransmission timeout: RFC 6298's rules, and the client's own interval."""

import pytest

from protocols.tftp.patience import FIRST_RTO, MAX_RTO, Patience


def test_before_any_measurement() -> None:
    """A second (RFC 6298 §2.1)."""
    assert Patience(minimum=0.05, asked=None).seconds == FIRST_RTO


def test_the_first_measurement_gives_three_times_itself() -> None:
    """R + 4 * R/2 (RFC 6298 §2.2)."""
    patience = Patience(minimum=0.05, asked=None)
    patience.measure(0.1)
    assert patience.seconds == pytest.approx(0.3)


def test_further_measurements_are_smoothed() -> None:
    """RFC 6298 §2.3, by hand: deviation 0.0625, smoothed 0.1125."""
    patience = Patience(minimum=0.05, asked=None)
    patience.measure(0.1)
    patience.measure(0.2)
    assert patience.seconds == pytest.approx(0.1125 + 4 * 0.0625)


def test_never_below_the_minimum() -> None:
    """A LAN's round trips are far shorter than a scheduler's hiccup."""
    patience = Patience(minimum=0.05, asked=None)
    patience.measure(0.0001)
    assert patience.seconds == 0.05


def test_resending_doubles_up_to_a_bound_and_a_measurement_ends_it() -> None:
    """RFC 6298 §5.5 and §5.7."""
    patience = Patience(minimum=0.05, asked=None)
    waits = []
    for _ in range(6):
        waits.append(patience.seconds)
        patience.back_off()
    assert waits == [1, 2, 4, 8, 16, MAX_RTO]
    patience.measure(0.1)
    assert patience.seconds == pytest.approx(0.3)


def test_an_answer_to_something_resent_ends_the_doubling() -> None:
    """Loss is no reason to wait longer for the next block."""
    patience = Patience(minimum=0.05, asked=None)
    patience.measure(0.1)
    patience.back_off()
    patience.back_off()
    patience.recover()
    assert patience.seconds == pytest.approx(0.3)


def test_round_trips_that_became_longer_are_believed_in_the_end() -> None:
    """Else everything would be sent twice for ever, and never be measured."""
    patience = Patience(minimum=0.05, asked=None)
    patience.measure(0.1)
    for expected in (0.3, 0.3, 0.6):
        patience.back_off()
        patience.recover()
        assert patience.seconds == pytest.approx(expected)


def test_without_any_measurement_the_doubled_wait_stays() -> None:
    """There is nothing to go back to."""
    patience = Patience(minimum=0.05, asked=None)
    patience.back_off()
    patience.recover()
    assert patience.seconds == 2.0


def test_what_the_client_asked_for_is_kept() -> None:
    """RFC 2349: an interval."""
    patience = Patience(minimum=0.05, asked=7)
    patience.measure(0.001)
    patience.back_off()
    assert patience.seconds == 7
