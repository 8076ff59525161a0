"""What machines are to be given: loaders, room for what they write, the right time."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from appliance.doctor.box import Box
from appliance.doctor.finding import Finding, error, ok, warning
from appliance.offers.loaders import missing_loaders

LITTLE = 1 << 30  # bytes; a few machines' writes
HARDLY_ANY = 64 << 20  # bytes; not enough for one initramfs and its temporary files
DAY = 86400  # seconds: a clock is not wrong for a time zone


def check_loaders(box: Box) -> Iterator[Finding]:
    """One finding for each Debian package that is missing."""
    packages: dict[str, list[str]] = {}
    for name, package in missing_loaders(box.system):
        packages.setdefault(package, []).append(name)
    for package, names in packages.items():
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        yield warning("boot loaders", f"{shown} not installed", f"apt install {package}")
    if not packages:
        yield ok("boot loaders", "all are installed")


def check_space(box: Box) -> Iterator[Finding]:
    """On the file system that machines' writes go to."""
    if box.state is None:
        return
    place = _existing(box.state)
    free = shutil.disk_usage(place).free
    text = f"{_size(free)} free for machines' disks and what is unpacked, in {place}"
    if free < HARDLY_ANY:
        yield error("disk space", text, 'make room there, or name another place: state = "DIR" in the configuration')
    elif free < LITTLE:
        yield warning("disk space", text, 'make room there, or name another place: state = "DIR" in the configuration')
    else:
        yield ok("disk space", text)


def check_clock(box: Box) -> Iterator[Finding]:
    """One that runs behind makes certificates not valid yet, and is what machines without a clock believe (X-8)."""
    installed = Path(__file__).stat().st_mtime
    now = time.time()
    if now < installed - DAY:
        text = f"says {time.strftime('%Y-%m-%d', time.gmtime(now))}, which is before this program was installed"
        yield warning("clock", text, "set it: timedatectl set-ntp true")
    else:
        yield ok("clock", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now)))


def _existing(path: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(each for each in (path, *path.absolute().parents) if each.is_dir())


def _size(count: int) -> str:
    return f"{count >> 30} GiB" if count >= LITTLE else f"{count >> 20} MiB"
