"""Small files of what the appliance remembers: JSON of one shape, written whole or not at all, read up to a limit."""

import contextlib
import os
import threading
from pathlib import Path
from typing import Generic, TypeVar

import structlog
from pydantic import TypeAdapter, ValidationError

from storage.layerfile import sync_folder

T = TypeVar("T")

log = structlog.get_logger()


class StateFile(Generic[T]):
    """One value on disk. Its methods may wait for the disk; threads may share it."""

    def __init__(self, path: Path, shape: TypeAdapter[T], *, most: int) -> None:
        """`path` need not be there yet, nor its folder; of a file at most `most` bytes are read."""
        self._path = path
        self._shape = shape
        self._most = most
        self._lock = threading.Lock()
        self._is_refused = False

    def read(self) -> T | None:
        """What is kept, or None where nothing is. Raises: OSError; ValueError for a file that is spoilt or too long."""
        try:
            with self._path.open("rb") as file:
                text = file.read(self._most + 1)
        except FileNotFoundError:
            return None
        if len(text) > self._most:
            raise ValueError(f"is longer than {self._most} bytes")
        return self._shape.validate_json(text, strict=True)

    def write(self, value: T) -> None:
        """Return once `value` is what a crash, or a loss of power, leaves. Raises: OSError; then the last one stays."""
        with self._lock:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part = self._path.with_name(f"{self._path.name}.part")
            try:
                with part.open("wb") as file:
                    file.write(self._shape.dump_json(value))
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(self._path)
            except OSError:
                with contextlib.suppress(OSError):
                    part.unlink()
                raise
            sync_folder(self._path.parent)

    def recall(self, otherwise: T) -> T:
        """What is kept; `otherwise` where nothing is, or, which is said, where it can't be read."""
        try:
            kept = self.read()
        except (OSError, ValueError) as failure:
            log.warning("state_unreadable", path=str(self._path), reason=reason_of(failure))
            return otherwise
        return otherwise if kept is None else kept

    def remember(self, value: T) -> None:
        """Write `value`. A folder that can't be written to is one that forgets, which is said once."""
        try:
            self.write(value)
        except OSError as failure:
            if not self._is_refused:
                log.warning("state_not_kept", path=str(self._path), reason=reason_of(failure))
            self._is_refused = True


def reason_of(failure: OSError | ValueError) -> str:
    """Why a file can't be read or written, on one line: pydantic's own text has many."""
    if isinstance(failure, ValidationError):
        first = failure.errors(include_url=False)[0]
        return ": ".join([*map(str, first["loc"]), first["msg"]])
    return str(failure)
