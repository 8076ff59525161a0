"""Programs out of Debian packages that are not installed: that would start daemons on the user's machine."""

import subprocess
from pathlib import Path

from deploy.lab.errors import LabError


def unpack_packages(place: Path, *names: str) -> None:
    """Download packages and unpack them in the folder `place`. Raises: LabError."""
    place.mkdir(parents=True)
    download = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", *names]
    try:
        subprocess.run(download, cwd=place, check=True, capture_output=True)
        for package in place.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package.name, "."], cwd=place, check=True, capture_output=True)
            package.unlink()
    except subprocess.CalledProcessError as failure:
        said = failure.stderr.decode(errors="replace").strip()
        raise LabError(f"{', '.join(names)} can't be had: {said}") from failure
