"""Which versions were measured: ours by its commit, the peers by their Debian packages."""

import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from deploy.benchmark.arithmetic import OURS
from deploy.benchmark.contenders import CONTENDERS
from deploy.benchmark.errors import BenchmarkError
from deploy.benchmark.generators import REPOSITORY

DEBIAN = {"unsquashfs": "squashfs-tools", "sqfs2tar": "squashfs-tools-ng"}  # the squashfs readers' packages
PYTHON = {"PySquashfsImage": "PySquashfsImage", "dissect": "dissect.squashfs"}


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    if done.returncode != 0:
        raise BenchmarkError(f"{command[0]} failed: {(done.stderr.strip().splitlines() or ['?'])[0]}")
    return done.stdout.strip()


def versions(protocols: Sequence[str], unpacked: Path) -> dict[str, str]:
    """The version of each server; `unpacked` is the file that deploy/bench lists unpacked packages in."""
    known = dict(line.split() for line in unpacked.read_text().splitlines())
    found = {OURS: f"commit {_said('git', 'describe', '--always', '--dirty', '--abbrev=10')}"}
    for contender in (contender for protocol in protocols for contender in CONTENDERS.get(protocol, ())):
        name = contender.package
        if name is not None:
            found[contender.name] = known.get(name) or _said("dpkg-query", "-W", "-f", "${Version}", name)
    if "squashfs" in protocols:
        found |= {reader: _said("dpkg-query", "-W", "-f", "${Version}", name) for reader, name in DEBIAN.items()}
        found |= {reader: metadata.version(name) for reader, name in PYTHON.items()}
    return found
