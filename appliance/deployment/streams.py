"""Compressed streams of initramfs archives and kernel modules: six formats, one interface, chunk by chunk.

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

from storage.image import Image

CHUNK = 64 << 10  # bytes read at a time, and unpacked where the library lets us say so
MAGIC_LENGTH = 6  # of the longest
WINDOW_MOST = 128 << 20  # bytes: the kernel's own limit for zstd, twice the largest dictionary of xz -9
ZSTD_PIECE = 512  # bytes handed to zstd at once: each 4 may stand for 128 KiB, and it knows no other bound
LZ4_MAGIC = b"\x02\x21\x4c\x18"
LZ4_BLOCK = 8 << 20  # bytes that each block of the legacy format unpacks to, the last excepted
LZ4_PACKED_MOST = LZ4_BLOCK + LZ4_BLOCK // 255 + 16  # bytes of a block that could not be compressed


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


def _lzma() -> Unpacker:
    return _Standard(lzma.LZMADecompressor(lzma.FORMAT_AUTO, memlimit=WINDOW_MOST))


UNPACKERS: tuple[tuple[bytes, Callable[[], Unpacker]], ...] = (
    (b"\x1f\x8b", lambda: _Standard(_Zlib())),
    (b"\xfd7zXZ\0", _lzma),
    (b"\x5d\0\0", _lzma),
    (b"BZh", lambda: _Standard(bz2.BZ2Decompressor())),
    (b"\x28\xb5\x2f\xfd", _Zstd),
    (LZ4_MAGIC, _Lz4),
)


def unpacker_for(head: bytes) -> Unpacker:
    """The decompressor of a stream that begins so, with MAGIC_LENGTH bytes. Raises: ArchiveError when there is none."""
    for magic, make in UNPACKERS:
        if head.startswith(magic):
            return make()
    raise ArchiveError(f"is no initramfs, or compressed in an unknown way (it begins with {head.hex()})")


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
