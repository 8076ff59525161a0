"""The table as Markdown, and its place in a file."""

from typing import Any

import pytest

from deploy.benchmark.arithmetic import Row, limit_row
from deploy.benchmark.errors import BenchmarkError
from deploy.benchmark.markdown import MARK, markdown, placed

DOCUMENT: dict[str, Any] = {
    "machine": "Fast, 2 cores, Linux 6", "date": "2026-01-02T03:04:05+00:00", "command": "deploy/bench --only nbd",
    "versions": {"rootwire": "commit abc", "old": "1.2-3"}, "rounds": 5, "seconds": 2.0, "bars_met": 1, "bars": 2,
    "others": 0.031,
}  # fmt: skip
ROWS = [
    Row("nbd", "4 KiB", "/s", 30_000.0, {"old": 10_000.0}, "old", None, 3.0, 2.4, True, idle={"rootwire": 0.04}),
    limit_row("nbd", "memory", "MiB", 99.0, 64.0),
    limit_row("http", "p50", "x", 1.25, None, "10 µs | 8 µs"),
]


def test_the_table_says_where_when_and_how() -> None:
    """Machine, date, command, rounds, versions, and how busy the machine was otherwise."""
    text = markdown(ROWS, DOCUMENT)
    assert text.startswith("Fast, 2 cores, Linux 6; 2026-01-02; `deploy/bench --only nbd`; medians of 5 x 2 s; ")
    assert "1 of 2 bars met.\n\nMeasured: rootwire commit abc, old 1.2-3. Other programs took 3% of" in text


def test_each_protocol_has_a_table_with_all_columns() -> None:
    """As many cells in each line as in its heads, and in the rule."""
    lines = markdown(ROWS, DOCUMENT).splitlines()
    at = lines.index("| NBD | rootwire | old | against the best | bar |  | load idle |")
    assert lines[at + 1] == "| --- | ---: | ---: | --- | --- | --- | --- |"
    assert lines[at + 2] == "| 4 KiB | 30.0 k/s | 10.0 k/s | 3.00 of old | ≥ 2.4 | met | 4% (!) |"
    assert lines[at + 3] == "| memory | 99.0 MiB |  |  | ≤ 64 MiB | not met |  |"
    assert lines[at + 5 : at + 6] == ["| HTTP | rootwire | against the best | bar |  | load idle |"]


def test_a_load_bound_row_is_explained_where_there_is_one() -> None:
    """The mark means nothing by itself."""
    assert "(!) the load's core was over 90% busy" in markdown(ROWS, DOCUMENT)
    assert "(!)" not in markdown(ROWS[1:], DOCUMENT)


def test_a_bar_in_a_word_does_not_end_its_cell() -> None:
    """Markdown's own sign is escaped."""
    assert "10 µs \\| 8 µs" in markdown(ROWS, DOCUMENT)


def test_the_table_takes_the_place_of_the_last_one() -> None:
    """Between the two marks, however often."""
    text = f"before\n{MARK}\nold\n{MARK}\nafter\n"
    once = placed(text, "new\n")
    assert once == f"before\n{MARK}\nnew\n{MARK}\nafter\n"
    assert placed(once, "new\n") == once


@pytest.mark.parametrize("text", ["", MARK, MARK * 3])
def test_a_file_without_a_place_is_left_alone(text: str) -> None:
    """One mark is no place, and neither are three."""
    with pytest.raises(BenchmarkError, match="no pair of lines"):
        placed(text, "new")
