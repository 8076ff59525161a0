"""The chart: every cell as a ratio to its best peer: ours a bar, each peer a mark, what is asked for a tick."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.benchmark.arithmetic import Row
from deploy.benchmark.table import TITLES, figure

OURS_MET, OURS_SHORT = "#1f6f8b", "#e08e45"  # told apart by lightness as well as hue
PEER_MARKS = ("o", "s", "^", "D", "v", "P")
PEER_COLOUR = "#6b6b6b"
TARGET_COLOUR = "#111111"
TICKS = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8)


def draw(rows: Sequence[Row], path: Path, caption: str) -> bool:
    """Write the chart of all rows that have a ratio to a PNG at `path`; False, and nothing written, when none has."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    shown = [row for row in rows if row.ratio is not None and row.at_least]
    if not shown:
        return False
    height = 2.0 + 0.42 * len(shown)
    canvas, axes = pyplot.subplots(figsize=(10.5, height), layout="constrained")
    marks = _peer_marks(shown)
    for at, row in enumerate(shown):
        _draw_row(axes, at, row, marks)
    _dress(axes, shown, caption)
    _legend(axes, marks)
    canvas.savefig(path, dpi=130)
    pyplot.close(canvas)
    return True


def _peer_marks(rows: Sequence[Row]) -> dict[str, str]:
    """A mark for each peer, the same in all rows; protocols use the same marks again, as their peers differ."""
    marks: dict[str, str] = {}  # by the legend's label: TITLE: peer
    for protocol in dict.fromkeys(row.protocol for row in rows):
        peers = dict.fromkeys(peer for row in rows if row.protocol == protocol for peer in row.peers)
        marks |= {_label(protocol, peer): PEER_MARKS[i % len(PEER_MARKS)] for i, peer in enumerate(peers)}
    return marks


def _label(protocol: str, peer: str) -> str:
    return f"{TITLES[protocol]}: {peer}"


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
    axes.annotate(
        f"{row.ratio:.2f}   {figure(row.ours, row.unit)}",
        (1.01, at), xycoords=("axes fraction", "data"), va="center", fontsize=8.5,
    )  # fmt: skip


def _dress(axes: Any, rows: Sequence[Row], caption: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xlim(TICKS[0], TICKS[-1])
    axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes.set_yticks(range(len(rows)), [f"{TITLES[row.protocol]}  {row.name}" for row in rows], fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.axvline(1, color=PEER_COLOUR, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.grid(axis="x", color="#e6e6e6", zorder=0)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.set_xlabel("throughput, as a multiple of the best peer in the same run (log scale)")
    axes.set_title(caption, fontsize=9.5, loc="left", pad=12)


def _legend(axes: Any, marks: dict[str, str]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(color=OURS_MET, label="rootwire, bar met"),
        Patch(color=OURS_SHORT, label="rootwire, bar not met"),
        Line2D([], [], color=TARGET_COLOUR, linewidth=2.2, label="the bar"),
    ]
    plain: dict[str, Any] = {"linestyle": "", "color": "white", "markeredgecolor": PEER_COLOUR, "markersize": 6}
    handles += [Line2D([], [], marker=mark, label=label, **plain) for label, mark in marks.items()]
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.42, -45 / axes.bbox.height * 1.4), ncols=5, fontsize=8.5,
        frameon=False,
    )  # fmt: skip
