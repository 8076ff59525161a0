"""An image as a file system: names, folders, links, and its files as images."""

from collections.abc import Iterable, Iterator
from typing import Any

from storage.image import Image
from storage.squashfs.cache import Cache
from storage.squashfs.file import SquashfsFile
from storage.squashfs.values import Entry, Status, Summary

_Place = bytes | str | int
"""A path, or a reference as in `Entry.reference`."""

class Squashfs:
    """An image, opened; made by `open`. Threads may use it together.

    Every method may wait for the disk, follows symlinks except in the last place of `readlink`, and raises
    CorruptError, UnsupportedError or OutOfRangeError where the image is damaged, StorageError where it can't be read,
    and, for a path that leads nowhere, what the kernel would: FileNotFoundError, NotADirectoryError, OSError with
    ELOOP after 40 symlinks.
    """

    @property
    def image(self) -> Image: ...
    @property
    def summary(self) -> Summary: ...
    @property
    def blocks(self) -> Cache:
        """Where its decompressed data blocks and fragments are."""
    @property
    def metadata(self) -> Cache:
        """Where its decompressed metadata blocks are."""
    @property
    def root(self) -> int:
        """The reference of its top folder."""
    def lookup(self, path: _Place, *, follow: bool = True) -> int:
        """The reference of what `path` names; with `follow` false, of a symlink itself if it is the last name."""
    def find_number(self, number: int) -> int:
        """The reference of the inode of that number, by the export table.

        Raises: OSError with EOPNOTSUPP when the image has no such table, FileNotFoundError when there is no such inode.
        """
    def status(self, at: _Place) -> Status:
        """What an inode says: kind, mode, owners, time, size."""
    def scan(self, at: _Place) -> Iterator[Entry]:
        """The entries of a directory in the order of the image: names as bytes, sorted."""
    def listdir(self, at: _Place) -> list[Entry]:
        """As `scan`, in a list. Raises: OutOfRangeError when there are more than 2,097,152."""
    def walk(self, at: _Place = b"/") -> Iterator[tuple[bytes, Entry]]:
        """Everything below a directory: path from there, without a slash before it, and entry; symlinks as they are.

        A directory comes before what is in it. Raises: CorruptError when directories go round in circles.
        """
    def readlink(self, at: _Place) -> bytes:
        """The target of a symlink. Raises: OSError with EINVAL when it is none."""
    def xattrs(self, at: _Place) -> dict[bytes, bytes]:
        """The extended attributes: whole names (user., trusted., security.) and values."""
    def open_file(self, at: _Place) -> SquashfsFile:
        """A regular file as an image. Raises: IsADirectoryError, or OSError with EINVAL when it is something else."""
    def read_files(self, references: Iterable[int], *, threads: int = 1) -> Iterator[tuple[int, int, bytes]]:
        """All bytes of the files at these references, as (reference, offset, bytes): at most 1 MiB, in order, no gaps.

        For who reads much once: whole blocks are not kept in the cache, the GIL is given up once for many files, and
        an empty file is one piece of nothing. `threads`, from 1 to 16, read at once: who iterates, and with more than
        one native helpers, a megabyte each ahead of it. Threads may also read side by side with an iterator of their
        own each. It may raise what `open_file` and `read_at` raise; whoever goes on then gets the files behind that
        one. Raises: ValueError for another number of threads, OSError when none can be started.
        """

def open(image: Image, *, blocks: Cache, metadata: Cache) -> Squashfs:
    """The squashfs in `image`, which may be any layer; the caches are to be shared with other images.

    Raises: UnsupportedError when it is no squashfs 4.0, CorruptError, OutOfRangeError, StorageError; ValueError when
    both caches are the same.
    """

__test__: dict[str, Any]
