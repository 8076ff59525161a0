"""Files inside an ISO 9660 medium, found by their paths; all of it hostile, so nothing is read but what is on the way.

Read are ECMA-119's directories, the names and symbolic links that Rock Ridge (IEEE P1282: NM, SL) gives their entries,
and where a medium has no Rock Ridge, Joliet's names. A file is a window onto the medium: large ones lie in several
extents one behind the other, as every program writes them. Left out: UDF, zisofs, interleaved files, extents that are
elsewhere. pycdlib reads most of these, but goes through the whole medium when it opens one and trusts the sizes it
finds there, and here a few files of some hundred thousand are wanted.
"""

import struct
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from errno import EIO, EISDIR, ELOOP, ENOENT, ENOTDIR

from storage.errors import StorageError
from storage.image import Image
from storage.window import WindowImage

SECTOR = 2048
DESCRIPTORS = (16, 48)  # sectors where volume descriptors are looked for: media have three or four
FOLDER_MOST = 4 << 20  # bytes of a folder that are read: one with 30,000 files
NAME_PARTS_MOST = 8  # of one name: a part has up to 250 bytes, and names no more
LINKS_MOST = 16  # symbolic links on the way to a file
DEPTH_MOST = 64  # names on the way to a file, those of links included
KEPT_MOST = 100_000  # entries of folders that are remembered: some 20 MB

PRIMARY, SUPPLEMENTARY, LAST = 1, 2, 255  # types of volume descriptors
JOLIET = (b"%/@", b"%/C", b"%/E")  # escape sequences of a supplementary descriptor: UCS-2, levels 1 to 3
IS_FOLDER, HAS_MORE = 0x02, 0x80  # a directory record's flags; the latter: the file goes on in the next record
CONTINUES = 0x01  # a flag of NM and SL entries and of SL's parts: it goes on in the next
CURRENT, PARENT, ROOT = 0x02, 0x04, 0x08  # flags of a part of SL: it is no name but . or .. or /

# A directory record:
#
#    0 its length      10 size (little-endian, then big)     27 gap between pieces, where interleaved
#    2 sector          25 flags                              32 length of the name
#    26 unit of pieces, where interleaved                    33 name, padded to an even end, then Rock Ridge's entries
#
# An entry of Rock Ridge's: 2 bytes of which, its length, version, then for NM flags and a part of the name, for SL
# flags and parts of the target (flags, length, text), for CE sector, offset and length of where more of them are, each
# little-endian and then big.
RECORD_LEAST = 34


class IsoError(StorageError):
    """A medium is damaged, or none; the text is what comes behind its name in a sentence."""

    def __init__(self, message: str) -> None:
        super().__init__(message, EIO)


@dataclass(frozen=True, slots=True)
class Node:
    """A file, folder or symbolic link: where it begins, how many bytes it has, and where it leads."""

    offset: int
    size: int
    is_folder: bool
    is_whole: bool = True  # all of its bytes lie one behind the other
    target: str | None = None


@dataclass(frozen=True, slots=True)
class _Record:
    """One directory record with its name; `has_more`: the file goes on in the next record."""

    name: str
    node: Node
    has_more: bool


