"""A file a client sends: written beside its place under a hidden name, bounded, and put in place in one step.

Left out: who may send what under which name (the appliance's policy) and fsync (an upload lost with the power is
sent again or missed by nobody; waiting for the disk would hold up the event loop).
"""

import contextlib
import os
import secrets
import weakref
from errno import EFBIG
from pathlib import Path
from types import TracebackType

from typing_extensions import Buffer

from storage.errors import StorageError

TEMPORARY_SUFFIX = ".part"  # with the leading dot, how a leftover of a crash is told from an upload
UPLOAD_MODE = 0o640  # sent by strangers: readable by the appliance and its group, executable by nobody


class Upload:
    """One file being received; nobody sees it under its name before `commit`, nor anything of it after `abort`.

    `path` is where it ends up: its folder must exist and be no symbolic link. `limit` is the most bytes it may get.
    All calls are synchronous and meant for small files. An upload that is neither committed nor aborted removes its
    temporary file when it is garbage collected or the process exits; as a context manager it does so at the end of
    the block.

    Raises: OSError when the folder can't be opened (ENOTDIR or ELOOP: it is a symbolic link) or written to.
    """

    __slots__ = ("__weakref__", "_discard", "_fd", "_folder", "_temporary", "limit", "path", "size")

    def __init__(self, path: Path, *, limit: int) -> None:
        self.path = path
        self.limit = limit
        self.size = 0
        self._temporary = f".{path.name}.{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
        # Every later step goes by this descriptor, so a folder exchanged for a link meanwhile changes nothing.
        self._folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(self._temporary, flags, UPLOAD_MODE, dir_fd=self._folder)
        except OSError:
            os.close(self._folder)
            raise
        self._discard = weakref.finalize(self, discard, self._fd, self._folder, self._temporary)

    @property
    def is_open(self) -> bool:
        """Whether it is still being received: neither committed nor aborted."""
        return self._discard.alive

    def write(self, data: Buffer) -> None:
        """Append `data`.

        Raises: StorageError with EFBIG when that passes `limit` (nothing of `data` is kept), or with the errno of
        the failed write; ValueError when the upload is over.
        """
        self._require_open()
        rest = memoryview(data).cast("B")
        if self.size + len(rest) > self.limit:
            raise StorageError(f"{self.path.name} is larger than {self.limit} bytes", EFBIG)
        try:
            while rest:
                written = os.write(self._fd, rest)
                self.size += written
                rest = rest[written:]
        except OSError as failure:
            raise StorageError(f"writing {self.path.name} failed: {failure.strerror}", failure.errno or 0) from failure

    def commit(self) -> bool:
        """Put the file in its place, in one step, and end the upload. Returns whether it replaced another.

        Raises: StorageError with the errno of the failed rename (the upload is then aborted); ValueError when the
        upload is over.
        """
        self._require_open()
        replaced = self._is_there()
        try:
            os.rename(self._temporary, self.path.name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError as failure:
            self.abort()
            raise StorageError(f"placing {self.path.name} failed: {failure.strerror}", failure.errno or 0) from failure
        self._discard.detach()
        os.close(self._fd)
        os.close(self._folder)
        return replaced

    def abort(self) -> None:
        """Remove everything received. Ends the upload; once it is over, nothing happens."""
        self._discard()

    def _is_there(self) -> bool:
        try:
            os.stat(self.path.name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _require_open(self) -> None:
        if not self.is_open:
            raise ValueError(f"the upload of {self.path.name} is over")

    def __enter__(self) -> "Upload":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, where: TracebackType | None
    ) -> None:
        self.abort()


def discard(descriptor: int, folder: int, temporary: str) -> None:
    """Close and remove a temporary file; one that somebody else removed is as good as removed."""
    os.close(descriptor)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=folder)
    os.close(folder)
