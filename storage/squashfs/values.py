"""What an image tells of itself, its entries and its inodes."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum


class Compressor(IntEnum):
    """How the blocks of an image are compressed."""

    GZIP = 1
    LZMA = 2
    LZO = 3
    XZ = 4
    LZ4 = 5
    ZSTD = 6


class Kind(IntEnum):
    """What an inode is."""

    DIRECTORY = 1
    FILE = 2
    SYMLINK = 3
    BLOCK_DEVICE = 4
    CHARACTER_DEVICE = 5
    FIFO = 6
    SOCKET = 7


@dataclass(frozen=True, slots=True)
class Summary:
    """An image as its superblock and compressor options have it; `made` in seconds since 1970, sizes in bytes."""

    compressor: Compressor
    options: Mapping[str, int]
    block_size: int
    bytes_used: int
    inodes: int
    fragments: int
    made: int
    flags: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a directory; `reference` is where its inode is, and stands for it wherever a path would."""

    name: bytes
    kind: Kind
    reference: int


@dataclass(frozen=True, slots=True)
class Status:
    """An inode: `mode` is permissions only, `made` its mtime in seconds, `device` (major, minor) of a device node."""

    kind: Kind
    reference: int
    number: int
    mode: int
    uid: int
    gid: int
    made: int
    links: int
    size: int
    device: tuple[int, int]
