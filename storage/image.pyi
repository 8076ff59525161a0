import os
from typing import Any

from typing_extensions import Buffer

class Image:
    """Bytes that can be read at any offset, from any thread; the base of every file and layer."""

    @property
    def size(self) -> int:
        """Length in bytes, fixed when the image is opened."""
    @property
    def writable(self) -> bool:
        """Whether `write_at` may succeed."""
    @property
    def version(self) -> str:
        """A short token that changes when the content does: what an HTTP ETag is made of."""
    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes (0 to 64 MiB) at `offset`; may wait for the disk, so only from a pool thread.

        Raises: StorageError with ENXIO when the range leaves the image, EIO when the file became shorter,
        or the errno of the failed read.
        """
    def read_at_now(self, offset: int, length: int) -> bytes | None:
        """As `read_at`, but None where the bytes are not in memory: never waits, so fit for the event loop."""
    def place_at(self, offset: int, length: int) -> tuple[int, int] | None:
        """The file descriptor that has these bytes as they are, all in memory, and where in it; else None.

        Raises: StorageError with ENXIO when the range leaves the image.
        """
    def write_at(self, offset: int, data: Buffer) -> None:
        """Write all of `data` at `offset`; may wait.

        Raises: StorageError with EROFS on a read-only image, ENXIO when the range leaves it, or the write's errno.
        """
    def punch_at(self, offset: int, length: int) -> bool:
        """Have a range read as zeros and take no room; may wait. False where the image can't: write zeros instead.

        Raises: StorageError with EROFS on a read-only image, ENXIO when the range leaves it, or the errno of it.
        """
    def sync(self) -> None:
        """Return once every completed write is on stable storage. Raises: StorageError with the errno."""
    def extents(self, offset: int, length: int) -> list[tuple[int, bool]]:
        """Runs that cover the range in order, each (bytes, whether it is a hole that reads as zeros).

        Raises: StorageError with ENXIO when the range leaves the image.
        """

class FileImage(Image):
    """A regular file or block device.

    Raises: OSError when it can't be opened, StorageError when it is neither a file nor a block device.
    """

    def __init__(self, path: str | os.PathLike[str], *, writable: bool = False) -> None: ...
    @property
    def path(self) -> str: ...
    def fileno(self) -> int:
        """The open descriptor, for sendfile and the like; it stays the image's own."""
    def is_cached(self, offset: int, length: int) -> bool:
        """Whether all of the range lies in the page cache, so that sending it would not wait for the disk.

        Raises: StorageError with ENXIO when the range leaves the image.
        """

class BytesImage(Image):
    """Bytes held in memory: generated menus, scripts and configurations."""

    def __init__(self, content: bytes) -> None: ...
    @property
    def content(self) -> bytes: ...

class PaddedImage(Image):
    """A read-only layer that rounds the size up to `multiple` (a power of two, bytes) with zeros.

    Raises: ValueError when `multiple` is no power of two.
    """

    def __init__(self, base: Image, *, multiple: int) -> None: ...
    @property
    def base(self) -> Image: ...

HAS_CACHESTAT: bool  # where it is missing, files are mapped and mincore is asked; read when an image is opened

__test__: dict[str, Any]
