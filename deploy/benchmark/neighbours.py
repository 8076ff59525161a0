"""What our own server's clients do to each other, and what more pumps bring: the rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from deploy.benchmark.arithmetic import Row, Sample, limit_row, median
from deploy.benchmark.cells import MIB, Neighbour, Scaling
from deploy.benchmark.stage import Beside

COLD_SHARE = 0.9  # of what the busy client read, from the disk: below, it was no cold client


@dataclass(frozen=True, slots=True)
class Meeting:
    """A round: the quiet client alone, and beside the busy one."""

    alone: Sample
    beside: Beside

    @property
    def cold_share(self) -> float | None:
        """How much of what the busy client read came from the disk; more than 1 where pages were dropped unread."""
        return self.beside.fetched / self.beside.busy.bytes if self.beside.busy.bytes else None


def _microseconds(samples: Sequence[Sample], quantile: str) -> float | None:
    return median(getattr(sample, f"{quantile}_us") for sample in samples)


def _latency_row(neighbour: Neighbour, quantile: str, meetings: Sequence[Meeting], failed: str, said: str) -> Row:
    alone = _microseconds([meeting.alone for meeting in meetings], quantile)
    beside = _microseconds([meeting.beside.quiet for meeting in meetings], quantile)
    ours = beside / alone if beside is not None and alone and not failed else None
    times = "" if beside is None or alone is None else f"{beside:.0f} µs, alone {alone:.0f} µs"
    return limit_row(
        neighbour.protocol,
        f"{quantile} {neighbour.name}{failed}",
        "x",
        ours,
        neighbour.bar if quantile == "p99" else None,
        f"{times}{said}",
    )


def neighbour_rows(neighbour: Neighbour, meetings: Sequence[Meeting]) -> list[Row]:
    """How much longer the quiet one waits beside the busy one, and what the server holds where that has a bar.

    A cold client that was served from memory shows nothing: then there is no figure.
    """
    share = median(meeting.cold_share for meeting in meetings)
    rate = median(meeting.beside.busy.bytes / meeting.beside.busy.seconds for meeting in meetings)
    failed = said = ""
    if neighbour.cold and meetings:
        failed = "" if share is not None and share >= COLD_SHARE else f" (only {share or 0:.0%} came from the disk)"
    if rate:
        said = f"; the other read {rate / 1e6:.0f} MB/s"
    rows = [_latency_row(neighbour, quantile, meetings, failed, said) for quantile in ("p50", "p99")]
    if neighbour.memory_bar is not None:
        most = max((meeting.beside.most for meeting in meetings), default=None)
        whole = None if most is None else most / MIB
        bar = neighbour.memory_bar / MIB
        rows.append(limit_row(neighbour.protocol, f"memory {neighbour.name}", "MiB", whole, bar))
    return rows


def scaling_row(scaling: Scaling, few: Sequence[Sample], many: Sequence[Sample]) -> Row:
    """What more pumps bring, as a ratio; nothing is asked for, since the load shares the cores."""
    slow, fast = (median(sample.rate(scaling.metric) for sample in samples) for samples in (few, many))
    size, unit = (1e3, "k/s") if scaling.metric == "requests" else (1e6, "MB/s")
    figures = f"{fast / size:.0f} {unit}, {slow / size:.0f} with {scaling.few}; " if slow and fast else ""
    ratio = fast / slow if slow and fast else None
    name = f"{scaling.many} : {scaling.few} {scaling.name}"
    return limit_row(scaling.protocol, name, "x", ratio, None, f"{figures}the load has the same cores")
