"""Images whose file changed while they are served: noticed, told once, and what their readers get."""

import os
from pathlib import Path

import pytest
import structlog

from appliance.images.catalog import Catalog
from appliance.images.changes import Changes

OLD = b"old" * 1000
NEW = b"new" * 1000


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """One image that is served."""
    (tmp_path / "root").write_bytes(OLD)
    made = Catalog(tmp_path, raw=["root"])
    made.load()
    return made


def look(changes: Changes, catalog: Catalog, times: int = 1) -> list[tuple[str, str]]:
    """What is logged by so many looks: level, and how the image changed."""
    with structlog.testing.capture_logs() as logged:
        for _ in range(times):
            changes.look(catalog)
    assert {(line["event"], line["image"]) for line in logged} <= {("image_changed", "root")}
    return [(line["log_level"], line["how"]) for line in logged]


def served(catalog: Catalog) -> bytes:
    """What a client that runs from the image reads now."""
    entry = catalog.get("root")
    assert entry is not None
    return entry.image.read_at(0, len(OLD))


def test_nothing_changed(catalog: Catalog) -> None:
    """Nothing is said."""
    changes = Changes()
    assert look(changes, catalog, times=3) == []
    assert changes.of("root") is None


def test_replaced_by_renaming(catalog: Catalog, tmp_path: Path) -> None:
    """An error, once; clients keep the bytes they began with."""
    (tmp_path / "part").write_bytes(NEW)
    (tmp_path / "part").rename(tmp_path / "root")
    changes = Changes()
    assert look(changes, catalog, times=3) == [("error", "replaced")]
    assert changes.of("root") == "replaced"
    assert served(catalog) == OLD


def test_rewritten_in_place(catalog: Catalog, tmp_path: Path) -> None:
    """An error, once: nothing can keep the old bytes."""
    with (tmp_path / "root").open("r+b") as file:
        file.write(NEW)
    os.utime(tmp_path / "root", (1, 1))  # whatever the file system's clock ticks in
    changes = Changes()
    assert look(changes, catalog, times=3) == [("error", "rewritten")]
    assert served(catalog) == NEW


def test_opened_anew_it_is_still_one_that_was_rewritten(catalog: Catalog, tmp_path: Path) -> None:
    """Those who run from it are told so until the appliance starts again."""
    changes = Changes()
    changes.look(catalog)
    (tmp_path / "root").write_bytes(NEW + b"longer")
    catalog.follow(changes.look(catalog))
    assert look(changes, catalog) == []
    assert changes.of("root") == "rewritten"
    entry = catalog.get("root")
    assert entry is not None
    assert entry.image.size == len(NEW) + 6


def test_cut_off_in_place(catalog: Catalog, tmp_path: Path) -> None:
    """By its size alone."""
    before = (tmp_path / "root").stat().st_mtime_ns
    os.truncate(tmp_path / "root", 10)
    os.utime(tmp_path / "root", ns=(before, before))
    assert look(Changes(), catalog) == [("error", "rewritten")]


@pytest.mark.parametrize("is_folder_gone", [False, True])
def test_removed_and_put_back(catalog: Catalog, tmp_path: Path, is_folder_gone: bool) -> None:
    """An error; back where it was, all is well again."""
    kept = tmp_path.parent / f"{tmp_path.name}-kept"
    (tmp_path if is_folder_gone else tmp_path / "root").rename(kept)
    changes = Changes()
    assert look(changes, catalog, times=2) == [("error", "removed")]
    assert served(catalog) == OLD
    kept.rename(tmp_path if is_folder_gone else tmp_path / "root")
    assert look(changes, catalog) == []
    assert changes.of("root") is None


def test_what_changes_further_is_told_again(catalog: Catalog, tmp_path: Path) -> None:
    """Replaced, then gone."""
    changes = Changes()
    (tmp_path / "part").write_bytes(NEW)
    (tmp_path / "part").rename(tmp_path / "root")
    assert look(changes, catalog) == [("error", "replaced")]
    (tmp_path / "root").unlink()
    assert look(changes, catalog) == [("error", "removed")]


def test_a_change_of_rights_is_none(catalog: Catalog, tmp_path: Path) -> None:
    """Nor is another name for the same file."""
    (tmp_path / "root").chmod(0o400)
    (tmp_path / "also").hardlink_to(tmp_path / "root")
    assert look(Changes(), catalog) == []
