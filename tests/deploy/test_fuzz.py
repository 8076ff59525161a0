"""deploy/fuzz: it runs, and starts from what is kept."""

import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.storage.squashfs.fuzz import CORPUS

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 1800.0  # seconds; most of them go into a first build, on a busy machine


@pytest.mark.slow
@pytest.mark.root
def test_starts_from_the_corpus() -> None:
    """Every file of it is read, and a short run finds nothing."""
    done = subprocess.run(
        [ROOT / "deploy" / "fuzz", "1", "-runs=1"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout
    (kept,) = re.findall(r"(\d+) files found in \S*/kept", done.stdout)
    with zipfile.ZipFile(CORPUS) as packed:
        assert int(kept) == len(packed.namelist())
