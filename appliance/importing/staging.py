"""Files on their way into image/: written beside where they go, under names that nobody serves, then renamed.

Whatever happens before the renaming leaves nothing but such files, which are removed at once, or by the next import
where there was no time for that. The renaming itself goes in an order in which what is there first does no harm.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from errno import ENOSPC
from pathlib import Path

from appliance.errors import OperatorError
from storage.layerfile import sync_folder

PREFIX = ".import-"  # names with a dot are no images
RESERVE = 64 << 20  # bytes of the file system that are left free: the box itself has to write as well
LOOK_EVERY = 64 << 20  # bytes written between two looks at how much room is left

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Staged:
    """A file that is written and known by its sums; `name` is what it was called where it came from."""

    name: str
    path: Path
    size: int
    md5: str
    sha256: str


class Staging:
    """Writes files for one folder; one at a time, everywhere on this machine."""

    def __init__(self, folder: Path, advance: Advance) -> None:
        """`folder` is image/, which exists; `advance` is told how many bytes were written since it was last told."""
        self._folder = folder
        self._advance = advance
        self._number = 0

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While it is entered, nobody else imports; what was left by one that was killed is gone, and after it ours.

        Raises: OperatorError while another import is under way.
        """
        lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as failure:
            os.close(lock)
            raise OperatorError(f"another import into {self._folder} is under way", "wait for its end") from failure
        try:
            self._sweep()
            yield
        finally:
            self._sweep()
            os.close(lock)

    def add(self, name: str, chunks: Iterator[bytes], size: int | None = None) -> Staged:
        """Write a file to the disk; `size` is how large it will be, where that is known.

        Raises: OperatorError when there is no room for it, and whatever reading `chunks` raises.
        """
        self._require_room(name, size or 0)
        path = self._folder / f"{PREFIX}{self._number}"
        self._number += 1
        md5, sha256, written, looked = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0, 0
        with path.open("xb") as file:
            for chunk in chunks:
                if written - looked >= LOOK_EVERY:
                    self._require_room(name, 0)
                    looked = written
                file.write(chunk)
                md5.update(chunk)
                sha256.update(chunk)
                written += len(chunk)
                self._advance(len(chunk))
            file.flush()
            os.fsync(file.fileno())
        path.chmod(0o644)
        return Staged(name, path, written, md5.hexdigest(), sha256.hexdigest())

    def publish(self, files: Sequence[tuple[Staged, str]]) -> None:
        """Give each file its name in the folder, in this order; each is there whole or not at all.

        A power cut keeps the order: what comes before is on the disk when the next is named.
        """
        for staged, name in files:
            staged.path.rename(self._folder / name)
            sync_folder(self._folder)

    def _require_room(self, name: str, size: int) -> None:
        free = shutil.disk_usage(self._folder).free
        if free < size + RESERVE:
            raise no_room(self._folder, name, size, free)

    def _sweep(self) -> None:
        for path in self._folder.glob(f"{PREFIX}*"):
            path.unlink()


def no_room(folder: Path, name: str, size: int, free: int) -> OperatorError:
    """What is said where the disk is full, or would be."""
    needs = f" of {size} bytes" if size else ""
    return OperatorError(f"{folder} has no room for {name}{needs}, with {free} bytes free", "make room there")


def is_full(failure: OSError) -> bool:
    """Whether a file system had no room."""
    return failure.errno == ENOSPC
