"""storage.image once more in plain Python, obvious instead of fast: what the native images are compared with."""

import hashlib
import os
import stat
from errno import EIO, ENXIO, EROFS

from typing_extensions import Buffer

from storage.errors import StorageError

READ_MAX = 64 << 20
UNSIGNED = 1 << 64


def as_unsigned(number: int) -> int:
    """What a C caller could have passed."""
    if not 0 <= number < UNSIGNED:
        raise OverflowError(f"{number} is no unsigned 64-bit number")
    return number


class Image:
    """Base of every image; a subclass says how bytes are read, written, synced and where holes are."""

    size = 0
    writable = False
    version = ""

    def _read(self, offset: int, length: int) -> bytes:
        raise NotImplementedError

    def _write(self, offset: int, data: bytes) -> None:
        raise NotImplementedError

    def _require_inside(self, offset: int, length: int) -> None:
        if as_unsigned(offset) + as_unsigned(length) > self.size:
            raise StorageError("outside", ENXIO)

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes."""
        self._require_inside(offset, length)
        if length > READ_MAX:
            raise StorageError("too much at once", ENXIO)
        data = self._read(offset, length)
        if len(data) != length:
            raise StorageError("truncated", EIO)
        return data

    def read_at_now(self, offset: int, length: int) -> bytes | None:
        """Here everything is always in memory."""
        return self.read_at(offset, length)

    def place_at(self, offset: int, length: int) -> tuple[int, int] | None:
        """Of a file only."""
        self._require_inside(offset, length)
        return None

    def write_at(self, offset: int, data: Buffer) -> None:
        """All of `data`."""
        if not self.writable:
            raise StorageError("read-only", EROFS)
        content = bytes(data)
        self._require_inside(offset, len(content))
        self._write(offset, content)

    def punch_at(self, offset: int, length: int) -> bool:
        """Nothing takes less room here."""
        if not self.writable:
            raise StorageError("read-only", EROFS)
        self._require_inside(offset, length)
        return False

    def sync(self) -> None:
        """Nothing to wait for."""

    def extents(self, offset: int, length: int) -> list[tuple[int, bool]]:
        """One run of data."""
        self._require_inside(offset, length)
        return [(length, False)] if length else []


class FileImage(Image):
    """A regular file."""

    def __init__(self, path: str | os.PathLike[str], *, writable: bool = False) -> None:
        self.path = os.fspath(path)
        self.writable = writable
        self._descriptor = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_NONBLOCK)
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise StorageError("no regular file", EIO)
        self.size = found.st_size
        self.version = f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def place_at(self, offset: int, length: int) -> tuple[int, int] | None:
        """Where it says, if it is all in memory: these tests' files are."""
        self._require_inside(offset, length)
        return self._descriptor, offset

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def _read(self, offset: int, length: int) -> bytes:
        return os.pread(self._descriptor, length, offset)

    def _write(self, offset: int, data: bytes) -> None:
        os.pwrite(self._descriptor, data, offset)

    def punch_at(self, offset: int, length: int) -> bool:
        """The bytes are what counts here, not the room."""
        super().punch_at(offset, length)
        self._write(offset, bytes(length))
        return True

    def sync(self) -> None:
        """As the kernel does."""
        os.fdatasync(self._descriptor)

    def _is_data(self, at: int) -> bool:
        try:
            return os.lseek(self._descriptor, at, os.SEEK_DATA) == at
        except OSError as failure:
            if failure.errno != ENXIO:
                raise
            return False

    def extents(self, offset: int, length: int) -> list[tuple[int, bool]]:
        """Byte by byte would be too slow for a twin even; holes come in blocks of 512 or more."""
        self._require_inside(offset, length)
        runs: list[tuple[int, bool]] = []
        at = offset
        while at < offset + length:
            step = min(512 - at % 512, offset + length - at)
            is_hole = not self._is_data(at)
            before = runs.pop() if runs and runs[-1][1] is is_hole else (0, is_hole)
            runs.append((before[0] + step, is_hole))
            at += step
        return runs


class BytesImage(Image):
    """Bytes in memory."""

    def __init__(self, content: bytes) -> None:
        if not isinstance(content, bytes):
            raise TypeError("bytes are needed")
        self.content = content
        self.size = len(content)
        self.version = hashlib.blake2b(content, digest_size=12).hexdigest()

    def _read(self, offset: int, length: int) -> bytes:
        return self.content[offset : offset + length]


class PaddedImage(Image):
    """Zeros behind another image."""

    def __init__(self, base: Image, *, multiple: int) -> None:
        if multiple not in {1 << n for n in range(64)}:
            raise ValueError("no power of two")
        self.base = base
        self.version = base.version
        self.size = base.size + -base.size % multiple

    def _read(self, offset: int, length: int) -> bytes:
        inside = max(0, min(length, self.base.size - offset))
        return (self.base.read_at(offset, inside) if inside else b"").ljust(length, b"\0")

    def place_at(self, offset: int, length: int) -> tuple[int, int] | None:
        """Where the base says; nowhere for the zeros."""
        self._require_inside(offset, length)
        return self.base.place_at(offset, length) if offset + length <= self.base.size else None

    def extents(self, offset: int, length: int) -> list[tuple[int, bool]]:
        """The base's, then a hole."""
        self._require_inside(offset, length)
        inside = max(0, min(length, self.base.size - offset))
        runs = self.base.extents(offset, inside) if inside else []
        return runs + [(length - inside, True)] * (length > inside)


class WindowImage(Image):
    """A stretch of another image."""

    def __init__(self, base: Image, start: int, length: int) -> None:
        if as_unsigned(start) + as_unsigned(length) > base.size:
            raise ValueError("outside")
        self.base = base
        self.start = start
        self.size = length
        self.version = f"{base.version}.{start:x}.{length:x}"

    def _read(self, offset: int, length: int) -> bytes:
        return self.base.read_at(self.start + offset, length)

    def place_at(self, offset: int, length: int) -> tuple[int, int] | None:
        """Where the base says."""
        self._require_inside(offset, length)
        return self.base.place_at(self.start + offset, length)

    def extents(self, offset: int, length: int) -> list[tuple[int, bool]]:
        """All data, since nobody asks."""
        self._require_inside(offset, length)
        return [(length, False)] if length else []
