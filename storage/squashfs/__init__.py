"""squashfs 4.0, read: an image in an image, each of its files an Image that pumps read without the GIL."""

from storage.image import Image
from storage.squashfs import filesystem
from storage.squashfs.cache import Cache
from storage.squashfs.errors import CorruptError, OutOfRangeError, SquashfsError, UnsupportedError
from storage.squashfs.filesystem import Squashfs
from storage.squashfs.values import Compressor, Entry, Kind, Status, Summary

__all__ = [
    "Cache",
    "Compressor",
    "CorruptError",
    "Entry",
    "Kind",
    "OutOfRangeError",
    "Squashfs",
    "SquashfsError",
    "Status",
    "Summary",
    "UnsupportedError",
    "open",
]

BLOCKS = Cache(128 << 20)  # of all images together: what a boot reads of one root, with room for a second
METADATA = Cache(16 << 20)  # names and inodes of some hundred thousand files


def open(image: Image) -> Squashfs:
    """The squashfs in `image`, which may be any layer, with the caches that all images share.

    Raises: UnsupportedError when it is no squashfs 4.0, CorruptError, OutOfRangeError, StorageError.
    """
    return filesystem.open(image, blocks=BLOCKS, metadata=METADATA)
