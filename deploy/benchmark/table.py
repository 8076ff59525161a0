"""The table for people: each cell, ours, each peer, the ratio against the best of them, the bar, met or not."""

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from deploy.benchmark.arithmetic import LOAD_BOUND, OURS, Row

TITLES = {"nbd": "NBD", "tftp": "TFTP", "aoe": "AoE", "http": "HTTP", "squashfs": "squashfs", "dhcp": "ProxyDHCP"}
STYLES = {"met": "green", "not met": "red", "no figure": "yellow"}
LOAD_MARK = " (!)"
LOAD_MARK_MEANS = f"the load's core was over {1 - LOAD_BOUND:.0%} busy and no server got more: at least this much"


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
    """The bar as the table says it; nothing where nothing is asked for."""
    if row.bar is None:
        return ""
    sign = "≥" if row.at_least else "≤"
    if row.unit in ("B/s", "/s", "s/GB"):
        return f"{sign} {row.bar:g}"
    return f"{sign} {row.bar:g} {row.unit}"


def verdict(row: Row) -> str:
    """Whether the bar is met, in words."""
    if row.ours is None or (row.met is None and row.bar is not None):
        return "no figure"
    return {True: "met", False: "not met", None: ""}[row.met]


def against(row: Row) -> str:
    """The ratio and whom it is to, or what else the figure comes from."""
    if row.ratio is None:
        return row.note
    return f"{row.ratio:.2f} of {row.best}" + (f" at {row.best_mode.partition(',')[0]}" if row.best_mode else "")


def idle(row: Row) -> str:
    """What the load's core had left in our runs, and what shows that the load could do more where that is little."""
    share = (row.idle or {}).get(OURS)
    if share is None:
        return ""
    more = f", more by {row.faster}" if row.faster and share < LOAD_BOUND else ""
    return f"{share:.0%}{more}{LOAD_MARK if row.is_load_bound else ''}"


def grid(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """The heads and lines of one protocol's table, as text."""
    peers = list(dict.fromkeys(peer for row in rows for peer in row.peers))
    heads = ["cell", OURS, *peers, "against the best", "bar", "", "load idle"]
    lines = []
    for row in rows:
        theirs = [figure(row.peers.get(peer), row.unit) if row.peers else "" for peer in peers]
        name = f"cpu, {row.name}" if row.unit == "s/GB" else row.name
        ours = figure(row.ours, row.unit)
        lines.append([name, ours, *theirs, against(row), bar_text(row), verdict(row), idle(row)])
    return heads, lines


def by_protocol(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each protocol that was run, in their order."""
    sorted_out: dict[str, list[Row]] = {}
    for row in rows:
        sorted_out.setdefault(row.protocol, []).append(row)
    return sorted_out


def tables(rows: Sequence[Row]) -> list[Table]:
    """A table for each protocol that was run."""
    return [_table(protocol, some) for protocol, some in by_protocol(rows).items()]


def _table(protocol: str, rows: Sequence[Row]) -> Table:
    heads, lines = grid(rows)
    table = Table(title=TITLES[protocol], title_justify="left", title_style="bold", caption_justify="left")
    if any(row.is_load_bound for row in rows):
        table.caption = f"{LOAD_MARK.strip()} {LOAD_MARK_MEANS}"
    for head in heads:
        table.add_column(head, justify="left" if head in ("cell", "against the best", "") else "right")
    for line in lines:
        table.add_row(*(Text(word, style=STYLES.get(word, "")) for word in line))
    return table
