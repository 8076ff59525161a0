"""The ledger of quirks: each line of the list is there once, and where it says that something is handled, it is."""

import re
import tomllib
from pathlib import Path

import pytest

LEDGER = Path(__file__).with_name("ledger.toml")
HERE = Path(__file__).parents[3]  # the repository
LINES = {"D": 28, "P": 13, "B": 6, "I": 12, "T": 24, "H": 12, "G": 6}  # how many of each letter the list has
HANDLED = re.compile(r"(?P<path>[\w./-]+)(?:::(?P<test>test_\w+))?")
ENTRIES = tomllib.loads(LEDGER.read_text())


def test_every_line_is_there_once() -> None:
    """In the list's order; that none is there twice is TOML's own rule."""
    assert list(ENTRIES) == [f"{letter}-{number}" for letter, most in LINES.items() for number in range(1, most + 1)]


@pytest.mark.parametrize("line", ENTRIES)
def test_handled_or_reasoned(line: str) -> None:
    """A title, and at least one of the two; nothing else."""
    entry = ENTRIES[line]
    assert entry["title"]
    assert entry.get("handled") or entry.get("reason")
    assert entry.keys() <= {"title", "handled", "reason"}


@pytest.mark.parametrize("line", ENTRIES)
def test_what_handles_it_is_there(line: str) -> None:
    """Each is a file, or a test in one."""
    for place in ENTRIES[line].get("handled", []):
        found = HANDLED.fullmatch(place)
        assert found, place
        text = (HERE / found["path"]).read_text()
        assert found["test"] is None or re.search(rf"def {found['test']}\(", text), place


def test_rows_name_lines_of_the_list() -> None:
    """What the shipped rows go back to."""
    rows = tomllib.loads((HERE / "appliance/quirks/rows.toml").read_text())["rows"]
    assert {line for row in rows for line in row["source"].split(", ")} <= ENTRIES.keys()
