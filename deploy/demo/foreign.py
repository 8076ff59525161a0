"""Debian's packages for another processor, unpacked into a folder: the entry of deploy/loaders, and the lab's arm64.

They can't be installed beside this machine's own: GRUB's depend on tools of one processor only, and their scripts
would run on the wrong one. apt works here with lists and a cache of its own, checks signatures as ever, and changes
nothing of the system.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.offers.loaders import FETCHED, LINKED, LOADER_FILES, SYSTEM, LinkedGrub, LoaderFile
from deploy.demo.tree import Progress, run_tool
from deploy.lab.errors import LabError

LOADERS: tuple[LoaderFile | LinkedGrub, ...] = (*LOADER_FILES.values(), *LINKED.values())


@dataclass(frozen=True, slots=True)
class Port:
    """Debian for one processor, `name` in Debian's words; `folder` is apt's, and is kept between calls."""

    name: str
    folder: Path

    def update(self, show: Progress) -> None:
        """Fetch the lists of packages, of those of this machine's sources that have the processor at all."""
        for part in ("lists/partial", "cache/archives/partial"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        try:
            run_tool(["apt-get", *self._options(), "update", "-qq"])
        except LabError as failure:  # of one source only, perhaps: a package that is in none ends in an error anyway
            show(f"not every list of packages could be fetched: {failure}")

    def meaning(self, package: str) -> str:
        """The package that a kernel's meta package stands for today. Raises: LabError when there is none."""
        shown = run_tool(["apt-cache", *self._options(), "show", "--no-all-versions", package])
        found = re.search(r"^Depends: (linux-image-\S+)", shown, re.MULTILINE)
        if found is None:
            raise LabError(f"{package} depends on no kernel for {self.name}")
        return found[1]

    def unpack(self, packages: Sequence[str], into: Path) -> None:
        """Download packages and unpack them into a folder. Raises: LabError, naming apt's own reason."""
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            run_tool(["apt-get", *self._options(), "download", "-qq", *packages], cwd=Path(place))
            into.mkdir(parents=True, exist_ok=True)
            for package in sorted(Path(place).glob("*.deb")):
                run_tool(["dpkg", "-x", str(package), str(into)])

    def _options(self) -> list[str]:
        settings = {
            "APT::Architecture": self.name,
            "APT::Architectures": self.name,
            "Dir::State::lists": self.folder / "lists",
            "Dir::State::status": self.folder / "status",
            "Dir::Cache": self.folder / "cache",
            "APT::Sandbox::User": "root",
        }
        return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def loader_packages(port: str) -> list[str]:
    """The packages whose loaders are for this processor alone."""
    return sorted({each.package for each in LOADERS if each.port == port})


def fetch_loaders(port: Port, into: Path, show: Progress) -> None:
    """Unpack a processor's boot loaders into a folder that stands for the system's root. Raises: LabError."""
    packages = loader_packages(port.name)
    show(f"downloading {' '.join(packages)}")
    port.unpack(packages, into)


def main(ports: Sequence[str]) -> int:
    """Fetch the loaders of each of these processors to where rootwire looks for them; the exit status."""
    known = sorted({each.port for each in LOADERS if each.port})
    if not ports or not set(ports) <= set(known):
        print(f"loaders: name one or more of {', '.join(known)}", file=sys.stderr)
        return 2
    target = SYSTEM / FETCHED
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name in ports:
                port = Port(name, Path(folder) / name)
                port.update(_say)
                fetch_loaders(port, target, _say)
                _say(f"in {target} now: {', '.join(sorted(each.name for each in LOADERS if each.port == name))}")
    except (LabError, OSError, subprocess.SubprocessError) as failure:
        print(f"loaders: {failure}", file=sys.stderr)
        return 1
    return 0


def _say(line: str) -> None:
    print(f"loaders: {line}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
