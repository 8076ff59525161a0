"""From samples to verdicts: medians, ratios against the best peer, bars met or not. No I/O."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from deploy.benchmark.cells import Cell, Inside, Metric

OURS = "rootwire"
# No rival but a limit: that of the kernel and the load (tests/bench/floor_*.c); of readers that of their libraries
# (deploy/benchmark/libraries.py).
FLOOR = "floor"
PLAIN = "plain file"  # what a file inside an image is compared with
GB = 1e9
LOAD_BOUND = 0.1  # idle share of the load's core below which the load may be what was measured


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of a generator against one server; times in seconds, both processor times of that run alone.

    `served` is how many clients were answered at all, where the generator counts that; `busy` is what the two cores
    worked meanwhile for whomever, `load_busy` the load's of them without what gives way to it, None if not known.
    What a generator spent in looking for answers, `client_waited`, is part of its processor time, and no work.
    """

    requests: int
    bytes: int
    seconds: float
    client_cpu: float
    server_cpu: float
    resent: int = 0
    p50_us: float | None = None
    p99_us: float | None = None
    max_us: float | None = None
    served: int | None = None
    busy: float | None = None
    load_busy: float | None = None
    client_waited: float = 0.0

    @property
    def others(self) -> float | None:
        """The share of the two cores that neither the server nor the load used, 0 to 1: how busy others were."""
        if self.busy is None:
            return None
        return min(1.0, max(0.0, (self.busy - self.server_cpu - self.client_cpu) / (2 * self.seconds)))

    def rate(self, metric: Metric) -> float:
        """Requests or bytes a second."""
        return (self.requests if metric == "requests" else self.bytes) / self.seconds

    @property
    def cpu_per_gb(self) -> float | None:
        """Seconds of the server's processor for 10**9 bytes; None when nothing was moved."""
        return self.server_cpu / self.bytes * GB if self.bytes else None

    @property
    def client_idle(self) -> float:
        """The share of the load's core without work, 0 to 1: of the generator's, and of the kernel's for it."""
        worked = max(self.client_cpu, self.load_busy or 0.0) - self.client_waited
        return min(1.0, max(0.0, 1.0 - worked / self.seconds))


# Samples of one cell by server; of all cells by (protocol, cell).
CellSamples = Mapping[str, Sequence[Sample]]
Samples = Mapping[tuple[str, str], CellSamples]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: medians, the ratio against the best peer, and whether the bar is met.

    `best` may come from a rival cell (then `best_mode` names it). `ratio` and `met` are None where either side has no
    figure, `bar` where nothing is asked for. `at_least` says which way the bar points. `note` is what the figure comes
    from, where it is none of one cell. `idle` is the idle share of the load's core in the runs against each server;
    `faster` is who got most of the load where somebody got more than we did.
    """

    protocol: str
    name: str
    unit: str
    ours: float | None
    peers: Mapping[str, float]
    best: str | None
    best_mode: str | None
    ratio: float | None
    bar: float | None
    met: bool | None
    at_least: bool = True
    idle: Mapping[str, float] | None = None
    faster: str | None = None
    note: str = ""

    @property
    def is_load_bound(self) -> bool:
        """The load had no more to give, and gave nobody more: the figure may be the load's, not the server's."""
        return self.idle is not None and self.idle.get(OURS, 1.0) < LOAD_BOUND and self.faster is None


def median(values: Iterable[float | None]) -> float | None:
    """The median of those that are figures, None without any."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _medians(samples: CellSamples, metric: Metric) -> dict[str, float]:
    found = {server: median(s.rate(metric) for s in runs) for server, runs in samples.items()}
    return {server: value for server, value in found.items() if value}


def _costs(samples: CellSamples) -> dict[str, float]:
    found = {server: median(s.cpu_per_gb for s in runs) for server, runs in samples.items()}
    return {server: value for server, value in found.items() if value}


def _compare(figures: Mapping[str, Mapping[str, float]], cell: Cell, unit: str, bar: float, *, at_least: bool) -> Row:
    """A row from figures by cell name and server."""
    here = figures[cell.name]
    rivals = [
        (value, server, name)
        for name in (cell.name, *cell.rivals)
        for server, value in figures.get(name, {}).items()
        if server not in (OURS, FLOOR)
    ]
    best = (max if at_least else min)(rivals, key=lambda rival: rival[0], default=None)
    ours = here.get(OURS)
    ratio = ours / best[0] if ours is not None and best is not None else None
    met = None if ratio is None else ratio >= bar if at_least else ratio <= bar
    return Row(
        cell.protocol,
        cell.name,
        unit,
        ours,
        {server: value for server, value in here.items() if server != OURS},
        best[1] if best else None,
        best[2] if best and best[2] != cell.name else None,
        ratio,
        bar,
        met,
        at_least,
    )


def speed_row(cell: Cell, samples: Samples) -> Row:
    """How fast `cell` went, against the best of its peers."""
    rates = {
        name: _medians(samples[cell.protocol, name], cell.metric)
        for name in (cell.name, *cell.rivals)
        if (cell.protocol, name) in samples
    }
    row = _compare(rates, cell, "/s" if cell.metric == "requests" else "B/s", cell.bar, at_least=True)
    runs = samples[cell.protocol, cell.name]
    loaded = {server: each for server, each in runs.items() if any(s.client_cpu for s in each)}  # readers have no load
    idle = {server: median(s.client_idle for s in each) for server, each in loaded.items()}
    faster = [(rate, server) for server, rate in row.peers.items() if row.ours is not None and rate > row.ours]
    return replace(
        row,
        idle={server: share for server, share in idle.items() if share is not None},
        faster=max(faster)[1] if faster else None,
    )


def cpu_row(cell: Cell, samples: Samples) -> Row | None:
    """Processor time a gigabyte of `cell`, against the peer that uses least; None where no bar is set for it."""
    if cell.cpu_bar is None:
        return None
    costs = {
        name: _costs(samples[cell.protocol, name])
        for name in (cell.name, *cell.rivals)
        if (cell.protocol, name) in samples
    }
    return _compare(costs, cell, "s/GB", cell.cpu_bar, at_least=False)


def limit_row(
    protocol: str,
    name: str,
    unit: str,
    ours: float | None,
    bar: float | None,
    note: str = "",
    *,
    peers: Mapping[str, float] | None = None,
) -> Row:
    """A figure of ours that must not exceed `bar`, None where nothing is asked for; `peers` are for comparison only."""
    met = None if ours is None or bar is None else ours <= bar
    return Row(protocol, name, unit, ours, peers or {}, None, None, None, bar, met, at_least=False, note=note)


def inside_row(inside: Inside, plain: Sequence[Sample], within: Sequence[Sample]) -> Row:
    """How fast a file inside an image is sent, against the plain one."""
    before, ours = (median(sample.rate("bytes") for sample in samples) for samples in (plain, within))
    ratio = ours / before if ours and before else None
    met = None if ratio is None else ratio >= inside.bar
    peers = {PLAIN: before} if before else {}
    return Row(inside.protocol, inside.name, "B/s", ours, peers, PLAIN, None, ratio, inside.bar, met)


def rows_of(cells: Iterable[Cell], samples: Samples) -> list[Row]:
    """The rows of all cells that were run: speeds first, then processor times."""
    run = [cell for cell in cells if (cell.protocol, cell.name) in samples]
    costs = [cpu_row(cell, samples) for cell in run]
    return [speed_row(cell, samples) for cell in run] + [row for row in costs if row is not None]
