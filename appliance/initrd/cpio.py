"""Archives in cpio's "newc" format, the one the Linux kernel unpacks as initramfs (its buffer-format.rst).

Written here rather than by the cpio program so that nobody needs to be root to put device nodes in, and so that the
same contents always give the same bytes: no times, owners or inode numbers of this machine go in. Left out: hard links.
"""

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from appliance.initrd.errors import InitrdError

# An entry, padded with NULs to a multiple of 4 after the name and after the data; numbers are 8 upper-case hex digits:
#
#      0 magic "070701"     54 filesize        94 namesize (with its NUL)
#      6 inode              62 device major   102 check (0 in newc)
#     14 mode               70 device minor   110 name, NUL
#     22 uid                78 rdev major         data
#     30 gid                86 rdev minor
#     38 nlink
#     46 mtime
MAGIC = b"070701"
TRAILER = "TRAILER!!!"
BLOCK = 512  # archives end at a whole block, as cpio's own do
MAX_FILE_SIZE = 0xFFFFFFFF  # the format's field has 8 hex digits


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, folder, link or device.

    The name has no leading slash, the mode its type bits; the data of a link is its target.
    """

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def folder(name: str) -> Entry:
    """A directory anyone may enter."""
    return Entry(name, stat.S_IFDIR | 0o755)


def file(name: str, data: bytes, *, executable: bool = False) -> Entry:
    """A regular file anyone may read."""
    return Entry(name, stat.S_IFREG | (0o755 if executable else 0o644), data)


def link(name: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(name, stat.S_IFLNK | 0o777, target.encode())


def character_device(name: str, mode: int, major: int, minor: int) -> Entry:
    """A character device node."""
    return Entry(name, stat.S_IFCHR | mode, device=(major, minor))


def _padding(length: int, multiple: int = 4) -> bytes:
    return bytes(-length % multiple)


def _header(entry: Entry, inode: int) -> bytes:
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    numbers = (inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
    header = MAGIC + b"".join(b"%08X" % number for number in numbers) + name
    return header + _padding(len(header))


def _with_folders(entries: Iterable[Entry]) -> list[Entry]:
    """The entries and the folders above them, each once, a folder before what it holds."""
    named: dict[str, Entry] = {}
    for entry in entries:
        if entry.name in named and named[entry.name] != entry:
            raise InitrdError(f"/{entry.name} would be in the initramfs twice with different contents")
        if len(entry.data) > MAX_FILE_SIZE:
            raise InitrdError(f"/{entry.name} is bigger than the 4 GiB a cpio archive can hold")
        named[entry.name] = entry
    for name in list(named):
        for parent in PurePosixPath(name).parents:
            if parent.name:
                named.setdefault(str(parent), folder(str(parent)))
    return sorted(named.values(), key=lambda entry: entry.name.split("/"))


def build_archive(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The archive in pieces, sorted by name, with the folders that the names need.

    Raises: InitrdError for one name with two contents, or a file too big for the format.
    """
    written = 0
    for inode, entry in enumerate(_with_folders(entries), start=1):
        piece = _header(entry, inode) + entry.data + _padding(len(entry.data))
        written += len(piece)
        yield piece
    trailer = _header(Entry(TRAILER, 0), 0)
    yield trailer + _padding(written + len(trailer), BLOCK)
