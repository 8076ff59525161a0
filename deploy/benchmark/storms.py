"""How a storm of machines went: what it takes until each has its offer, how many have one, what that costs."""

from collections.abc import Callable, Mapping, Sequence

from deploy.benchmark.arithmetic import OURS, Row, Sample, limit_row, median
from deploy.benchmark.cells import Storm


def storm_rows(storm: Storm, samples: Mapping[str, Sequence[Sample]]) -> list[Row]:
    """The 99th percentile of what an offer takes, against its bar; processor time a machine, for comparison."""
    p99 = _figures(samples, lambda sample: None if sample.p99_us is None else sample.p99_us / 1e3)
    p50 = _figures(samples, lambda sample: None if sample.p50_us is None else sample.p50_us / 1e3)
    costs = _figures(samples, lambda sample: sample.server_cpu / storm.machines * 1e3)
    shares = (f"{server} {_least_served(runs) / storm.machines:.1%}" for server, runs in samples.items() if runs)
    median_of = f"p50 {p50[OURS]:.1f} ms; " if OURS in p50 else ""
    note = f"{median_of}answered at least: {', '.join(shares)}"
    return [
        _row(storm, f"p99 of offers, {storm.name}", p99, storm.bar * 1e3, note),
        _row(storm, f"cpu a machine, {storm.name}", costs, None, ""),
    ]


def _row(storm: Storm, name: str, figures: Mapping[str, float], bar: float | None, note: str) -> Row:
    peers = {server: value for server, value in figures.items() if server != OURS}
    return limit_row(storm.protocol, name, "ms", figures.get(OURS), bar, note, peers=peers)


def _figures(samples: Mapping[str, Sequence[Sample]], of: Callable[[Sample], float | None]) -> dict[str, float]:
    found = {server: median(of(sample) for sample in runs) for server, runs in samples.items()}
    return {server: value for server, value in found.items() if value is not None}


def _least_served(runs: Sequence[Sample]) -> int:
    return min(sample.served or 0 for sample in runs)
