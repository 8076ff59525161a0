"""What is compared between an image as read here and as other people's tools unpack it."""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storage import squashfs
from storage.squashfs import Kind

CHUNK = 1 << 20

FORMATS = {
    Kind.DIRECTORY: stat.S_IFDIR,
    Kind.FILE: stat.S_IFREG,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.BLOCK_DEVICE: stat.S_IFBLK,
    Kind.CHARACTER_DEVICE: stat.S_IFCHR,
    Kind.FIFO: stat.S_IFIFO,
    Kind.SOCKET: stat.S_IFSOCK,
}


@dataclass(frozen=True, slots=True)
class Facts:
    """One entry of a tree; `twin` is the first path of the same inode, `content` a digest or a symlink's target."""

    mode: int
    owner: tuple[int, int]
    made: int
    size: int
    content: bytes
    device: tuple[int, int]
    twin: bytes
    xattrs: tuple[tuple[bytes, bytes], ...]


def facts_of_image(image: squashfs.Squashfs) -> dict[bytes, Facts]:
    """Everything in an image, by path."""
    found: dict[bytes, Facts] = {}
    first: dict[int, bytes] = {}
    for path, entry in image.walk():
        status = image.status(entry.reference)
        assert status.kind is entry.kind
        content = b""
        if entry.kind is Kind.FILE:
            content = _digest(_chunks(image, entry.reference, status.size))
        elif entry.kind is Kind.SYMLINK:
            content = image.readlink(entry.reference)
        found[path] = Facts(
            mode=status.mode | FORMATS[status.kind],
            owner=(status.uid, status.gid),
            made=status.made,
            size=0 if status.kind is Kind.DIRECTORY else status.size,
            content=content,
            device=status.device,
            twin=first.setdefault(entry.reference, path),
            xattrs=tuple(sorted(image.xattrs(entry.reference).items())),
        )
    return found


def _chunks(image: squashfs.Squashfs, reference: int, size: int) -> Iterator[bytes]:
    file = image.open_file(reference)
    assert file.size == size
    for offset in range(0, size, CHUNK):
        yield file.read_at(offset, min(CHUNK, size - offset))


def _digest(chunks: Iterator[bytes]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for chunk in chunks:
        digest.update(chunk)
    return digest.digest()


def facts_of_folder(root: Path) -> dict[bytes, Facts]:
    """Everything in a folder, by path from there, in the order of an image's walk as far as twins go."""
    found: dict[bytes, Facts] = {}
    first: dict[int, bytes] = {}
    ahead = [b""]
    while ahead:
        prefix = ahead.pop()
        below = []
        with os.scandir(os.fsencode(root) + b"/" + prefix) as entries:
            names = sorted(entry.name for entry in entries)
        for path in (prefix + name for name in names):
            found[path] = _facts_of(Path(root, os.fsdecode(path)), path, first)
            if stat.S_ISDIR(found[path].mode):
                below.append(path + b"/")
        ahead += below[::-1]
    return found


def _facts_of(place: Path, path: bytes, first: dict[int, bytes]) -> Facts:
    status = place.lstat()
    content = b""
    if stat.S_ISREG(status.st_mode):
        with place.open("rb") as file:
            content = _digest(iter(lambda: file.read(CHUNK), b""))
    elif stat.S_ISLNK(status.st_mode):
        content = os.fsencode(place.readlink())
    names = sorted(os.fsencode(name) for name in os.listxattr(place, follow_symlinks=False))
    return Facts(
        mode=status.st_mode,
        owner=(status.st_uid, status.st_gid),
        made=int(status.st_mtime),
        size=0 if stat.S_ISDIR(status.st_mode) else status.st_size,
        content=content,
        device=(os.major(status.st_rdev), os.minor(status.st_rdev)),
        twin=first.setdefault(status.st_ino, path),
        xattrs=tuple((name, os.getxattr(place, name, follow_symlinks=False)) for name in names),
    )
