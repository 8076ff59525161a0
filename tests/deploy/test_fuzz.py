"""deploy/fuzz: it runs, and starts from what is kept."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.corpus import read_kept
from tests.protocols.dhcp import fuzz as dhcp
from tests.storage.squashfs import fuzz as squashfs

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 1800.0  # seconds; most of them go into a first build, on a busy machine
CORPORA = {"squashfs": squashfs.CORPUS, "dhcp": dhcp.CORPUS}


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """deploy/fuzz, what it prints in one."""
    return subprocess.run(
        [ROOT / "deploy" / "fuzz", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.parametrize("words", [(), ("dhcp",)])
def test_starts_from_the_corpus(words: tuple[str, ...]) -> None:
    """Every file of it is read, and a short run finds nothing; without a word squashfs is meant."""
    done = run(*words, "1", "-runs=1")
    assert done.returncode == 0, done.stdout
    (kept,) = re.findall(r"(\d+) files found in \S*/kept", done.stdout)
    assert int(kept) == len(read_kept(CORPORA[words[0] if words else "squashfs"]))


@pytest.mark.slow
def test_a_storm() -> None:
    """So many inputs, and what became of them."""
    done = run("storm", "300")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].startswith("300 inputs: ")


@pytest.mark.parametrize("words", [(), ("many",), ("300", "-runs=1")])
def test_a_storm_of_no_size(words: tuple[str, ...]) -> None:
    """One line, status 2; nor does it take a fuzzer's options."""
    done = run("storm", *words)
    assert done.returncode == 2
    assert done.stdout == "fuzz: a storm is a number of inputs and nothing else: deploy/fuzz storm 1000000\n"


def test_another_target() -> None:
    """One line, status 2."""
    done = run("tftp", "1")
    assert done.returncode == 2
    assert done.stdout == "fuzz: there is no target tftp: name squashfs, dhcp or storm\n"
