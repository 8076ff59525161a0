"""The chart: every cell as a ratio to its best peer, ours a bar, each peer a mark, what is asked for a tick.

Below it what has an upper limit, as a share of that: processor time, memory, what clients do to each other.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.benchmark.arithmetic import FLOOR, Row
from deploy.benchmark.table import TITLES, by_protocol, figure

OURS_MET, OURS_SHORT = "#1f6f8b", "#e08e45"  # told apart by lightness as well as hue
PEER_MARKS = ("o", "s", "^", "D", "v", "P")
FLOOR_MARK = "X"  # the same wherever there is one
PEER_COLOUR = "#6b6b6b"
TARGET_COLOUR = "#111111"
TICKS = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)
MOST = 2.0  # times a limit that are still drawn to scale
PANEL_HEIGHT, ROW_HEIGHT = 1.2, 0.3  # inches: of what is around the rows, and of each


def draw(rows: Sequence[Row], path: Path, caption: str) -> bool:
    """Write the chart of all rows with a bar and a figure to a PNG at `path`; False, and nothing written, if none."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    speeds = [row for row in rows if row.ratio is not None and row.at_least]
    limits = [row for some in by_protocol(rows).values() for row in some if _share(row) is not None]
    panels = [(draw_panel, some) for draw_panel, some in ((_draw_speeds, speeds), (_draw_limits, limits)) if some]
    if not panels:
        return False
    sizes = [PANEL_HEIGHT + ROW_HEIGHT * len(some) for _, some in panels]
    canvas, axes = pyplot.subplots(
        len(panels), 1, figsize=(10.5, sum(sizes)), height_ratios=sizes, squeeze=False, layout="constrained"
    )
    for (draw_panel, some), place in zip(panels, axes[:, 0], strict=True):
        draw_panel(place, some)
    axes[0, 0].set_title(caption, fontsize=9.5, loc="left", pad=12)
    canvas.legend(
        handles=_handles(_peer_marks(speeds)), loc="outside lower center", ncols=4, fontsize=8.5, frameon=False
    )
    canvas.savefig(path, dpi=130)
    pyplot.close(canvas)
    return True


def _share(row: Row) -> float | None:
    """How much of its limit a row uses, where it has one."""
    value = row.ours if row.ratio is None else row.ratio
    return None if row.at_least or row.bar is None or value is None else value / row.bar


def _draw_speeds(axes: Any, rows: Sequence[Row]) -> None:
    marks = _peer_marks(rows)
    for at, row in enumerate(rows):
        _draw_row(axes, at, row, marks)
    axes.set_xscale("log", base=2)
    most = max(value for row in rows for value in (row.ratio, row.bar) if value is not None)
    shown = [tick for at, tick in enumerate(TICKS) if at == 0 or TICKS[at - 1] < most]
    axes.set_xlim(shown[0], shown[-1])
    axes.set_xticks(shown, [f"{tick:g}" for tick in shown])
    axes.set_xlabel("speed, as a multiple of the best peer in the same run (log scale)")
    _dress(axes, rows)


def _draw_limits(axes: Any, rows: Sequence[Row]) -> None:
    for at, row in enumerate(rows):
        share = _share(row)
        assert share is not None  # noqa: S101  # only such rows are shown
        axes.barh(at, min(share, MOST), height=0.62, color=OURS_MET if row.met else OURS_SHORT, zorder=2)
        axes.plot([1, 1], [at - 0.42, at + 0.42], color=TARGET_COLOUR, linewidth=2.2, zorder=3)
        _annotate(axes, at, f"{share:.0%}   {figure(row.ours, row.unit)}")
    axes.set_xlim(0, MOST)
    axes.set_xlabel(f"share of the limit, up to {MOST:g} times it: less is better")
    _dress(axes, rows)


def _peer_marks(rows: Sequence[Row]) -> dict[str, str]:
    """A mark for each peer, the same in all rows; protocols use the same marks again, as their peers differ."""
    marks: dict[str, str] = {}  # by the legend's label: TITLE: peer
    for protocol in dict.fromkeys(row.protocol for row in rows):
        peers = dict.fromkeys(peer for row in rows if row.protocol == protocol for peer in row.peers)
        rivals = [peer for peer in peers if peer != FLOOR]
        marks |= {_label(protocol, peer): PEER_MARKS[i % len(PEER_MARKS)] for i, peer in enumerate(rivals)}
        marks |= {_label(protocol, peer): FLOOR_MARK for peer in peers if peer == FLOOR}
    return marks


def _label(protocol: str, peer: str) -> str:
    return "floor: no rival, a limit" if peer == FLOOR else f"{TITLES[protocol]}: {peer}"


def _draw_row(axes: Any, at: int, row: Row, marks: dict[str, str]) -> None:
    assert row.ratio is not None and row.ours is not None  # noqa: S101, PT018  # only such rows are shown
    best = row.ours / row.ratio
    left = TICKS[0]
    axes.barh(at, max(row.ratio - left, 0), left=left, height=0.62, color=OURS_MET if row.met else OURS_SHORT, zorder=2)
    for peer, value in row.peers.items():
        axes.plot(
            value / best,
            at,
            marks[_label(row.protocol, peer)],
            color="white",
            markeredgecolor=PEER_COLOUR,
            markersize=6,
            zorder=4,
        )
    axes.plot([row.bar, row.bar], [at - 0.42, at + 0.42], color=TARGET_COLOUR, linewidth=2.2, zorder=3)
    _annotate(axes, at, f"{row.ratio:.2f}   {figure(row.ours, row.unit)}")


def _annotate(axes: Any, at: int, words: str) -> None:
    axes.annotate(words, (1.01, at), xycoords=("axes fraction", "data"), va="center", fontsize=8.5)


def _name(row: Row) -> str:
    return f"{TITLES[row.protocol]}  {'cpu, ' if row.unit == 's/GB' else ''}{row.name}"


def _dress(axes: Any, rows: Sequence[Row]) -> None:
    axes.set_yticks(range(len(rows)), [_name(row) for row in rows], fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.axvline(1, color=PEER_COLOUR, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.grid(axis="x", color="#e6e6e6", zorder=0)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _handles(marks: dict[str, str]) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(color=OURS_MET, label="rootwire, bar met"),
        Patch(color=OURS_SHORT, label="rootwire, bar not met"),
        Line2D([], [], color=TARGET_COLOUR, linewidth=2.2, label="the bar"),
    ]
    plain: dict[str, Any] = {"linestyle": "", "color": "white", "markeredgecolor": PEER_COLOUR, "markersize": 6}
    return handles + [Line2D([], [], marker=mark, label=label, **plain) for label, mark in marks.items()]
