"""What an image that can't be read raises: one of three errors, each saying where in the image."""

from errno import EIO, EOPNOTSUPP

from storage.errors import StorageError


class SquashfsError(StorageError):
    """Base of the three; `offset` is the byte of the image at which it was seen."""

    def __init__(self, message: str, offset: int, errno: int = EIO) -> None:
        super().__init__(f"{message}, at byte {offset} of the image", errno)
        self.message = message
        self.offset = offset


class CorruptError(SquashfsError):
    """The image contradicts itself: what stands there can't be what a writer of squashfs wrote."""


class UnsupportedError(SquashfsError):
    """Maybe good, but not of this reader's kind: another version, an unknown compressor or inode type."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message, offset, EOPNOTSUPP)


class OutOfRangeError(SquashfsError):
    """An offset, count or size leaves the image or its table, or is over a named limit."""
