"""Files inside an ISO 9660 medium, found by their paths; all of it hostile, so nothing is read but what is on the way.

Read are ECMA-119's directories and the names that Rock Ridge (IEEE P1282, NM) gives their entries. Left out: Joliet,
UDF, symbolic links, files of several extents. pycdlib reads all of these, but goes through the whole medium when it
opens one and trusts the sizes it finds there, and here two files of some hundred thousand are wanted.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from appliance.deployment.streams import CHUNK, ArchiveError
from storage.image import Image

SECTOR = 2048
DESCRIPTORS = (16, 48)  # sectors where volume descriptors are looked for: media have three or four
FOLDER_MOST = 4 << 20  # bytes of a folder that are read: one with 30,000 files
NAME_PARTS_MOST = 8  # of one name: a part has up to 250 bytes, and names no more
IS_FOLDER, HAS_MORE = 0x02, 0x80  # a directory record's flags; the latter: the file goes on elsewhere
CONTINUES = 0x01  # an NM entry's flag: the name goes on in the next

# A directory record:
#
#    0 its length      10 size (little-endian, then big)     32 length of the name
#    2 sector          25 flags                              33 name, padded to an even end, then Rock Ridge's entries
#
# An entry of Rock Ridge's: 2 bytes of which, its length, version, then for NM flags and a part of the name, for CE
# sector, offset and length of where more of them are, each little-endian and then big.
RECORD_LEAST = 34


@dataclass(frozen=True, slots=True)
class Node:
    """A file or folder: where it begins, and how many bytes it has."""

    offset: int
    size: int
    is_folder: bool
    is_whole: bool = True  # not spread over several places


class Medium:
    """An ISO."""

    def __init__(self, image: Image) -> None:
        """Raises: ArchiveError when it is none or cut off, StorageError when it can't be read."""
        self._image = image
        self._root = self._find_root()

    def find(self, path: str) -> Node | None:
        """The file at a path from the root, names in any case; None when there is none.

        Raises: ArchiveError where the medium is damaged, StorageError.
        """
        node = self._root
        for name in path.split("/"):
            found = next((one for title, one in self._entries(node) if title.casefold() == name.casefold()), None)
            if found is None:
                return None
            node = found
        return None if node.is_folder or not node.is_whole else node

    def chunks(self, node: Node) -> Iterator[bytes]:
        """A file's bytes. Raises: StorageError."""
        for offset in range(node.offset, node.offset + node.size, CHUNK):
            yield self._image.read_at(offset, min(CHUNK, node.offset + node.size - offset))

    def _find_root(self) -> Node:
        for sector in range(*DESCRIPTORS):
            descriptor = self._read(sector * SECTOR, SECTOR)
            if descriptor[1:6] != b"CD001" or descriptor[0] == 255:
                break
            if descriptor[0] == 1:
                (sectors,) = struct.unpack_from("<I", descriptor, 80)
                if sectors * SECTOR > self._image.size:
                    raise ArchiveError(f"is cut off: it has {sectors * SECTOR} bytes by its own word")
                _, root = self._parse(descriptor[156:190])
                return root
        raise ArchiveError("is no ISO 9660 medium")

    def _entries(self, folder: Node) -> Iterator[tuple[str, Node]]:
        """What is in a folder."""
        if not folder.is_folder:
            return
        if folder.size > FOLDER_MOST:
            raise ArchiveError("holds a folder of an impossible size")
        content = self._read(folder.offset, folder.size)
        at = 0
        while at < len(content):
            length = content[at]
            if length == 0:  # records don't cross the ends of sectors
                at = (at // SECTOR + 1) * SECTOR
                continue
            name, node = self._parse(content[at : at + length])
            if name:
                yield name, node
            at += length

    def _parse(self, record: bytes) -> tuple[str, Node]:
        """A directory record; itself and its parent have no name."""
        if len(record) < RECORD_LEAST or len(record) < 33 + record[32]:
            raise ArchiveError("is damaged: a directory record is too short")
        (sector,), (size,) = struct.unpack_from("<I", record, 2), struct.unpack_from("<I", record, 10)
        node = Node(sector * SECTOR, size, bool(record[25] & IS_FOLDER), not record[25] & HAS_MORE)
        if node.offset + node.size > self._image.size:
            raise ArchiveError("is damaged: a file lies behind its end")
        name = record[33 : 33 + record[32]]
        if name in (b"\0", b"\1"):
            return "", node
        behind = 33 + record[32] + (record[32] + 1) % 2
        plain = name.partition(b";")[0].rstrip(b".")
        return (self._rock_ridge_name(record[behind:]) or plain).decode(errors="replace"), node

    def _rock_ridge_name(self, entries: bytes) -> bytes:
        parts: list[bytes] = []
        at = 0
        for _ in range(4 * NAME_PARTS_MOST):
            if at + 4 > len(entries) or entries[at + 2] < 4:
                break
            kind, entry = entries[at : at + 2], entries[at : at + entries[at + 2]]
            at += len(entry)
            if kind == b"NM" and len(entry) >= 5:
                parts.append(entry[5:])
                if not entry[4] & CONTINUES or len(parts) == NAME_PARTS_MOST:
                    break
            elif kind == b"CE" and len(entry) == 28:
                sector, _, offset, _, length, _ = struct.unpack_from("<6I", entry, 4)
                entries, at = entries[at:] + self._read(sector * SECTOR + offset, min(length, SECTOR)), 0
        return b"".join(parts)

    def _read(self, offset: int, length: int) -> bytes:
        if offset + length > self._image.size:
            raise ArchiveError("is cut off")
        return self._image.read_at(offset, length)
