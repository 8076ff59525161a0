"""The extensions under the address and undefined-behaviour sanitizers: nothing to report, and what is wrong is."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 1800.0  # seconds; two minutes are usual, and only a hang reaches it
REPORTS = {
    "read_behind": "heap-buffer-overflow",
    "write_behind": "heap-buffer-overflow",
    "read_freed": "heap-use-after-free",
    "overflow": "signed integer overflow",
    "read_across": "misaligned address",
    "lose": "detected memory leaks",
}

pytestmark = pytest.mark.slow


def sanitize(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A run of deploy/sanitize, its reports among the output."""
    return subprocess.run(
        [ROOT / "deploy" / "sanitize", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )


def test_nothing_to_report() -> None:
    """All tests of the folders that have extensions."""
    done = sanitize()
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", REPORTS)
def test_what_is_wrong_is_reported(name: str) -> None:
    """Each in an extension that was built as all are; a line of the stack says where."""
    done = sanitize(f"tests/sanitizers/wrong.py::test_wrong[{name}]")
    assert done.returncode == 1, done.stdout
    assert REPORTS[name] in done.stdout
    assert "broken.pyx" in done.stdout
