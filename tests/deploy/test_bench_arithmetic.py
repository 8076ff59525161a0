"""The table's arithmetic: medians, the best peer, ratios and bars."""

from dataclasses import replace

import pytest

from deploy.benchmark.arithmetic import (
    FLOOR,
    OURS,
    Row,
    Sample,
    cpu_row,
    inside_row,
    limit_row,
    median,
    rows_of,
    speed_row,
)
from deploy.benchmark.cells import CELLS, CROWDS, INSIDES, MIB, STORMS, Cell
from deploy.benchmark.contenders import CONTENDERS
from deploy.benchmark.measure import Costs, Plan, cost_of, crowd_rows, rotated, steps
from deploy.benchmark.stage import Memory
from deploy.benchmark.storms import storm_rows
from deploy.benchmark.table import bar_text, figure, verdict
from deploy.benchmark.table import idle as shown_idle

CELL = Cell("tftp", "window 4", (), "bytes", 2.0, rivals=("window 1",), cpu_bar=0.5)


def sample(size: int, cpu: float = 1.0, *, requests: int = 100, seconds: float = 2.0, idle: float = 0.5) -> Sample:
    """A run that moved `size` bytes."""
    return Sample(requests, size, seconds, seconds * (1 - idle), cpu)


def test_the_median_passes_over_what_has_no_figure() -> None:
    """One wild run does not count; none at all is none."""
    assert median([1.0, 900.0, 2.0]) == 2.0
    assert median([None, 4.0, None, 2.0]) == 3.0
    assert median([None]) is None


def test_a_sample_knows_its_rates() -> None:
    """Requests and bytes a second, processor time a gigabyte, the generator's idle share."""
    one = Sample(requests=10, bytes=500_000_000, seconds=2.0, client_cpu=0.5, server_cpu=1.5)
    assert (one.rate("requests"), one.rate("bytes")) == (5.0, 250_000_000)
    assert one.cpu_per_gb == 3.0
    assert one.client_idle == 0.75
    assert sample(0).cpu_per_gb is None


def test_a_sample_knows_what_others_took() -> None:
    """Two cores for two seconds worked three: half a second of that was neither the server's nor the load's."""
    one = Sample(requests=10, bytes=10, seconds=2.0, client_cpu=1.0, server_cpu=1.5, busy=3.0)
    assert one.others == 0.125
    assert sample(1).others is None


def test_the_best_peer_is_the_one_with_the_highest_median() -> None:
    """Not the one with the highest single run."""
    runs = {
        "rootwire": [sample(400), sample(600), sample(500)],
        "steady": [sample(200)] * 3,
        "lucky": [sample(10), sample(9000), sample(20)],
    }
    row = speed_row(CELL, {("tftp", "window 4"): runs})
    assert (row.ours, row.best, row.best_mode) == (250.0, "steady", None)
    assert row.peers == {"steady": 100.0, "lucky": 10.0}
    assert (row.ratio, row.met) == (2.5, True)


def test_a_peer_is_met_in_its_best_mode() -> None:
    """What a peer does without windows counts against our windows; what we did without does not."""
    samples = {
        ("tftp", "window 4"): {"rootwire": [sample(600)], "old": [sample(100)]},
        ("tftp", "window 1"): {"rootwire": [sample(9000)], "old": [sample(400)]},
    }
    row = speed_row(CELL, samples)
    assert (row.best, row.best_mode, row.ratio, row.met) == ("old", "window 1", 1.5, False)


@pytest.mark.parametrize(("ours", "met"), [(200, True), (199, False)])
def test_a_bar_is_met_from_its_value_on(ours: int, met: bool) -> None:
    """Exactly the bar is enough."""
    row = speed_row(CELL, {("tftp", "window 4"): {"rootwire": [sample(ours)], "old": [sample(100)]}})
    assert row.met is met


def test_processor_time_is_compared_with_the_peer_that_uses_least() -> None:
    """Less is better, and the bar is the most it may be."""
    samples = {("tftp", "window 4"): {"rootwire": [sample(10, 2)], "a": [sample(10, 5)], "b": [sample(10, 9)]}}
    row = cpu_row(CELL, samples)
    assert row is not None
    assert row.ratio == pytest.approx(0.4)
    assert (row.best, row.met, row.at_least) == ("a", True, False)


def test_no_figure_is_no_verdict() -> None:
    """A server that failed in all rounds, or moved nothing, neither meets nor misses a bar."""
    for runs in ({"rootwire": [], "old": [sample(1)]}, {"rootwire": [sample(1)]}, {"rootwire": [sample(0)]}):
        row = speed_row(CELL, {("tftp", "window 4"): runs})
        assert (row.ratio, row.met) == (None, None)


def test_idle_shares_are_given_for_each_server() -> None:
    """They show that the generator was not what was measured."""
    row = speed_row(CELL, {("tftp", "window 4"): {"rootwire": [sample(1, idle=0.25)], "old": [sample(1, idle=0.75)]}})
    assert row.idle == {"rootwire": 0.25, "old": 0.75}


