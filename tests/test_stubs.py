"""What the stubs say of the extensions is so: every .pyi against what was built from its .pyx, by mypy's stubtest."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
ALLOWED = r"""
# Cython's own, in every module or class of some kind.
.*\.__test__
.*\.__pyx_capi__
.*\.__reduce_cython__
.*\.__setstate_cython__
# Cython gives constructors no signature that Python could ask for; every test of a class calls its constructor.
.*\.__init__
# Constants a module keeps to itself: where another uses one, mypy asks for it in the stub.
.*\.[A-Z][A-Z0-9_]*
# What Python sees though it is for `cimport`, or for the module itself.
protocols\..*\.pump\.Seat
protocols\.nbd\.pump\.Mapped
protocols\.aoe\.pump\.errorcode
storage\.squashfs\.volume\.Volume
storage\.squashfs\.filesystem\.Scan
storage\.squashfs\.pieces\.Pieces
"""


def extensions() -> list[str]:
    """The dotted names of all modules that are built."""
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["ext-modules"]
    return [table["name"] for table in tables]


def test_stubs_are_what_was_built(tmp_path: Path) -> None:
    """Names, parameters, defaults and bases agree, and no exception above has become needless."""
    allowed = tmp_path / "allowed"
    allowed.write_text(ALLOWED)
    # PEP 800's marks of classes that can't be bases together would be in every stub, for nobody's use.
    command = [sys.executable, "-m", "mypy.stubtest", "--concise", "--ignore-disjoint-bases"]
    done = subprocess.run(
        [*command, "--allowlist", allowed, *extensions()],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
