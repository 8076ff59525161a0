"""Compressed streams of initramfs archives and kernel modules: seven formats, one interface, chunk by chunk.

Whoever reads the chunks says when it is enough: a few bytes may unpack to terabytes.
"""

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import lz4.block
import zstandard

from storage.errors import StorageError
from storage.image import Image
from storage.squashfs.codecs import unpack_block

CHUNK = 64 << 10  # bytes read at a time, and unpacked where the library lets us say so
MAGIC_LENGTH = 6  # of the longest
WINDOW_MOST = 128 << 20  # bytes: the kernel's own limit for zstd, twice the largest dictionary of xz -9
ZSTD_PIECE = 512  # bytes handed to zstd at once: each 4 may stand for 128 KiB, and it knows no other bound
LZ4_MAGIC = b"\x02\x21\x4c\x18"
LZ4_BLOCK = 8 << 20  # bytes that each block of the legacy format unpacks to, the last excepted
LZ4_PACKED_MOST = LZ4_BLOCK + LZ4_BLOCK // 255 + 16  # bytes of a block that could not be compressed
LZO_MAGIC = b"\x89LZO\0\r\n\x1a\n"
LZO_BLOCK = 256 << 10  # bytes that a block unpacks to: lzop's, and the kernel's limit
LZO_HEADER_MOST = 9 + 32 + 255 + 4  # bytes: magic, numbers, the file's name and a checksum
LZO_FILTERED = 0x800  # flags: four bytes about a filter come behind them
LZO_UNPACKED_SUMS = 0x101  # flags: Adler-32 and CRC-32 of a block, each four bytes behind its sizes
LZO_PACKED_SUMS = 0x202  # likewise of a packed one
LZO_COMPRESSOR = 3  # squashfs's number of the same algorithm


class ArchiveError(Exception):
    """An initramfs that can't be read; the text says why and goes behind its name: "is cut off"."""


class Unpacker(Protocol):
    """One compressed stream."""

    @property
    def is_done(self) -> bool:
        """Whether the end of the stream has been seen."""

    @property
    def unused(self) -> int:
        """Bytes at the end of the last piece that come after the stream."""

    def unpack(self, piece: bytes) -> Iterator[bytes]:
        """What the next piece holds; an empty one says that there are no more. Raises: ArchiveError."""


class _Library(Protocol):
    """What the standard library's decompressors have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Zlib:
    """zlib's decompressor with the interface that lzma's and bz2's have."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        unpacked = self._stream.decompress(self._stream.unconsumed_tail + data, max_length)
        self.needs_input = not unpacked and not self._stream.unconsumed_tail
        return unpacked


class _Standard:
    """gzip, xz, lzma and bzip2."""

    def __init__(self, library: _Library | _Zlib) -> None:
        self._library = library

    @property
    def is_done(self) -> bool:
        return self._library.eof

    @property
    def unused(self) -> int:
        return len(self._library.unused_data)

    def unpack(self, piece: bytes) -> Iterator[bytes]:
        is_last, fresh = not piece, True
        while fresh or not (self._library.eof or self._library.needs_input):
            try:
                unpacked = self._library.decompress(piece, CHUNK)
            except (zlib.error, lzma.LZMAError, OSError, EOFError) as failure:
                raise ArchiveError(f"is damaged: {failure}") from failure
            yield unpacked
            piece, fresh = b"", False
        if is_last and not self._library.eof:
            raise ArchiveError("is cut off")


class _Zstd:
    def __init__(self) -> None:
        self._stream = zstandard.ZstdDecompressor(max_window_size=WINDOW_MOST).decompressobj()
        self._behind = 0

    @property
    def is_done(self) -> bool:
        return self._stream.eof

    @property
    def unused(self) -> int:
        return len(self._stream.unused_data) + self._behind

    def unpack(self, piece: bytes) -> Iterator[bytes]:
        if not piece:
            raise ArchiveError("is cut off")
        for start in range(0, len(piece), ZSTD_PIECE):
            if self._stream.eof:
                self._behind = len(piece) - start
                return
            try:
                yield self._stream.decompress(piece[start : start + ZSTD_PIECE])
            except zstandard.ZstdError as failure:
                raise ArchiveError(f"is damaged: {failure}") from failure


