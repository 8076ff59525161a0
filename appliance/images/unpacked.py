"""Files inside images that clients load: decompressed once for all of them, and kept as long as there is room."""

import os
import threading
from pathlib import Path

from storage.image import FileImage, Image
from storage.unpacked import UnpackedImage

LEAST = 128 << 10  # bytes; smaller ones are sent in one piece, from the cache of blocks


class UnpackedFiles:
    """The files, by image and version; the ones not asked for longest go first."""

    def __init__(self, folder: Path, room: int) -> None:
        """`folder` is where they are kept, nameless; in memory if it can't be written to.

        `room` is how many bytes they have together, each counted whole.
        """
        self._folder = folder
        self._room = room
        self._files: dict[tuple[str, str], UnpackedImage] = {}  # the one asked for last is at the end
        self._lock = threading.Lock()

    def take(self, image: str, file: Image) -> Image:
        """The file as it is to be sent: kept when it is one of those that have room at all, else as it is.

        One that makes way for others goes when it has been sent. May wait for the disk. Raises: OSError.
        """
        if not LEAST < file.size <= self._room:
            return file
        with self._lock:
            kept = self._files.pop((image, file.version), None)
            if kept is None:
                kept = UnpackedImage(file, _make_store(self._folder, file.size))
            self._files[image, file.version] = kept
            while sum(each.size for each in self._files.values()) > self._room:
                del self._files[next(iter(self._files))]
        return kept


def _make_store(folder: Path, size: int) -> FileImage:
    """A file without a name: gone with its last reader, even when that crashes."""
    try:
        made = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:  # read-only, or a file system that has no such files
        made = os.memfd_create("unpacked", os.MFD_CLOEXEC)
    try:
        os.truncate(made, size)
        return FileImage(f"/proc/self/fd/{made}", writable=True)
    finally:
        os.close(made)
