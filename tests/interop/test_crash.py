"""The appliance, killed: no flush that a machine saw acknowledged is ever taken back."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("nbd")
ROOT = Path(__file__).parents[2]


@pytest.mark.root
def test_no_flush_is_lost() -> None:
    """Twenty kills at random moments; python -m tests.interop.crash does two hundred."""
    command = [sys.executable, "-m", "tests.interop.crash", "--kills", "20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "20 kills" in done.stdout
    assert "none lost" in done.stdout
