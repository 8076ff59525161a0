"""appliance.statefile: kept whole or not at all, read with care."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog
from pydantic import TypeAdapter

from appliance.enrolment.members import Enrolments
from appliance.statefile import StateFile

NUMBERS = TypeAdapter(dict[str, int])


def numbers(path: Path, most: int = 4096) -> StateFile[dict[str, int]]:
    """A file of numbers by name."""
    return StateFile(path, NUMBERS, most=most)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """In a folder that is made for it; nothing else is left in it."""
    path = tmp_path / "state/numbers.json"
    assert numbers(path).read() is None
    numbers(path).write({"one": 1})
    numbers(path).write({"two": 2})
    assert numbers(path).read() == {"two": 2}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"one": "1"}', '{"one": 1.5}', "\xff", '{"one": 1}' + " " * 4096])
def test_a_spoilt_file_is_said_and_is_no_state(tmp_path: Path, text: str) -> None:
    """On one line; a file that is too long is as one that is spoilt."""
    path = tmp_path / "numbers.json"
    path.write_text(text, encoding="latin-1")
    with structlog.testing.capture_logs() as logged:
        assert numbers(path).recall({"none": 0}) == {"none": 0}
    assert [line["event"] for line in logged] == ["state_unreadable"]
    assert "\n" not in logged[0]["reason"]
    with pytest.raises(ValueError, match=r"valid|Invalid|longer"):
        numbers(path).read()


def test_a_write_that_fails_leaves_the_last(tmp_path: Path) -> None:
    """And no half of the new one; what may be forgotten is said once."""
    path = tmp_path / "numbers.json"
    numbers(path).write({"one": 1})
    (tmp_path / "numbers.json.part").mkdir()
    file = numbers(path)
    with pytest.raises(OSError, match="directory"):
        file.write({"two": 2})
    with structlog.testing.capture_logs() as logged:
        file.remember({"two": 2})
        file.remember({"three": 3})
    assert [line["event"] for line in logged] == ["state_not_kept"]
    assert file.read() == {"one": 1}


def test_machines_enrolled_at_once_are_all_enrolled(tmp_path: Path) -> None:
    """A script enrolls a room of them side by side."""
    enrolled = Enrolments(tmp_path)
    macs = [f"02:00:00:00:00:{number:02x}" for number in range(64)]
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda mac: enrolled.put(mac, "pos"), macs))
    assert sorted(enrolled) == sorted(Enrolments(tmp_path)) == macs
