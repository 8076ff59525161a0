"""Which file something is, and which content it has, as far as the file system tells without reading it."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Identity:
    """A regular file and its content: another inode is another file, another time or size other content."""

    inode: int
    size: int  # bytes
    changed: int  # nanoseconds since 1970


def identify(place: int | Path) -> Identity | None:
    """What is at a path, or behind a descriptor; None for what is no regular file. Raises: OSError."""
    found = place.stat() if isinstance(place, Path) else os.fstat(place)
    if not stat.S_ISREG(found.st_mode):  # a device changes without a trace
        return None
    return Identity(found.st_ino, found.st_size, found.st_mtime_ns)
