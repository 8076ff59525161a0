"""The table for people: each cell, ours, each peer, the ratio against the best of them, the bar, met or not."""

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from deploy.benchmark.arithmetic import Row

TITLES = {"nbd": "NBD", "tftp": "TFTP", "aoe": "AoE", "http": "HTTP", "squashfs": "squashfs"}


def figure(value: float | None, unit: str) -> str:
    """A figure with its unit, in few digits."""
    if value is None:
        return "-"
    if unit == "B/s":
        return f"{value / 1e6:.0f} MB/s" if value >= 1e7 else f"{value / 1e6:.1f} MB/s"
    if unit == "/s":
        return f"{value / 1e3:.1f} k/s"
    return f"{value:.2f} {unit}" if unit in ("s/GB", "x") else f"{value:.1f} {unit}"


def bar_text(row: Row) -> str:
    """The bar as the table says it."""
    sign = "≥" if row.at_least else "≤"
    if row.unit in ("B/s", "/s", "s/GB"):
        return f"{sign} {row.bar:g}"
    return f"{sign} {row.bar:g} {row.unit}"


def _verdict(row: Row) -> Text:
    if row.met is None:
        return Text("no figure", style="yellow")
    return Text("met", style="green") if row.met else Text("not met", style="red")


def _ratio(row: Row) -> str:
    if row.ratio is None:
        return ""
    return f"{row.ratio:.2f} of {row.best}" + (f" at {row.best_mode.partition(',')[0]}" if row.best_mode else "")


def _idle(row: Row) -> str:
    if not row.idle:
        return ""
    low, high = min(row.idle.values()), max(row.idle.values())
    return f"{low:.0%}" if round(low, 2) == round(high, 2) else f"{low:.0%} to {high:.0%}"


def tables(rows: Sequence[Row]) -> list[Table]:
    """A table for each protocol that was run, in the order of the rows."""
    return [_table(protocol, [row for row in rows if row.protocol == protocol]) for protocol in _order(rows)]


def _order(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row.protocol for row in rows))


def _table(protocol: str, rows: Sequence[Row]) -> Table:
    peers = list(dict.fromkeys(peer for row in rows for peer in row.peers))
    table = Table(title=TITLES[protocol], title_justify="left", title_style="bold")
    table.add_column("cell")
    for name in ("rootwire", *peers):
        table.add_column(name, justify="right")
    table.add_column("against the best")
    table.add_column("bar", justify="right")
    table.add_column("")
    table.add_column("load idle", justify="right")
    for row in rows:
        theirs = [figure(row.peers.get(peer), row.unit) if row.peers else "" for peer in peers]
        name = f"cpu, {row.name}" if row.unit == "s/GB" else row.name
        ours = figure(row.ours, row.unit)
        table.add_row(name, ours, *theirs, _ratio(row), bar_text(row), _verdict(row), _idle(row))
    return table
