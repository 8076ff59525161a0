"""storage.squashfs once more in plain Python, obvious instead of fast: reads gzip, xz and lzma, keeps nothing.

Damage is not its subject: what it can't make sense of raises whatever Python raises.
"""

import errno
import lzma
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from storage.image import Image
from storage.squashfs.values import Entry, Kind, Status

UNPACK: dict[int, Callable[[bytes], bytes]] = {1: zlib.decompress, 2: lzma.decompress, 4: lzma.decompress}
STORED_BLOCK = 1 << 24
STORED_METADATA = 1 << 15
NONE = 0xFFFFFFFF
PREFIXES = (b"user.", b"trusted.", b"security.")
EXTENDED = 7


def refuse(number: int, path: object) -> OSError:
    """What the kernel would say."""
    return OSError(number, os.strerror(number), path)


class Cursor:
    """A place in a run of metadata blocks, which are read as they are needed."""

    def __init__(self, image: "Squashfs", block: int, offset: int) -> None:
        self._image, self._next, self._rest = image, block, b""
        self.take(offset)

    def take(self, length: int) -> bytes:
        """The next bytes."""
        while len(self._rest) < length:
            (header,) = struct.unpack_from("<H", self._image.data, self._next)
            packed = self._image.data[self._next + 2 :][: header & ~STORED_METADATA]
            self._rest += packed if header & STORED_METADATA else self._image.unpack(packed)
            self._next += 2 + len(packed)
        taken, self._rest = self._rest[:length], self._rest[length:]
        return taken

    def unpack(self, form: str) -> tuple[int, ...]:
        """The next numbers."""
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))


@dataclass(frozen=True, slots=True)
class Inode:
    """An inode: what all have, what some have, and the cursor behind its fixed part."""

    type: int
    status: Status
    start: int
    offset: int
    fragment: int
    xattr: int
    rest: Cursor

    @property
    def kind(self) -> Kind:
        """What it is."""
        return self.status.kind


class File:
    """A file, all of it read when it is opened."""

    def __init__(self, content: bytes, holes: list[tuple[int, bool]]) -> None:
        self.size, self._content, self._holes = len(content), content, holes

    def read_at(self, offset: int, length: int) -> bytes:
        """A slice."""
        return self._content[offset : offset + length]

    read_at_now = read_at

    def extents(self, offset: int, length: int) -> list[tuple[int, bool]]:
        """Of the whole file only."""
        assert (offset, length) == (0, self.size)
        return self._holes