class Iso:
    """A medium; its methods read from it, and may be called from any thread."""

    def __init__(self, image: Image) -> None:
        """Raises: IsoError when it is none or cut off, StorageError when it can't be read."""
        self._image = image
        self._encoding = ""  # of names; "": plain ones, and Rock Ridge's
        self._root = self._find_root()
        self._kept: dict[Node, Mapping[str, Node]] = {}  # by folder; the one used last is at the end
        self._entries = 0  # in all of them
        self._lock = threading.Lock()

    def open_file(self, path: str) -> WindowImage:
        """The regular file at a path from the root, as an image; links are followed inside the medium.

        Raises: OSError where there is none, IsoError where the medium is damaged, StorageError.
        """
        node = self._resolve(path)
        if node is None:
            raise FileNotFoundError(ENOENT, "no such file", path)
        if node.is_folder:
            raise IsADirectoryError(EISDIR, "is a folder", path)
        if not node.is_whole:
            raise IsoError(f"holds {path} in pieces, which is not supported")
        return WindowImage(self._image, node.offset, node.size)

    def has(self, path: str) -> bool:
        """Whether there is a file or folder at a path. Raises: IsoError, StorageError."""
        return self._look_up(path) is not None

    def names(self, path: str) -> list[str]:
        """The names in a folder; none where there is no such folder. Raises: IsoError, StorageError."""
        node = self._look_up(path)
        return sorted(self._folder(node)) if node is not None and node.is_folder else []

    def _look_up(self, path: str) -> Node | None:
        try:
            return self._resolve(path)
        except OSError:  # links that lead in circles, a file where a folder should be
            return None

    def _resolve(self, path: str) -> Node | None:
        """What is at a path, names as they are or else in any case; None when there is nothing. Raises: OSError."""
        trail = [self._root]
        waiting = [name for name in reversed(path.split("/")) if name not in ("", ".")]
        links = 0
        while waiting:
            if len(waiting) > DEPTH_MOST:
                return None
            name = waiting.pop()
            if name == "..":
                trail = trail[:-1] or [self._root]  # / is its own parent: nothing leads out
                continue
            if not trail[-1].is_folder:
                raise NotADirectoryError(ENOTDIR, "is no folder", path)
            found = self._find(trail[-1], name)
            if found is None:
                return None
            if found.target is None:
                trail.append(found)
                continue
            links += 1
            if links > LINKS_MOST:
                raise OSError(ELOOP, "links lead in circles", path)
            if found.target.startswith("/"):
                trail = [self._root]
            waiting += [part for part in reversed(found.target.split("/")) if part not in ("", ".")]
        return trail[-1]

    def _find(self, folder: Node, name: str) -> Node | None:
        entries = self._folder(folder)
        folded = name.casefold()
        return entries.get(name) or next((node for title, node in entries.items() if title.casefold() == folded), None)

    def _folder(self, folder: Node) -> Mapping[str, Node]:
        """What is in a folder, by name. Installers ask for thousands of files of one: it is remembered."""
        with self._lock:
            entries = self._kept.pop(folder, None)
            if entries is None:
                entries = self._read_folder(folder)
                self._entries += len(entries)
            self._kept[folder] = entries
            while len(self._kept) > 1 and self._entries > KEPT_MOST:
                self._entries -= len(self._kept.pop(next(iter(self._kept))))
        return entries

    def _find_root(self) -> Node:
        plain = joliet = None
        for sector in range(*DESCRIPTORS):
            descriptor = self._read(sector * SECTOR, SECTOR)
            if descriptor[1:6] != b"CD001" or descriptor[0] == LAST:
                break
            if descriptor[0] == PRIMARY and plain is None:
                (sectors,) = struct.unpack_from("<I", descriptor, 80)
                if sectors * SECTOR > self._image.size:
                    raise IsoError(f"is cut off: it has {sectors * SECTOR} bytes by its own word")
                plain = self._parse(descriptor[156:190]).node
            elif descriptor[0] == SUPPLEMENTARY and descriptor[88:91] in JOLIET:
                joliet = self._parse(descriptor[156:190]).node
        if plain is None:
            raise IsoError("is no ISO 9660 medium")
        if joliet is None or self._has_rock_ridge(plain):
            return plain
        self._encoding = "utf-16-be"
        return joliet

    def _has_rock_ridge(self, root: Node) -> bool:
        """Whether the root's entry for itself says so, by SUSP's SP or a Rock Ridge entry."""
        content = self._read(root.offset, min(root.size, SECTOR))
        return len(content) > RECORD_LEAST and content[RECORD_LEAST : RECORD_LEAST + 2] in (b"SP", b"RR", b"PX", b"CE")

    def _read_folder(self, folder: Node) -> dict[str, Node]:
        if folder.size > FOLDER_MOST:
            raise IsoError("holds a folder of an impossible size")
        entries: dict[str, Node] = {}
        part: Node | None = None  # of a file whose records are not all read
        for record in self._records(self._read(folder.offset, folder.size)):
            node = record.node if part is None else _join(part, record.node)
            part = node if record.has_more else None
            if part is None:
                entries.setdefault(record.name, node)
        return entries

    def _records(self, content: bytes) -> Iterator[_Record]:
        at = 0
        while at < len(content):
            length = content[at]
            if length == 0:  # records don't cross the ends of sectors
                at = (at // SECTOR + 1) * SECTOR
                continue
            record = self._parse(content[at : at + length])
            if record.name:
                yield record
            at += length

    def _parse(self, record: bytes) -> _Record:
        """A directory record; itself and its parent have no name."""
        if len(record) < RECORD_LEAST or len(record) < 33 + record[32]:
            raise IsoError("is damaged: a directory record is too short")
        (sector,), (size,) = struct.unpack_from("<I", record, 2), struct.unpack_from("<I", record, 10)
        offset, flags, is_interleaved = sector * SECTOR, record[25], bool(record[26] or record[27])
        if offset + size > self._image.size:
            raise IsoError("is damaged: a file lies behind its end")
        name = record[33 : 33 + record[32]]
        if name in (b"\0", b"\1"):
            return _Record("", Node(offset, size, bool(flags & IS_FOLDER)), False)
        behind = record[33 + record[32] + (record[32] + 1) % 2 :]
        rock_name, target = (b"", None) if self._encoding else self._rock_ridge(behind)
        title = rock_name.decode(errors="replace") or self._plain(name)
        node = Node(offset, size, bool(flags & IS_FOLDER), not is_interleaved, target)
        return _Record(title, node, bool(flags & HAS_MORE))

    def _plain(self, name: bytes) -> str:
        text = name.decode(self._encoding or "utf-8", errors="replace")
        return text.partition(";")[0].rstrip(".")

    def _rock_ridge(self, entries: bytes) -> tuple[bytes, str | None]:
        """The name and the target that a record's entries give it; b"" and None where they give none."""
        name: list[bytes] = []
        link: list[bytes] = []
        at = 0
        for _ in range(4 * NAME_PARTS_MOST):
            if at + 4 > len(entries) or entries[at + 2] < 4:
                break
            kind, entry = entries[at : at + 2], entries[at : at + entries[at + 2]]
            at += len(entry)
            if kind == b"NM" and len(entry) >= 5 and len(name) < NAME_PARTS_MOST:
                name.append(entry[5:])
            elif kind == b"SL" and len(entry) >= 5 and len(link) < NAME_PARTS_MOST:
                link.append(entry[5:])
            elif kind == b"CE" and len(entry) == 28:
                sector, _, offset, _, length, _ = struct.unpack_from("<6I", entry, 4)
                entries, at = entries[at:] + self._read(sector * SECTOR + offset, min(length, SECTOR)), 0
        return b"".join(name), _target(b"".join(link)) if link else None

    def _read(self, offset: int, length: int) -> bytes:
        if offset + length > self._image.size:
            raise IsoError("is cut off")
        return self._image.read_at(offset, length)


def _join(part: Node, more: Node) -> Node:
    """A file of two extents; whole where the second begins where the first ends."""
    is_behind = part.offset + part.size == more.offset
    return Node(part.offset, part.size + more.size, False, part.is_whole and more.is_whole and is_behind)


def _target(parts: bytes) -> str:
    """Where a symbolic link leads, of the parts of its SL entries."""
    path: list[str] = []
    at, goes_on = 0, False
    while at + 2 <= len(parts):
        flags, length = parts[at], parts[at + 1]
        text = parts[at + 2 : at + 2 + length].decode(errors="replace")
        text = {CURRENT: ".", PARENT: "..", ROOT: ""}.get(flags & (CURRENT | PARENT | ROOT), text)
        if goes_on and path:
            path[-1] += text
        else:
            path.append(text)
        goes_on = bool(flags & CONTINUES)
        at += 2 + length
    return "/".join(path)