def test_the_idle_share_is_the_core_s_where_that_is_busier() -> None:
    """What the kernel does for the load on its core leaves the load no more than what it does itself."""
    runs = {"requests": 1, "bytes": 1, "seconds": 2.0, "client_cpu": 1.0, "server_cpu": 1.0}
    assert Sample(**runs, load_busy=1.5).client_idle == 0.25  # type: ignore[arg-type]  # int and float fields
    assert Sample(**runs, load_busy=1.5, client_waited=0.5).client_idle == 0.5  # type: ignore[arg-type]
    assert Sample(**runs, load_busy=0.5).client_idle == 0.5  # type: ignore[arg-type]  # int and float fields


@pytest.mark.parametrize(
    ("idle", "theirs", "bound", "text"),
    [(0.05, 100, True, "5% (!)"), (0.05, 900, False, "5%, more by old"), (0.5, 900, False, "50%"),
     (0.5, 100, False, "50%")],
)  # fmt: skip
def test_a_load_without_more_to_give_is_marked(idle: float, theirs: int, bound: bool, text: str) -> None:
    """Unless it gave more to some other server: then it was not what limited us."""
    runs = {"rootwire": [sample(400, idle=idle)], "old": [sample(theirs, idle=0.0)]}
    row = speed_row(CELL, {("tftp", "window 4"): runs})
    assert row.is_load_bound is bound
    assert shown_idle(row) == text


def test_a_limit_is_met_up_to_its_value() -> None:
    """Exactly the limit is enough; no figure is no verdict."""
    assert limit_row("nbd", "memory", "MiB", 128.0, 128).met is True
    assert limit_row("nbd", "memory", "MiB", 128.1, 128).met is False
    assert limit_row("nbd", "memory", "MiB", None, 128).met is None


def test_only_cells_that_were_run_have_rows() -> None:
    """--only leaves the others out."""
    cell = next(cell for cell in CELLS if cell.cpu_bar)
    rows = rows_of(CELLS, {(cell.protocol, cell.name): {"rootwire": [sample(1)], "dnsmasq": [sample(1)]}})
    assert [(row.name, row.unit) for row in rows] == [(cell.name, "B/s"), (cell.name, "s/GB")]


def test_a_crowd_costs_memory_in_all_and_a_client() -> None:
    """A client's share is what came on top of the idle server."""
    whole, each, cost = crowd_rows(
        CROWDS[0],
        Memory(60 * MIB, 60 * MIB + 1000 * 10 * 1024, None),
        {(OURS, 10): [1.0, 1.2, 0.9], (OURS, 1000): [1.1]},
    )
    assert [row.ours for row in (whole, each, cost)] == pytest.approx([69.77, 10.0, 1.1], abs=0.01)
    assert all(row.met for row in (whole, each, cost))
    assert cost.peers == {}


def test_what_many_sockets_cost_the_kernel_is_shown_beside() -> None:
    """The floor's figure is no rival: the bar is for ours alone."""
    costs: Costs = {(OURS, 10): [1.0], (OURS, 1000): [1.2], (FLOOR, 10): [0.8], (FLOOR, 1000): [0.88]}
    cost = crowd_rows(CROWDS[0], Memory(60 * MIB, 61 * MIB, None), costs)[-1]
    assert cost.ours == pytest.approx(1.2)
    assert cost.met is False
    assert cost.peers == {FLOOR: pytest.approx(1.1)}


def test_half_a_crowd_is_no_answer() -> None:
    """When not all were served there is no figure, and the row says how many were."""
    rows = crowd_rows(CROWDS[1], Memory(60 * MIB, 61 * MIB, 400), {(OURS, 10): [1.0], (OURS, 1000): [None]})
    assert [(row.ours, row.met) for row in rows] == [(None, None)] * 3
    assert "only 400 were served" in rows[0].name


def test_the_cost_of_a_request_needs_all_clients() -> None:
    """Fewer clients than asked for would make it look cheap."""
    served = {"requests": 10, "bytes": 1, "seconds": 1.0, "client_cpu": 0.1, "server_cpu": 2.0}
    assert cost_of(Sample(**served, served=10), 10) == 0.2  # type: ignore[arg-type]  # int and float fields
    assert cost_of(Sample(**served, served=9), 10) is None  # type: ignore[arg-type]  # int and float fields


def test_servers_take_turns_at_being_first() -> None:
    """In as many rounds as there are servers each one is first once."""
    names = ["a", "b", "c"]
    assert [rotated(names, turn)[0] for turn in range(4)] == ["a", "b", "c", "a"]
    assert sorted(rotated(names, 2)) == names


