"""An initramfs read from outside: cpio archives one after the other, plain or compressed, all of it hostile.

What the kernel takes (its buffer-format.rst): "newc" archives with NULs between them, each plain or in a stream of
gzip, xz, lzma, bzip2, zstd, lzop's LZO or LZ4's legacy format. Left out: links between files.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from appliance.deployment.bytestream import ByteStream
from appliance.deployment.streams import ArchiveError, Packed, read_chunks
from storage.image import Image

# An entry: 6 bytes of magic, 13 numbers of 8 hex digits (see appliance/initrd/cpio.py), name, data; both padded to 4.
MAGICS = (b"070701", b"070702")
HEADER = 110  # bytes before the name
TRAILER = "TRAILER!!!"
NAME_MOST = 4097  # bytes with the NUL: the kernel's own limit
CONTENT_MOST = 1 << 20  # bytes of a file that is asked for: module lists have some 10,000
UNPACKED_MOST = 2 << 30  # bytes in all: with every driver and its firmware an initramfs unpacks to some hundred million
MEMBERS_MOST = 400_000  # twice the files of a whole Debian system


@dataclass(frozen=True, slots=True)
class Member:
    """One entry: its name without `/` or `./` before it, and its data where it was asked for."""

    name: str
    data: bytes = b""


@dataclass(slots=True)
class _Budget:
    """What may still be unpacked of one initramfs, in whatever pieces it comes."""

    unpacked: int
    members: int

    def spend(self, unpacked: int, members: int = 0) -> None:
        self.unpacked -= unpacked
        self.members -= members
        if self.unpacked < 0 or self.members < 0:
            raise ArchiveError("unpacks to more than an initramfs holds")


def read_members(image: Image, wanted: Callable[[str], bool]) -> Iterator[Member]:
    """The entries of the initramfs in `image`, in order; with their data where `wanted(name)`. Reads: may wait.

    Raises: ArchiveError saying what is wrong, StorageError where the image can't be read.
    """
    offset, budget = 0, _Budget(UNPACKED_MOST, MEMBERS_MOST)
    while True:
        plain = ByteStream(read_chunks(image, offset), budget.spend)
        if not plain.skip_padding():
            return
        if plain.peek(len(MAGICS[0])) in MAGICS:
            yield from _read_archive(plain, wanted, budget)
            offset += plain.position
        else:
            packed = Packed(image, offset + plain.position)
            unpacked = ByteStream(packed.chunks(), budget.spend)
            while unpacked.skip_padding():
                yield from _read_archive(unpacked, wanted, budget)
            offset = packed.offset


def _read_archive(stream: ByteStream, wanted: Callable[[str], bool], budget: _Budget) -> Iterator[Member]:
    start = stream.position

    def align() -> None:
        stream.skip(-(stream.position - start) % 4)

    while True:
        size, name_size = _parse_header(stream.read(HEADER))
        name = stream.read(name_size).rstrip(b"\0").decode(errors="surrogateescape")
        align()
        if name == TRAILER:
            return
        budget.spend(0, members=1)
        name = name.removeprefix(".").lstrip("/") if name.startswith(("./", "/")) else name
        if size <= CONTENT_MOST and wanted(name):
            yield Member(name, stream.read(size))
        else:
            yield Member(name)
            stream.skip(size)
        align()


def _parse_header(header: bytes) -> tuple[int, int]:
    """Sizes of the data and of the name with its NUL."""
    if header[:6] not in MAGICS:
        raise ArchiveError("holds something that is no cpio archive")
    try:
        numbers = struct.unpack(">13I", bytes.fromhex(header[6:].decode("ascii")))
    except (ValueError, struct.error) as failure:
        raise ArchiveError("has a damaged cpio header") from failure
    size, name_size = numbers[6], numbers[11]
    if not 0 < name_size <= NAME_MOST:
        raise ArchiveError("has a name of an impossible length")
    return size, name_size
