"""deploy.benchmark's readers of images: every cell has its own, and ours read what there is."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.benchmark import reader
from deploy.benchmark.arithmetic import OURS
from deploy.benchmark.cells import CELLS
from deploy.benchmark.unpacking import READERS, readers_of

CONTENTS = {"one": b"1" * 5000, "two": b"two" * 100_000, "none": b""}


@pytest.fixture
def image(tool: Callable[[str], str], tmp_path: Path) -> Path:
    """Three files."""
    (tmp_path / "tree").mkdir()
    for name, content in CONTENTS.items():
        (tmp_path / "tree" / name).write_bytes(content)
    command = [tool("mksquashfs"), str(tmp_path / "tree"), str(tmp_path / "image"), "-quiet", "-no-progress"]
    subprocess.run(command, check=True)
    return tmp_path / "image"


def test_every_cell_has_its_readers() -> None:
    """Ours among them, and one to compare with."""
    cells = [cell for cell in CELLS if cell.protocol == "squashfs"]
    assert len(cells) == 14
    for cell in cells:
        names = [one.name for one in readers_of(cell)]
        assert names[0] == OURS
        assert len(names) > 1
    assert {cell.load[0] for cell in cells} == set(READERS)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_file_is_read_once(image: Path, threads: int) -> None:
    """By however many threads."""
    assert reader.rootwire_all(str(image), threads) == (3, sum(map(len, CONTENTS.values())))


def test_a_program_says_what_it_did(image: Path) -> None:
    """As one line of JSON."""
    words = [sys.executable, "-m", "deploy.benchmark.reader", "rootwire", "all", str(image), "0"]
    done = subprocess.run(words, capture_output=True, check=True)
    said = json.loads(done.stdout)
    assert (said["requests"], said["bytes"]) == (3, 305_000)
    assert 0 < said["seconds"] < 60