class Squashfs:
    """An image, all of it in memory."""

    def __init__(self, image: Image, unpack: Callable[[bytes], bytes] | None = None) -> None:
        """`unpack` is for compressors that Python's own library does not know."""
        self.data = image.read_at(0, image.size)
        (_, _, _, self.block_size, _, compressor, _, _, _, _, _, self.root, _, *tables) = struct.unpack_from(
            "<5I6H8Q", self.data
        )
        self._ids, self._xattrs, self._inodes, self._directories, self._fragments, self._exports = tables
        self.unpack = unpack or UNPACK[compressor]

    def _entry(self, table: int, number: int, form: str) -> tuple[int, ...]:
        size = struct.calcsize("<" + form)
        (block,) = struct.unpack_from("<Q", self.data, table + number * size // 8192 * 8)
        return Cursor(self, block, number * size % 8192).unpack(form)

    def _inode(self, reference: int) -> Inode:
        at = Cursor(self, self._inodes + (reference >> 16), reference & 0xFFFF)
        kind, mode, uid, gid, made, number = at.unpack("4H2I")
        start = offset = size = device = 0
        fragment = xattr = NONE
        links = 1
        match kind:
            case 1:
                start, links, size, offset, _ = at.unpack("IIHHI")
            case 8:
                links, size, start, _, _, offset, xattr = at.unpack("IIIIHHI")
            case 2:
                start, fragment, offset, size = at.unpack("4I")
            case 9:
                start, size, _, links, fragment, offset, xattr = at.unpack("3Q4I")
            case 3 | 10:
                links, size = at.unpack("II")
            case 4 | 5:
                links, device = at.unpack("II")
            case 11 | 12:
                links, device, xattr = at.unpack("III")
            case 6 | 7:
                (links,) = at.unpack("I")
            case 13 | 14:
                links, xattr = at.unpack("II")
        status = Status(
            kind=Kind((kind - 1) % EXTENDED + 1),
            reference=reference,
            number=number,
            mode=mode,
            uid=self._entry(self._ids, uid, "I")[0],
            gid=self._entry(self._ids, gid, "I")[0],
            made=made,
            links=links,
            size=size,
            device=((device >> 8) & 0xFFF, (device & 0xFF) | ((device >> 12) & 0xFFF00)),
        )
        return Inode(kind, status, start, offset, fragment, xattr, at)

    def status(self, at: bytes | str | int) -> Status:
        """What an inode says."""
        return self._inode(self.lookup(at)).status

    def scan(self, at: bytes | str | int) -> Iterator[Entry]:
        """The entries of a directory."""
        inode = self._inode(self.lookup(at))
        if inode.kind is not Kind.DIRECTORY:
            raise refuse(errno.ENOTDIR, at)
        left = inode.status.size - 3
        cursor = Cursor(self, self._directories + inode.start, inode.offset) if left > 0 else inode.rest
        while left > 0:
            count, block, _ = cursor.unpack("3I")
            left -= 12
            for _ in range(count + 1):
                offset, _, kind, length = cursor.unpack("HhHH")
                yield Entry(cursor.take(length + 1), Kind(kind), block << 16 | offset)
                left -= 8 + length + 1

    def listdir(self, at: bytes | str | int) -> list[Entry]:
        """In a list."""
        return list(self.scan(at))

    def walk(self, at: bytes | str | int = b"/", prefix: bytes = b"") -> Iterator[tuple[bytes, Entry]]:
        """All entries of a directory, then what is below the first that is one, and so on."""
        entries = self.listdir(at)
        for entry in entries:
            yield prefix + entry.name, entry
        for entry in entries:
            if entry.kind is Kind.DIRECTORY:
                yield from self.walk(entry.reference, prefix + entry.name + b"/")

    def lookup(self, path: bytes | str | int, *, follow: bool = True) -> int:
        """One name after the other, from the top."""
        if isinstance(path, int):
            return path
        way, left, links = [int(self.root)], os.fsencode(path).split(b"/"), 0
        while left:
            name = left.pop(0)
            if len(name) > 256:
                raise refuse(errno.ENAMETOOLONG, path)
            names = {entry.name: entry for entry in self.scan(way[-1])}
            if name == b"..":
                way = way[:-1] or way
            elif name not in (b"", b"."):
                if name not in names:
                    raise refuse(errno.ENOENT, path)
                inode = self._inode(names[name].reference)
                if inode.kind is Kind.SYMLINK and (left or follow):
                    links += 1
                    if links > 40:
                        raise refuse(errno.ELOOP, path)
                    target = inode.rest.take(inode.status.size)
                    way = [self.root] if target.startswith(b"/") else way
                    left = target.split(b"/") + left
                else:
                    way.append(inode.status.reference)
        return way[-1]

    def find_number(self, number: int) -> int:
        """By the export table."""
        return int(self._entry(self._exports, number - 1, "Q")[0])

    def readlink(self, at: bytes | str | int) -> bytes:
        """The target."""
        inode = self._inode(self.lookup(at, follow=False))
        if inode.kind is not Kind.SYMLINK:
            raise refuse(errno.EINVAL, at)
        return inode.rest.take(inode.status.size)

    def xattrs(self, at: bytes | str | int) -> dict[bytes, bytes]:
        """Names and values."""
        inode, found = self._inode(self.lookup(at)), {}
        index = inode.xattr
        if inode.type == Kind.SYMLINK + EXTENDED:
            inode.rest.take(inode.status.size)
            (index,) = inode.rest.unpack("I")
        if index == NONE:
            return {}
        (run,) = struct.unpack_from("<Q", self.data, self._xattrs)
        reference, count, _ = self._entry(self._xattrs + 16, index, "QII")
        cursor = Cursor(self, run + (reference >> 16), reference & 0xFFFF)
        for _ in range(count):
            kind, length = cursor.unpack("HH")
            name = PREFIXES[kind & 0xFF] + cursor.take(length)
            value = cursor.take(*cursor.unpack("I"))
            if kind & 0x100:
                (reference,) = struct.unpack("<Q", value)
                elsewhere = Cursor(self, run + (reference >> 16), reference & 0xFFFF)
                value = elsewhere.take(*elsewhere.unpack("I"))
            found[name] = value
        return found

    def open_file(self, at: bytes | str | int) -> File:
        """All blocks of a file, and its end from a fragment."""
        inode = self._inode(self.lookup(at))
        if inode.kind is not Kind.FILE:
            raise refuse(errno.EISDIR if inode.kind is Kind.DIRECTORY else errno.EINVAL, at)
        size, place, parts, holes = inode.status.size, inode.start, [], []
        for number in range(size // self.block_size + (size % self.block_size > 0 and inode.fragment == NONE)):
            length = min(self.block_size, size - number * self.block_size)
            (packed,) = inode.rest.unpack("I")
            parts.append(self._block(place, packed) if packed else bytes(length))
            holes.append((length, packed == 0))
            place += packed & ~STORED_BLOCK
        if inode.fragment != NONE and size % self.block_size:
            place, packed, _ = self._entry(self._fragments, inode.fragment, "QII")
            parts.append(self._block(place, packed)[inode.offset :][: size % self.block_size])
            holes.append((len(parts[-1]), False))
        return File(b"".join(parts), joined(holes))

    def read_files(self, references: Iterable[int], *, threads: int = 1) -> Iterator[tuple[int, int, bytes]]:
        """Every file in one piece, however many threads there may be."""
        for reference in references:
            file = self.open_file(reference)
            yield reference, 0, file.read_at(0, file.size)

    def _block(self, place: int, packed: int) -> bytes:
        data = self.data[place : place + (packed & ~STORED_BLOCK)]
        return data if packed & STORED_BLOCK else self.unpack(data)


def joined(runs: list[tuple[int, bool]]) -> list[tuple[int, bool]]:
    """Neighbours of one kind as one run."""
    out: list[tuple[int, bool]] = []
    for length, is_hole in runs:
        if out and out[-1][1] is is_hole:
            length += out.pop()[0]
        out.append((length, is_hole))
    return out
