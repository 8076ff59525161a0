"""The sort file, as text and as the real mksquashfs reads it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.heat.sortfile import escape, write_sort_file
from storage import squashfs
from storage.image import FileImage

QUIET = ("-quiet", "-no-progress")
ODD = [b"with space", b"#hash", b"back\\slash", b"tab\there", b"-dash", b"\xff\xfe", b"quote\"'", b"star*", b"a/ b"]


def test_the_first_has_the_highest_priority() -> None:
    """And each its own; a second mention is none."""
    assert list(write_sort_file([b"b", b"a", b"b"])) == [b"b -1\n", b"a -2\n"]


def test_there_is_an_end_to_priorities() -> None:
    """mksquashfs takes no lower one, and would refuse the whole file."""
    lines = list(write_sort_file(b"%d" % number for number in range(32768 + 10)))
    assert {line.split()[1] for line in lines[32767:]} == {b"-32768"}
    assert len(lines) == 32768 + 10


@pytest.mark.parametrize("name", [b"new\nline", b"folder/*", b"", b"x" * 16384])
def test_names_without_a_line_are_left_out(name: bytes) -> None:
    """mksquashfs would take them for something else, or refuse the whole file."""
    assert list(write_sort_file([name, b"good"])) == [b"good -1\n"]


def test_what_would_end_a_name_is_escaped() -> None:
    """White space, comments, and the backslash itself."""
    assert escape(b"a b#\\\t") == b"a\\ b\\#\\\\\\\t"


def test_mksquashfs_takes_the_order(tool: Callable[[str], str], tmp_path: Path) -> None:
    """Files lie in the image in the order of the lines, whatever they are called, behind all others."""
    tree, order = tmp_path / "tree", [*ODD[::-1], b"plain"]
    for name in [*order, b"unnamed"]:
        path = tree / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(5000))
    (tmp_path / "sort").write_bytes(b"".join(write_sort_file(order)))
    made = subprocess.run(
        [tool("mksquashfs"), tree, tmp_path / "image", *QUIET, "-no-fragments", "-sort", tmp_path / "sort"],
        capture_output=True,
        check=True,
    )
    assert made.stderr == b""
    opened = squashfs.open(FileImage(tmp_path / "image"))
    assert len({opened.open_file(name).layout[0] for name in order}) == len(order), "they share their places"
    assert sorted([*order, b"unnamed"], key=lambda name: opened.open_file(name).layout[0]) == [b"unnamed", *order]
