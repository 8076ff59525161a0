"""What clients do to each other, and what more pumps bring: the rows."""

import pytest

from deploy.benchmark.arithmetic import Sample
from deploy.benchmark.cells import MIB, Neighbour, Scaling
from deploy.benchmark.generators import Load
from deploy.benchmark.neighbours import Meeting, neighbour_rows, scaling_row
from deploy.benchmark.stage import Beside

COLD = Neighbour("nbd", "a cold one", (), (), cold="image/cold.img", bar=2.0)
MUTE = Neighbour("nbd", "a mute one", (), (), bar=2.0, memory_bar=128 * MIB)
SCALING = Scaling("nbd", "pumps, 64x1", (), "requests")


def quiet(p50: float, p99: float) -> Sample:
    """A run of the quiet client."""
    return Sample(1000, 4_096_000, 2.0, 0.1, 0.2, p50_us=p50, p99_us=p99)


def meeting(p50: float, p99: float, *, fetched: int = 1000, most: int = 64 * MIB) -> Meeting:
    """A round with 20 and 40 microseconds alone, in which the busy client read 1000 bytes."""
    return Meeting(quiet(20, 40), Beside(quiet(p50, p99), Load(1, 1000, 2.0, 0.1), fetched, most))


def test_latency_beside_another_is_a_multiple_of_that_alone() -> None:
    """Medians of the rounds; only p99 has a bar."""
    low, high = neighbour_rows(COLD, [meeting(25, 60), meeting(30, 80), meeting(500, 9000)])
    assert (low.name, low.ours, low.bar, low.met) == ("p50 beside a cold one", 1.5, None, None)
    assert (high.name, high.ours, high.bar, high.met) == ("p99 beside a cold one", 2.0, 2.0, True)
    assert high.note.startswith("80 µs, alone 40 µs; ")


def test_a_bar_that_is_passed_is_not_met() -> None:
    """Twice and a bit is too much."""
    assert neighbour_rows(COLD, [meeting(20, 81)])[1].met is False


@pytest.mark.parametrize(("fetched", "figure"), [(900, 1.5), (899, None), (0, None)])
def test_a_cold_client_served_from_memory_shows_nothing(fetched: int, figure: float | None) -> None:
    """Nine tenths of what it read have to come from the disk; the row says how many did not."""
    row = neighbour_rows(COLD, [meeting(20, 60, fetched=fetched)])[1]
    assert row.ours == figure
    assert ("came from the disk" in row.name) is (figure is None)


def test_a_client_that_is_not_cold_needs_no_disk() -> None:
    """And the most that the server held in any round is what counts."""
    _, high, memory = neighbour_rows(MUTE, [meeting(20, 60, fetched=0), meeting(20, 60, fetched=0, most=129 * MIB)])
    assert high.ours == 1.5
    assert (memory.ours, memory.met) == (129.0, False)


def test_no_round_is_no_figure() -> None:
    """A load that failed at once leaves neither figure nor verdict."""
    assert [(row.ours, row.met) for row in neighbour_rows(MUTE, [])] == [(None, None)] * 3
    assert [row.name for row in neighbour_rows(COLD, [])] == ["p50 beside a cold one", "p99 beside a cold one"]


def test_more_pumps_are_a_ratio_of_medians() -> None:
    """Without a bar; the note has both speeds."""

    def runs(*requests: int) -> list[Sample]:
        return [Sample(number, 0, 2.0, 1.0, 1.0) for number in requests]

    row = scaling_row(SCALING, runs(100_000, 200_000, 900_000), runs(300_000))
    assert (row.name, row.ours, row.bar, row.met) == ("2 : 1 pumps, 64x1", 1.5, None, None)
    assert row.note.startswith("150 k/s, 100 with 1; ")
    assert scaling_row(SCALING, runs(), runs(1)).ours is None
