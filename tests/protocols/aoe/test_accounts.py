"""The table of who uses what: the native one, and its twin."""

import random
from collections.abc import Callable

import pytest

from protocols.aoe.accounts import Ledger
from protocols.aoe.initiators import Initiator
from tests.protocols.aoe import twin

A, B, C = (f"02:00:00:00:00:0{last}" for last in "abc")
AnyLedger = Ledger | twin.Ledger


@pytest.mark.parametrize("make", [Ledger, twin.Ledger], ids=["native", "plain"])
class TestLedger:
    """Both keep the same accounts."""

    def test_totals_are_kept_per_machine_and_target(self, make: Callable[[int], AnyLedger]) -> None:
        """Bytes and commands; `since` is the first time."""
        ledger = make(8)
        ledger.note_command(A, 0, 1, 10.0, read=512)
        ledger.note_command(A, 0, 1, 11.0, written=1024)
        ledger.note_identify(A, 0, 2, 12.0)
        assert ledger.snapshot() == [Initiator(A, 0, 1, 512, 1024, 2, 10.0), Initiator(A, 0, 2, 0, 0, 1, 12.0)]

    def test_a_machine_that_only_asked_is_no_initiator(self, make: Callable[[int], AnyLedger]) -> None:
        """It shows with its first ATA command."""
        ledger = make(8)
        ledger.note_query(A, 0, 1, 1.0)
        assert ledger.snapshot() == []
        ledger.note_identify(A, 0, 1, 2.0)
        assert [initiator.since for initiator in ledger.snapshot()] == [1.0]

    def test_the_quietest_is_forgotten_first(self, make: Callable[[int], AnyLedger]) -> None:
        """At the limit a newcomer takes the place of whom nothing was heard of the longest."""
        ledger = make(2)
        for mac in (A, B, A, C):
            ledger.note_command(mac, 0, 1, 0.0)
        assert [initiator.mac for initiator in ledger.snapshot()] == [A, C]

    def test_a_removed_target_takes_its_accounts_along(self, make: Callable[[int], AnyLedger]) -> None:
        """Other targets' stay, and their places are taken again."""
        ledger = make(2)
        ledger.note_command(A, 0, 1, 0.0)
        ledger.note_command(A, 0, 2, 0.0)
        ledger.forget(0, 1)
        ledger.note_command(B, 0, 2, 0.0)
        assert [(initiator.mac, initiator.slot) for initiator in ledger.snapshot()] == [(A, 2), (B, 2)]

    def test_identify_is_new_unless_it_repeats(self, make: Callable[[int], AnyLedger]) -> None:
        """Straight after another it is a repeat; after a query or any other command it is not."""
        ledger = make(8)
        assert [ledger.note_identify(A, 0, 1, 0.0) for _ in range(2)] == [True, False]
        ledger.note_query(A, 0, 1, 0.0)
        assert ledger.note_identify(A, 0, 1, 0.0)
        ledger.note_command(A, 0, 1, 0.0, read=512)
        assert ledger.note_identify(A, 0, 1, 0.0)

    @pytest.mark.parametrize("limit", [0, (1 << 24) + 1])
    def test_a_limit_that_cannot_be_is_refused(self, make: Callable[[int], AnyLedger], limit: int) -> None:
        """None, or more than anybody has."""
        with pytest.raises(ValueError, match="accounts"):
            make(limit)


def test_a_long_run_of_chance_leaves_both_alike() -> None:
    """Twenty thousand steps over more machines than there is room for."""
    chance = random.Random(5)
    ledgers: list[AnyLedger] = [Ledger(50), twin.Ledger(50)]
    for step in range(20_000):
        mac, slot = f"02:00:00:00:00:{chance.randrange(30):02x}", chance.randrange(4)
        kind, read = chance.randrange(100), chance.randrange(10_000)
        for ledger in ledgers:
            if kind < 80:
                ledger.note_command(mac, 1, slot, step, read=read)
            elif kind < 90:
                ledger.note_identify(mac, 1, slot, step)
            elif kind < 98:
                ledger.note_query(mac, 1, slot, step)
            else:
                ledger.forget(1, slot)
        if step % 500 == 0:
            assert ledgers[0].snapshot() == ledgers[1].snapshot()
    assert ledgers[0].snapshot() == ledgers[1].snapshot() != []


def test_two_accounts_of_one_machine_are_joined() -> None:
    """Sums, and the earlier time: it was served by one pump, then by another."""
    first, second = Initiator(A, 0, 1, 1, 2, 3, 20.0), Initiator(A, 0, 1, 10, 20, 30, 10.0)
    assert first.joined(second) == Initiator(A, 0, 1, 11, 22, 33, 10.0)
