"""The demo tree's parts: what is made again and when, which files are read, and their checksum."""

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.demo.checksum import expected_md5
from deploy.demo.tree import Builder, list_files, run_tool
from deploy.lab.errors import LabError


def make_root(folder: Path) -> Path:
    """A root with files whose byte order is not the order of any language."""
    for name in ("usr/bin/b", "usr/bin/B", "usr/lib/x/a", "usr/lib/x-y", "usr/share/other", "usr/bin/_"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"contents of {name}\n")
    (folder / "usr/bin/link").symlink_to("b")
    return folder


def make(builder: Builder, inputs: str) -> list[str]:
    """Make a part from `inputs`; returns what was done."""
    done: list[str] = []
    builder.make("part", inputs, lambda: done.append("built"), done.append)
    return done


def test_a_part_is_made_once_per_inputs(tmp_path: Path) -> None:
    """Again when the inputs differ, and again when they change back."""
    builder = Builder(tmp_path)
    assert [make(builder, inputs) for inputs in ("1", "1", "2", "1")] == [
        ["built"],
        ["as made before"],
        ["built"],
        ["built"],
    ]


def test_a_part_that_failed_is_made_again(tmp_path: Path) -> None:
    """A broken build leaves nothing that looks finished, not even where an earlier one was."""
    builder = Builder(tmp_path)
    make(builder, "1")

    def fail() -> None:
        raise LabError("no network")

    with pytest.raises(LabError):
        builder.make("part", "2", fail, lambda detail: None)
    assert make(builder, "1") == ["built"]


def test_files_are_listed_in_byte_order(tmp_path: Path) -> None:
    """Plain files of usr/bin and usr/lib only; what a link points to is read once."""
    assert list_files(make_root(tmp_path)) == [
        b"usr/bin/B",
        b"usr/bin/_",
        b"usr/bin/b",
        b"usr/lib/x-y",
        b"usr/lib/x/a",
    ]


def test_the_checksum_is_over_the_images_first_files(tmp_path: Path, tool: Callable[[str], str]) -> None:
    """Computed from the packed image, not from what it was packed from."""
    image = tmp_path / "image"
    command = [tool("mksquashfs"), str(make_root(tmp_path / "root")), str(image), "-quiet", "-no-progress"]
    subprocess.run(command, check=True, capture_output=True)
    first_two = b"contents of usr/bin/B\ncontents of usr/bin/_\n"
    assert expected_md5(image, 2) == hashlib.md5(first_two).hexdigest()


def test_a_tools_last_words_are_in_the_error() -> None:
    """With its status; its progress lines were shown as they came."""
    shown: list[str] = []
    with pytest.raises(LabError, match=r"^sh failed with status 4: fetching / no such host$"):
        run_tool(["sh", "-c", "echo fetching; echo no such host >&2; exit 4"], show=shown.append)
    assert shown == ["fetching", "no such host"]
