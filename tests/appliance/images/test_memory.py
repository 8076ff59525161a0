"""What is remembered of images: written whole, read with care."""

from pathlib import Path

import pytest
import structlog

from appliance.images.identity import Identity
from appliance.images.memory import Memory, Sums

KNOWN = {"root": (Identity(5, 4096, 1_790_000_000_000_000_001), Sums("a" * 32, "b" * 64, 5000))}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """And what is not is forgotten."""
    Memory(tmp_path).save({**KNOWN, "other": KNOWN["root"]})
    Memory(tmp_path).save(KNOWN)
    assert Memory(tmp_path).load() == KNOWN


def test_what_was_remembered_before_compressed_images_had_sums(tmp_path: Path) -> None:
    """Is of plain ones, whose bytes are those of their files."""
    Memory(tmp_path).save(KNOWN)
    file = tmp_path / ".rootwire/checksums.json"
    file.write_text(file.read_text().replace(',"unpacked":5000', ""))
    ((_, sums),) = Memory(tmp_path).load().values()
    assert sums.unpacked == 4096


def test_nothing_is_remembered_at_first(tmp_path: Path) -> None:
    """That is no fault."""
    with structlog.testing.capture_logs() as logged:
        assert Memory(tmp_path).load() == {}
    assert logged == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "\xff",
        '{"root": 5}',
        '{"root": {}}',
        '{"root": {"inode": 1, "size": 1, "changed": "x", "md5": "a", "sha256": "b"}}',
        '{"root": {"inode": 1, "size": 1, "changed": 1, "md5": "a", "sha256": "b"}}',
        '{"root": {"inode": 1, "size": 1, "changed": 1, "md5": "' + "g" * 32 + '", "sha256": "' + "b" * 64 + '"}}',
    ],
)
def test_a_spoilt_file_is_no_memory(tmp_path: Path, text: str) -> None:
    """Said once; the sums are made anew."""
    (tmp_path / ".rootwire").mkdir()
    (tmp_path / ".rootwire/checksums.json").write_bytes(text.encode("latin-1"))
    with structlog.testing.capture_logs() as logged:
        assert Memory(tmp_path).load() == {}
    assert [line["event"] for line in logged] == ["state_unreadable"]


def test_a_tree_that_is_read_only_forgets(tmp_path: Path) -> None:
    """Said once, not for every image."""
    (tmp_path / ".rootwire").write_text("a file is in the way")
    memory = Memory(tmp_path)
    with structlog.testing.capture_logs() as logged:
        memory.save(KNOWN)
        memory.save(KNOWN)
    assert [line["event"] for line in logged] == ["state_not_kept"]
