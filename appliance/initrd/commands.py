"""Outside programs the builder runs: found by name, run with fixed arguments, their failure told in one line."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from appliance.initrd.errors import InitrdError

# Where Debian puts administrators' programs, which a plain user's PATH leaves out.
ADMINISTRATORS_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


def find_optional(name: str) -> Path | None:
    """Where a program is installed, if it is."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{ADMINISTRATORS_PATH}")
    return None if path is None else Path(path)


def find_program(name: str, package: str) -> Path:
    """Where a program is installed.

    Raises: InitrdError naming the Debian package that has it, when it is not there.
    """
    path = find_optional(name)
    if path is None:
        raise InitrdError(f"{name} is not installed; run: apt-get install {package}")
    return path


def run(command: Sequence[str | Path], *, purpose: str, folder: Path | None = None) -> bytes:
    """What a program printed on standard output.

    Raises: InitrdError with the purpose and the last line of the program's complaint, when it fails.
    """
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    if done.returncode:
        complaint = (done.stderr.strip() or f"exit status {done.returncode}".encode()).splitlines()[-1]
        raise InitrdError(f"{purpose} failed: {complaint.decode(errors='replace')}")
    return done.stdout
