"""appliance.exports.addresses: a machine's shelf.slot is its own, and the same after every restart."""

from pathlib import Path

import pytest

from appliance.errors import OperatorError
from appliance.exports import addresses
from appliance.exports.addresses import FILE, Addresses

FIRST, SECOND = "52:54:00:00:00:01", "52:54:00:00:00:02"


def test_each_has_its_own_for_good(tmp_path: Path) -> None:
    """Whoever asks first; in any spelling."""
    folder = tmp_path / "state/exports"
    given = Addresses(folder)
    assert given.get(SECOND) is None
    assert given.give(SECOND) == (16, 1)
    assert given.give(FIRST) == (16, 2)
    again = Addresses(folder)
    assert (again.get(FIRST), again.give(SECOND.upper())) == ((16, 2), (16, 1))
    assert [found.name for found in folder.iterdir()] == [FILE]


def test_one_given_back_is_anothers(tmp_path: Path) -> None:
    """And only that one."""
    given = Addresses(tmp_path)
    given.give(FIRST)
    given.give(SECOND)
    given.take_back(FIRST)
    given.take_back(FIRST)
    assert Addresses(tmp_path).get(SECOND) == (16, 2)
    assert Addresses(tmp_path).give("52:54:00:00:00:03") == (16, 1)


def test_there_is_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's is taken away."""
    monkeypatch.setattr(addresses, "SLOTS", range(1, 2))
    monkeypatch.setattr(addresses, "SHELVES", range(16, 17))
    given = Addresses(tmp_path)
    assert given.give(FIRST) == (16, 1)
    assert given.give(SECOND) is None
    assert given.give(FIRST) == (16, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"x": [16, 1]}',
        '{"525400000001": [16]}',
        '{"525400000001": [0, 1]}',
        '{"525400000001": [16, 255]}',
        '{"525400000001": ["16", 1]}',
        '{"525400000001": [16, 1], "525400000002": [16, 1]}',
        "\xff",
    ],
)
def test_a_spoilt_table_is_for_a_person(tmp_path: Path, text: str) -> None:
    """Nothing is given away on a guess."""
    (tmp_path / FILE).write_text(text, encoding="latin-1")
    with pytest.raises(OperatorError, match="AoE addresses"):
        Addresses(tmp_path)


def test_one_that_can_not_be_kept_is_not_given(tmp_path: Path) -> None:
    """It would be another's after a restart."""
    given = Addresses(tmp_path)
    (tmp_path / "addresses.json.part").mkdir()
    with pytest.raises(OSError, match="directory"):
        given.give(FIRST)
    assert given.get(FIRST) is None
