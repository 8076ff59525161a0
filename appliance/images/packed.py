"""Compressed images of which the tree has nothing else: image/NAME.xz or NAME.gz without NAME.

KIWI's clients unpack them while they are fetched, and check what they have written against NAME.md5: the sum of the
uncompressed bytes, which only unpacking tells.
"""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from errno import EFBIG, EIO
from pathlib import Path

from appliance.deployment.streams import ArchiveError, unpack
from appliance.images.identity import Identity, identify
from appliance.images.memory import Sums
from storage.errors import StorageError
from storage.image import FileImage

SUFFIXES = {".xz": b"\xfd7zXZ\0", ".gz": b"\x1f\x8b"}  # in the order in which they count, with what each begins with
UNPACKED_MAX = 1 << 40  # bytes: a file that unpacks to more is one that was made to keep us busy


@dataclass(frozen=True, slots=True)
class PackedImage:
    """One of them, by its file's name, as the file was when it was looked at."""

    name: str
    place: Path
    identity: Identity

    @property
    def size(self) -> int:
        """Bytes of the compressed file."""
        return self.identity.size

    @property
    def format(self) -> str:
        """What it is compressed with: xz, gz."""
        return self.place.suffix[1:]

    @property
    def target(self) -> str:
        """No AoE address: as a block device it would be of no use."""
        return ""


class _Followed(FileImage):
    """A file of which can be seen how far it was read."""

    reached = 0

    def read_at(self, offset: int, length: int) -> bytes:
        self.reached = max(self.reached, offset + length)
        return super().read_at(offset, length)


class PackedReading:
    """A compressed image on its way through both sums of what it unpacks to."""

    __slots__ = ("_chunks", "_image", "_is_over", "_md5", "_place", "_sha256", "_unpacked", "began", "told")

    def __init__(self, entry: PackedImage) -> None:
        self._place = entry.place
        self._image: _Followed | None = None  # opened by the thread that reads it
        self._chunks: Iterator[bytes] = iter(())
        self._md5 = hashlib.md5(usedforsecurity=False)  # KIWI's format; it guards against accidents only
        self._sha256 = hashlib.sha256()
        self._unpacked = 0
        self._is_over = False
        self.began = self.told = time.monotonic()

    @property
    def at(self) -> int:
        """How many bytes of the compressed file were read."""
        return self._image.reached if self._image else 0

    def advance(self, length: int) -> Identity | None:
        """Unpack about `length` bytes more; returns what the file is after that. Raises: StorageError, OSError."""
        image = self._image = self._image or self._open()
        stop = self._unpacked + length
        try:
            while self._unpacked < stop and not self._is_over:
                self._take(next(self._chunks, None))
        except ArchiveError as failure:
            raise StorageError(f"{self._place.name} {failure}", EIO) from failure
        return identify(image.fileno())

    def is_over(self) -> bool:
        """Whether all of it was unpacked."""
        return self._is_over

    def sums(self) -> Sums:
        """Of what it unpacked to."""
        return Sums(self._md5.hexdigest(), self._sha256.hexdigest(), self._unpacked)

    def _open(self) -> _Followed:
        image = _Followed(self._place)
        magic = SUFFIXES[self._place.suffix]
        if image.read_at(0, min(len(magic), image.size)) != magic:
            raise StorageError(f"{self._place.name} is not compressed as its name says", EIO)
        self._chunks = unpack(image)
        return image

    def _take(self, chunk: bytes | None) -> None:
        if chunk is None:
            self._is_over = True
            return
        self._md5.update(chunk)
        self._sha256.update(chunk)
        self._unpacked += len(chunk)
        if self._unpacked > UNPACKED_MAX:
            raise StorageError(f"{self._place.name} unpacks to more than {UNPACKED_MAX} bytes", EFBIG)
