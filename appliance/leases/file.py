"""The lease file: a line for each change, on disk before it is told to anybody; rewritten when most of it is past.

Changes that come while the disk is at work are written together by the next write (group commit): hundreds of machines
that are switched on at once wait for two or three writes, not for hundreds. It is no StateFile since that would write
every lease for each of them. A crash in the middle of a write leaves a last line without its end: it was not yet told,
and is passed over. Anything else that is no lease is an operator's to look at.
"""

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from appliance.errors import OperatorError
from protocols.dhcp.leasing.lease import Lease, build_line, parse_line
from storage.layerfile import sync_folder

HEADER = b"rootwire leases 1\n"
FILE_MOST = 64 << 20  # bytes that are read: three times what pools of the largest size take
PAST_LEAST = 1024  # changes; below that it is not worth a rewriting
FILE_MODE = 0o644  # who has which address is no secret on its network
MEND = "take that line out, or move the file away: machines are then given addresses anew"

log = structlog.get_logger(protocol="dhcp")


class _Batch:
    """Changes that one write takes, and what waits for it."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class LeaseFile:
    """Reads leases at the start, and keeps every change after it."""

    def __init__(self, path: Path, leases: Callable[[], Iterable[Lease]]) -> None:
        """`leases` gives all that are to be in a file written anew."""
        self.path = path
        self._leases = leases
        self._batch: _Batch | None = None
        self._wanted = asyncio.Event()
        self._kept = 0  # lines when the file was last written anew
        self._written = 0  # lines since
        self._file: int | None = None  # None: to be written anew first
        self._lock = threading.RLock()  # of the descriptor

    def read(self) -> list[Lease]:
        """What is kept, in the order of its changes; nothing where there is no file yet. May wait for the disk.

        Raises: OperatorError for a file that can't be read, or is none.
        """
        try:
            with self.path.open("rb") as file:
                text = file.read(FILE_MOST + 1)
        except FileNotFoundError:
            return []
        except OSError as failure:
            raise OperatorError(f"lease file {self.path}: {failure.strerror}", "make it readable") from failure
        if len(text) > FILE_MOST:
            raise OperatorError(f"lease file {self.path} has more than {FILE_MOST >> 20} MiB", "move it away")
        if not text.startswith(HEADER):
            raise OperatorError(f"{self.path} is no lease file", "move it away: machines are given addresses anew")
        *lines, rest = text[len(HEADER) :].split(b"\n")
        if rest:
            log.warning("lease_file_cut", path=str(self.path), bytes=len(rest))
        return [self._parse(number, line) for number, line in enumerate(lines, 2)]

    async def keep(self, lease: Lease) -> None:
        """Return once the lease is on disk. Raises: OSError."""
        if self._batch is None:
            self._batch = _Batch()
        batch = self._batch
        batch.lines.append(build_line(lease))
        self._wanted.set()
        await asyncio.shield(batch.done)  # it is others' as well

    async def run(self) -> None:
        """Write until cancelled."""
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                batch, self._batch = self._batch, None
                if batch is not None:
                    await self._write(batch)
        finally:
            self._close()

    def start(self) -> None:
        """Write the file anew, so that one that can't be written is found before anybody waits for it.

        Raises: OperatorError.
        """
        try:
            self._rewrite(list(self._leases()))
        except OSError as failure:
            raise OperatorError(
                f"lease file {self.path}: {failure.strerror}", "let rootwire write there, or name another state folder"
            ) from failure

    async def _write(self, batch: _Batch) -> None:
        kept = list(self._leases()) if self._is_past() else None
        try:
            await asyncio.to_thread(self._append, batch.lines, kept)
        except OSError as failure:
            self._close()  # what it holds now is not known: a part of a line, perhaps
            batch.done.set_exception(failure)
        else:
            batch.done.set_result(None)

    def _is_past(self) -> bool:
        return self._file is None or self._written > max(PAST_LEAST, 2 * self._kept)

    def _append(self, lines: list[bytes], kept: list[Lease] | None) -> None:
        """One write and one sync, or, with `kept`, the whole file; in a thread of its own."""
        with self._lock:
            if kept is not None:
                self._rewrite(kept)
                return
            if self._file is None:
                raise OSError(errno.EBADF, "closed meanwhile")
            _write_all(self._file, b"".join(lines))
            os.fsync(self._file)
            self._written += len(lines)

    def _rewrite(self, leases: list[Lease]) -> None:
        self._close()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f"{self.path.name}.part")
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        try:
            _write_all(file, HEADER + b"".join(map(build_line, leases)))
            os.fsync(file)
            part.replace(self.path)
            sync_folder(self.path.parent)
        except OSError:
            os.close(file)
            raise
        self._file, self._kept, self._written = file, len(leases), 0

    def _close(self) -> None:
        with self._lock:  # a write that is under way ends first: its descriptor may be another file's at once
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _parse(self, number: int, line: bytes) -> Lease:
        try:
            return parse_line(line)
        except ValueError as refusal:
            raise OperatorError(f"lease file {self.path}, line {number} is no lease: {refusal}", MEND) from refusal


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
