"""The table as GitHub's Markdown, with what it needs to be believed: machine, date, command, versions."""

from collections.abc import Mapping, Sequence
from typing import Any

from deploy.benchmark.arithmetic import Row
from deploy.benchmark.errors import BenchmarkError
from deploy.benchmark.table import LOAD_MARK, LOAD_MARK_MEANS, TITLES, by_protocol, grid

MARK = "<!-- deploy/bench -->"


def _line(words: Sequence[str]) -> str:
    return f"| {' | '.join(word.replace('|', chr(92) + '|') for word in words)} |"


def _table(protocol: str, rows: Sequence[Row]) -> list[str]:
    heads, lines = grid(rows)
    rule = ["---:" if 0 < at < len(heads) - 4 else "---" for at in range(len(heads))]
    return ["", _line([TITLES[protocol], *heads[1:]]), _line(rule), *(_line(line) for line in lines)]


def markdown(rows: Sequence[Row], document: Mapping[str, Any]) -> str:
    """All tables; `document` is what results.json holds."""
    measured = ", ".join(f"{server} {version}" for server, version in document["versions"].items())
    said = [
        f"{document['machine']}; {document['date'][:10]}; `{document['command']}`; medians of {document['rounds']} x "
        f"{document['seconds']:g} s; {document['bars_met']} of {document['bars']} bars met.",
        "",
        f"Measured: {measured}.",
    ]
    if document["others"] is not None:
        said[-1] += f" Other programs took {document['others']:.0%} of the two cores meanwhile."
    if any(row.is_load_bound for row in rows):
        said += ["", f"{LOAD_MARK.strip()} {LOAD_MARK_MEANS}."]
    return "\n".join(said + [line for name, some in by_protocol(rows).items() for line in _table(name, some)]) + "\n"


def placed(text: str, table: str) -> str:
    """`text` with the table between its two marks. Raises: BenchmarkError when it has not exactly two."""
    parts = text.split(MARK)
    if len(parts) != 3:
        raise BenchmarkError(f"it has no pair of lines {MARK} for the table")
    return f"{parts[0]}{MARK}\n{table}{MARK}{parts[2]}"
