"""What boots read first, folded together and kept on disk."""

from pathlib import Path

import pytest

from appliance.heat.bootlist import NOTHING, RANGES_MOST, BootList, BootLists, fold


def test_a_boot_is_folded_in() -> None:
    """Ranges in order; what goes on is one, what was read again is nothing."""
    first = fold(NOTHING, [(0, 10), (10, 10), (50, 5), (0, 30)])
    assert first == BootList(1, ((0, 20), (50, 5), (20, 10)))
    assert fold(first, [(0, 5), (52, 10)]) == BootList(2, ((0, 20), (50, 5), (20, 10), (55, 7)))


def test_a_list_is_bounded() -> None:
    """The beginning of the boot is kept."""
    many = fold(NOTHING, ((at * 10, 5) for at in range(RANGES_MOST + 5)))
    assert (len(many.ranges), many.ranges[0]) == (RANGES_MOST, (0, 5))


def test_a_list_outlives_its_writer(tmp_path: Path) -> None:
    """In a folder that is made for it, and of this version of the image only."""
    known = BootList(2, ((4096, 512), (0, 10)))
    BootLists(tmp_path / "state/boots").save("edge-1", "v1", known)
    lists = BootLists(tmp_path / "state/boots")
    assert lists.load("edge-1", "v1") == known
    assert lists.load("edge-1", "v2") == lists.load("other", "v1") == NOTHING
    assert [path.name for path in (tmp_path / "state/boots").iterdir()] == ["edge-1.json"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"version": "v1", "boots": 1, "ranges": [[1]]}', b'{"version": "v1", "boots": 1}', b"\xff"],
)
def test_a_damaged_list_is_none(tmp_path: Path, content: bytes) -> None:
    """It is written again after the next boot."""
    (tmp_path / "edge-1.json").write_bytes(content)
    assert BootLists(tmp_path).load("edge-1", "v1") == NOTHING


def test_ranges_that_can_not_be_are_left_out(tmp_path: Path) -> None:
    """Nothing of them reaches the disk."""
    (tmp_path / "edge-1.json").write_bytes(b'{"version": "v1", "boots": 1, "ranges": [[-1, 5], [0, 0], [3, 4]]}')
    assert BootLists(tmp_path).load("edge-1", "v1").ranges == ((3, 4),)


def test_a_list_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    """And nothing is left of it."""
    (tmp_path / "edge-1.json").mkdir()
    with pytest.raises(OSError, match="edge-1"):
        BootLists(tmp_path).save("edge-1", "v1", NOTHING)
    assert [path.name for path in tmp_path.iterdir()] == ["edge-1.json"]
