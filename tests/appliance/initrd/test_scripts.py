"""The client's shell files as files: they parse, and they are where the builder and the client look for them."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import appliance.initrd

CLIENT = Path(appliance.initrd.__file__).parent / "client"
SCRIPTS = sorted(CLIENT.glob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.name))
def test_every_script_parses(script: Path, tool: Callable[[str], str]) -> None:
    """Busybox's shell, the one that runs it, accepts the syntax."""
    done = subprocess.run([tool("busybox"), "sh", "-n", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_init_sources_every_library_once() -> None:
    """Nothing is packed that init doesn't read, except udhcpc's script; nothing is read that isn't packed."""
    listed = re.search(r"^LIBRARIES='([^']*)'$", (CLIENT / "init.sh").read_text(), re.M)
    assert listed is not None
    assert sorted(listed[1].split()) == sorted(p.stem for p in SCRIPTS if p.stem not in {"init", "lease"})


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.name))
def test_nothing_is_evaluated(script: Path) -> None:
    """No eval, and nothing sourced but the client's own libraries."""
    code = [line for line in script.read_text().splitlines() if not line.lstrip().startswith("#")]
    assert [line for line in code if re.search(r"\beval\b|\bsource\b", line)] == []
    assert [line for line in code if re.match(r"\s*\. ", line) and '"$LIB/$library.sh"' not in line] == []
