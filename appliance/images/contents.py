"""What an image holds, for people: `rootwire ls`, `cat` and `show` of a squashfs file, without mounting it.

Names go to a pipe as the bytes they are, and to a terminal with what could be a command to it escaped: an image may be
anybody's. In JSON they are text, each byte that is no UTF-8 as U+DC80 to U+DCFF.
"""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from typing_extensions import TypedDict

from appliance.errors import OperatorError
from appliance.images.catalog import NotAnImageError, recognise
from storage import squashfs
from storage.errors import StorageError
from storage.image import FileImage
from storage.squashfs import Entry, Kind, Squashfs, SquashfsError, Status, UnsupportedError

CHUNK = 1 << 20  # bytes of a file that are read at a time
FORMATS = {
    Kind.DIRECTORY: stat.S_IFDIR,
    Kind.FILE: stat.S_IFREG,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.BLOCK_DEVICE: stat.S_IFBLK,
    Kind.CHARACTER_DEVICE: stat.S_IFCHR,
    Kind.FIFO: stat.S_IFIFO,
    Kind.SOCKET: stat.S_IFSOCK,
}
DEVICES = (Kind.BLOCK_DEVICE, Kind.CHARACTER_DEVICE)


class FileReport(TypedDict):
    """One entry of `rootwire ls --json`; sizes in bytes, times in unix seconds."""

    path: str  # from the folder that was listed
    kind: str  # "file", "directory", "symlink", "block device", "character device", "fifo", "socket"
    mode: str  # permissions, octal
    uid: int
    gid: int
    links: int
    size: int
    mtime: int
    target: str | None  # of a symlink
    device: list[int] | None  # major and minor


@contextmanager
def opened(image: Path, path: str = "/") -> Iterator[Squashfs]:
    """The image as a file system, for writing out `path` or what is said of it.

    Raises: OperatorError in place of whatever is wrong with image, path or output.
    """
    try:
        base = FileImage(image)
        if recognise(base) != "squashfs":
            raise NotAnImageError("is no squashfs")
        yield squashfs.open(base)
    except NotAnImageError as refusal:
        raise OperatorError(f"image {image} {refusal}", "name a squashfs file") from refusal
    except UnsupportedError as failure:
        raise OperatorError(f"image {image} can't be looked into: {failure}", "make it with mksquashfs 4") from failure
    except SquashfsError as failure:
        raise OperatorError(f"image {image} is damaged: {failure}", "copy it anew, or make it anew") from failure
    except StorageError as failure:
        raise OperatorError(f"image {image} can't be read: {failure}", "look at its disk, or name another") from failure
    except BrokenPipeError:
        raise  # whoever reads has seen enough
    except OSError as failure:
        raise _mistake(image, path, failure) from failure


def _mistake(image: Path, path: str, failure: OSError) -> OperatorError:
    if failure.filename is None:  # only writing names no file
        return OperatorError(f"standard output: {failure.strerror}", "write to something else")
    if failure.filename == path:
        return OperatorError(f"{path} in {image}: {failure.strerror}", f"see what there is with rootwire ls {image}")
    return OperatorError(f"image {image}: {failure.strerror}", "name a squashfs file that can be read")


def list_files(
    image: Path, path: str, out: BinaryIO, *, is_long: bool = False, is_deep: bool = False, as_json: bool = False
) -> None:
    """Write what is in the folder `path`, or `path` itself where it is no folder; `is_deep`: all that is below too.

    Raises: OperatorError.
    """
    with opened(image, path) as files:
        rows = _rows(files, path, is_deep=is_deep)
        if as_json:
            out.write(json.dumps([report_file(files, name, entry) for name, entry in rows]).encode() + b"\n")
            return
        for name, entry in rows:
            line = _long_line(files, name, entry, out.isatty()) if is_long else _short_line(name, entry, out.isatty())
            out.write(line + b"\n")


def _rows(files: Squashfs, path: str, *, is_deep: bool) -> Iterator[tuple[bytes, Entry]]:
    status = files.status(path)
    if status.kind is not Kind.DIRECTORY:
        return iter([(os.fsencode(path), Entry(os.fsencode(path), status.kind, status.reference))])
    if is_deep:
        return files.walk(status.reference)
    return ((entry.name, entry) for entry in files.scan(status.reference))


def _short_line(name: bytes, entry: Entry, is_terminal: bool) -> bytes:
    if not is_terminal:
        return name
    return escape(name).encode() + (b"/" if entry.kind is Kind.DIRECTORY else b"")


def _long_line(files: Squashfs, name: bytes, entry: Entry, is_terminal: bool) -> bytes:
    """As `ls -l` has it, owners by number: names of users are the image's own affair."""
    status = files.status(entry.reference)
    size = "{}, {}".format(*status.device) if status.kind in DEVICES else str(status.size)
    mode = stat.filemode(FORMATS[status.kind] | status.mode)
    facts = f"{mode} {status.links:>3} {status.uid:>5} {status.gid:>5} {size:>11} {describe_time(status.made)} "
    shown = name + (b" -> " + files.readlink(entry.reference) if status.kind is Kind.SYMLINK else b"")
    return facts.encode() + (escape(shown).encode() if is_terminal else shown)


def report_file(files: Squashfs, path: bytes, entry: Entry) -> FileReport:
    """One entry for scripts. Raises: SquashfsError, StorageError."""
    status: Status = files.status(entry.reference)
    is_link = status.kind is Kind.SYMLINK
    return FileReport(
        path=os.fsdecode(path),
        kind=describe_kind(status.kind),
        mode=f"{status.mode:04o}",
        uid=status.uid,
        gid=status.gid,
        links=status.links,
        size=status.size,
        mtime=status.made,
        target=os.fsdecode(files.readlink(entry.reference)) if is_link else None,
        device=list(status.device) if status.kind in DEVICES else None,
    )


def copy_file(image: Path, path: str, out: BinaryIO, *, offset: int = 0, length: int | None = None) -> None:
    """Write a file's bytes, from `offset` on, `length` of them or to its end. Raises: OperatorError."""
    with opened(image, path) as files:
        file = files.open_file(path)
        end = file.size if length is None else min(file.size, offset + length)
        for at in range(offset, end, CHUNK):
            out.write(file.read_at(at, min(CHUNK, end - at)))


def escape(name: bytes) -> str:
    """A name as a terminal may show it: no control characters, no bytes that are no UTF-8."""
    text = name.decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def describe_kind(kind: Kind) -> str:
    """What an entry is, in words."""
    return kind.name.lower().replace("_", " ")


def describe_time(seconds: int) -> str:
    """Seconds since 1970 as a date and a time, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
