"""The appliance, killed: no flush that a machine saw acknowledged is ever taken back."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("nbd")
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.root


def crash(kills: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Have the appliance be killed so often; python -m tests.interop.crash does it two hundred times."""
    command = [sys.executable, "-m", "tests.interop.crash", "--kills", str(kills), *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize(
    ("kills", "words"),
    [
        (20, ()),
        (6, ("--blank", "--power-loss")),
        (6, ("--over", "aoe", "--power-loss")),
        (6, ("--over", "aoe", "--blank", "--power-loss")),
    ],
    ids=["nbd", "nbd_blank_power_loss", "aoe_power_loss", "aoe_blank_power_loss"],
)
def test_no_flush_is_lost(tool: Callable[[str], str], kills: int, words: tuple[str, ...]) -> None:
    """Killed at random moments; where power is lost, too, what was not flushed is there in part only."""
    tool("cc")
    done = crash(kills, *words)
    assert done.returncode == 0, done.stderr
    assert f"{kills} kills" in done.stdout
    assert "none lost" in done.stdout


@pytest.mark.parametrize(
    "words", [(), ("--over", "aoe", "--blank", "--power-loss")], ids=["nbd", "aoe_blank_power_loss"]
)
def test_a_flush_that_does_nothing_is_noticed(tool: Callable[[str], str], words: tuple[str, ...]) -> None:
    """On a disk that lies, writes that were acknowledged as kept are found missing."""
    tool("cc")
    done = crash(20, "--broken", *words)
    assert done.returncode != 0
    assert "and is none of" in done.stderr