class _Lz4:
    """Blocks, each behind its packed size; the end is where none can follow (kernel lib/decompress_unlz4.c)."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self.is_done = False

    @property
    def unused(self) -> int:
        return len(self._rest)

    def unpack(self, piece: bytes) -> Iterator[bytes]:
        self._rest += piece
        while len(self._rest) >= 4 and not self.is_done:
            (size,) = struct.unpack_from("<I", self._rest)
            if self._rest.startswith(LZ4_MAGIC):
                del self._rest[:4]
            elif not 0 < size <= LZ4_PACKED_MOST:
                self.is_done = True
            elif len(self._rest) < 4 + size:
                break
            else:
                packed = bytes(self._rest[4 : 4 + size])
                del self._rest[: 4 + size]
                yield self._unpack_block(packed)
        if not piece:
            if len(self._rest) >= 4 and not self.is_done:
                raise ArchiveError("is cut off")
            self.is_done = True

    def _unpack_block(self, packed: bytes) -> bytes:
        try:
            unpacked: bytes = lz4.block.decompress(packed, uncompressed_size=LZ4_BLOCK)
        except lz4.block.LZ4BlockError as failure:
            raise ArchiveError(f"is damaged: {failure}") from failure
        return unpacked


class _Lzo:
    """Blocks behind their sizes and sums, up to a size of 0; lzop's format (kernel lib/decompress_unlzo.c)."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._flags: int | None = None  # until the header was read
        self.is_done = False

    @property
    def unused(self) -> int:
        return len(self._rest)

    def unpack(self, piece: bytes) -> Iterator[bytes]:
        self._rest += piece
        if self._flags is None:
            self._flags = self._take_header()
        if self._flags is not None:
            yield from self._blocks(self._flags)
        if not piece and not self.is_done:
            raise ArchiveError("is cut off")

    def _take_header(self) -> int | None:
        """Its flags; None while it is not all there."""
        head = bytes(self._rest[:LZO_HEADER_MOST])
        version = int.from_bytes(head[9:11], "big")
        is_new = version >= 0x0940  # has the version it needs, the level, and the upper half of the time
        at = 17 if is_new else 14
        flags = int.from_bytes(head[at : at + 4], "big")
        at += 4 + (4 if flags & LZO_FILTERED else 0) + (12 if is_new else 8)
        if len(head) <= at or len(head) < (end := at + 1 + head[at] + 4):
            return None
        del self._rest[:end]
        return flags

    def _blocks(self, flags: int) -> Iterator[bytes]:
        while len(self._rest) >= 4 and not self.is_done:
            size, packed_size = (int.from_bytes(self._rest[at : at + 4], "big") for at in (0, 4))
            if size == 0:
                del self._rest[:4]
                self.is_done = True
                return
            if not 0 < size <= LZO_BLOCK or packed_size > size:
                raise ArchiveError("is damaged: a block has no such size")
            sums = flags & (LZO_UNPACKED_SUMS | (LZO_PACKED_SUMS if packed_size < size else 0))
            start = 8 + 4 * sums.bit_count()
            if len(self._rest) < start + packed_size:
                return
            packed = bytes(self._rest[start : start + packed_size])
            del self._rest[: start + packed_size]
            yield packed if packed_size == size else self._unpack_block(packed, size)

    def _unpack_block(self, packed: bytes, size: int) -> bytes:
        try:
            return unpack_block(LZO_COMPRESSOR, packed, size)
        except StorageError as failure:
            raise ArchiveError(f"is damaged: {failure}") from failure


def _lzma() -> Unpacker:
    return _Standard(lzma.LZMADecompressor(lzma.FORMAT_AUTO, memlimit=WINDOW_MOST))


UNPACKERS: tuple[tuple[bytes, Callable[[], Unpacker]], ...] = (
    (b"\x1f\x8b", lambda: _Standard(_Zlib())),
    (b"\xfd7zXZ\0", _lzma),
    (b"\x5d\0\0", _lzma),
    (b"BZh", lambda: _Standard(bz2.BZ2Decompressor())),
    (b"\x28\xb5\x2f\xfd", _Zstd),
    (LZ4_MAGIC, _Lz4),
    (LZO_MAGIC[:MAGIC_LENGTH], _Lzo),
)


def unpacker_for(head: bytes) -> Unpacker:
    """The decompressor of a stream that begins so, with MAGIC_LENGTH bytes. Raises: ArchiveError when there is none."""
    for magic, make in UNPACKERS:
        if head.startswith(magic):
            return make()
    raise ArchiveError(f"is no initramfs, or compressed in an unknown way (it begins with {head.hex()})")


def read_chunks(image: Image, start: int = 0) -> Iterator[bytes]:
    """The image's bytes from `start` on. Raises: StorageError where it can't be read."""
    for offset in range(start, image.size, CHUNK):
        yield image.read_at(offset, min(CHUNK, image.size - offset))


class Packed:
    """A compressed stream somewhere in an image; `offset` is behind it once all of its chunks have come.

    Raises: ArchiveError when it is compressed in an unknown way, StorageError where the image can't be read.
    """

    def __init__(self, image: Image, offset: int = 0) -> None:
        self.offset = offset
        self._image = image
        self._unpacker = unpacker_for(self._read(MAGIC_LENGTH))

    def chunks(self) -> Iterator[bytes]:
        """What it unpacks to, in order. Raises: ArchiveError where it is damaged or cut off, StorageError."""
        while not self._unpacker.is_done:
            piece = self._read(CHUNK)
            self.offset += len(piece)
            yield from self._unpacker.unpack(piece)
        self.offset -= self._unpacker.unused

    def _read(self, length: int) -> bytes:
        return self._image.read_at(self.offset, min(length, self._image.size - self.offset))


def unpack(image: Image) -> Iterator[bytes]:
    """What all of a compressed file unpacks to, of however many streams one behind the other it consists.

    Raises: ArchiveError when it is no compressed file, damaged or cut off; StorageError where it can't be read.
    """
    offset = 0
    while offset < image.size and (offset == 0 or image.read_at(offset, 1) != b"\0"):  # NULs pad it
        packed = Packed(image, offset)
        yield from packed.chunks()
        offset = packed.offset