def test_names_of_cells_are_their_keys() -> None:
    """No two cells of a protocol share a name, and every rival is a cell."""
    names = [(cell.protocol, cell.name) for cell in CELLS]
    assert len(set(names)) == len(names)
    assert {(cell.protocol, rival) for cell in CELLS for rival in cell.rivals} <= set(names)
    assert {cell.protocol for cell in CELLS} | {storm.protocol for storm in STORMS} == {*CONTENDERS, "squashfs"}


def test_progress_has_an_end() -> None:
    """NBD: a start, seven cells for six servers, a crowd's start, memory and loads, three neighbours, two scalings."""
    assert steps(Plan(("nbd",), 2, 1.0), {"nbd": 6}) == 1 + 7 * 6 * 2 + 2 + 2 * 2 * 2 + (3 + 2) * (1 + 2 * 2)
    assert steps(Plan(("nbd", "squashfs"), 1, 1.0, ("1x16",)), {"nbd": 6}) == 1 + 6


def test_progress_of_files_inside_an_image_has_an_end() -> None:
    """A start, and each of them and the plain file in every round."""
    plan = Plan(("http",), 3, 1.0, ("inside an image",))
    assert len(plan.insides("http")) == 4
    assert steps(plan, {"http": 2}) == 1 + 4 * 2 * 3


def test_progress_of_storms_has_an_end() -> None:
    """A start, and each storm upon each server in every round."""
    assert steps(Plan(("dhcp",), 3, 1.0), {"dhcp": 2}) == 1 + 2 * 2 * 3


def test_a_storm_is_judged_by_its_99th_percentile() -> None:
    """Medians of the runs; how many had an offer is said of the worst."""
    base = replace(sample(1), p50_us=2000.0, p99_us=900_000.0, served=1000, server_cpu=0.5)
    theirs = replace(base, p99_us=2e6, served=217)
    p99, cpu = storm_rows(STORMS[0], {OURS: [base, base, replace(base, p99_us=2e6, served=900)], "peer": [theirs]})
    assert (p99.ours, p99.peers, p99.bar, p99.met) == (900.0, {"peer": 2000.0}, 1000.0, True)
    assert p99.note == f"p50 2.0 ms; answered at least: {OURS} 90.0%, peer 21.7%"
    assert (cpu.ours, cpu.bar) == (0.5, None)
    nothing, _ = storm_rows(STORMS[0], {OURS: []})
    assert (nothing.ours, nothing.met) == (None, None)


def test_a_file_inside_an_image_is_compared_with_the_plain_one() -> None:
    """Medians of each; as every speed, at least so much of the other."""
    inside = INSIDES[0]
    row = inside_row(inside, [sample(100), sample(200), sample(900)], [sample(180), sample(170), sample(300)])
    assert (row.ours, row.peers, row.ratio) == (90.0, {"plain file": 100.0}, 0.9)
    assert (row.bar, row.met, row.at_least) == (0.9, True, True)
    assert inside_row(inside, [sample(200)], [sample(179)]).met is False
    assert inside_row(inside, [sample(200)], []).met is None


def test_only_named_cells_are_run() -> None:
    """A text matches anywhere in a name; several add up."""
    plan = Plan(("nbd", "tftp"), 1, 1.0, ("128 KiB", "cold"))
    assert {cell.name for cell in plan.cells("nbd")} == {cell.name for cell in CELLS if "128 KiB" in cell.name}
    assert (plan.cells("tftp"), plan.crowds("nbd")) == ([], [])
    assert [one.name for one in plan.neighbours("tftp")] == ["beside a cold file"]
    assert [one.name for one in plan.scalings("nbd")] == ["pumps, 128 KiB sequential, 16x2"]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(2.34e9, "B/s", "2340 MB/s"), (5.64e6, "B/s", "5.6 MB/s"), (12_345.0, "/s", "12.3 k/s"), (None, "/s", "-"),
     (3.14159, "s/GB", "3.14 s/GB"), (70.27, "MiB", "70.3 MiB")],
)  # fmt: skip
def test_figures_have_few_digits(value: float | None, unit: str, text: str) -> None:
    """As many as mean something."""
    assert figure(value, unit) == text


def test_bars_say_which_way_they_point() -> None:
    """Ratios have no unit, limits have."""
    row = Row("nbd", "x", "/s", 1.0, {}, None, None, None, 2.4, None)
    assert bar_text(row) == "≥ 2.4"
    assert bar_text(limit_row("nbd", "x", "MiB", 1.0, 128)) == "≤ 128 MiB"


def test_without_a_bar_there_is_no_verdict() -> None:
    """A figure that nothing is asked of is neither met nor missing; a figure that is missing is."""
    assert (bar_text(limit_row("nbd", "x", "x", 3.0, None)), verdict(limit_row("nbd", "x", "x", 3.0, None))) == ("", "")
    assert verdict(limit_row("nbd", "x", "x", None, None)) == "no figure"
    assert [verdict(limit_row("nbd", "x", "x", ours, 2.0)) for ours in (2.0, 2.1)] == ["met", "not met"]
