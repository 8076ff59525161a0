"""What clients may send: registrations of KIWI machines and other small files, into `upload/` and nowhere else.

Anybody on the segment can send (KIWI 1.5: no client authenticates), so everything is bounded, nothing is served back
(`tree` sees to that), and nobody replaces another's file. Left out: reading what was sent.
"""

import asyncio
import contextlib
import json
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from errno import EFBIG, ENOSPC
from pathlib import Path
from weakref import WeakKeyDictionary

import structlog

from appliance.names import UPLOADS
from protocols.ethernet import parse_mac
from storage.errors import StorageError
from storage.upload import TEMPORARY_SUFFIX, Upload

FOLDER_MODE = 0o750  # registrations name machines and people: for the appliance and its group
OWNERS = ".owners"  # beside the uploads: who sent what, so that a restart does not open them to everybody
STALE = 3600.0  # seconds after which a temporary file is no transfer any more but a crash's leftover
OWNERS_MAX = 1 << 20  # bytes of OWNERS that are read: 4096 of the longest names and addresses fit

KIWI_NAME = re.compile(
    r"(client|hwtype|hwinfo)\."
    r"((?:[0-9A-Fa-f]{2}([:.-]?))(?:[0-9A-Fa-f]{2}\3){4}[0-9A-Fa-f]{2}|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4})"
    r"(\.[0-9a-f]{1,64})?"
)
OTHER_NAME = re.compile(r"[A-Za-z0-9_:+-][A-Za-z0-9._:+-]{0,127}")  # no leading dot: hidden names are our own


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """How much strangers may store; sizes in bytes."""

    registration: int = 64 << 10  # client.* and hwtype.*: a few lines of text (KIWI 6, item 9)
    hardware: int = 4 << 20  # hwinfo.*: the log of `hwinfo --all`
    other: int = 1 << 20  # any other name: logs and reports of scripts
    files: int = 4096  # four for each of a thousand machines
    total: int = 512 << 20  # of all files, and all that is still being received may become


class Uploads:
    """Decides who may send what; `open_write` is the policy that TFTP and HTTP are given."""

    def __init__(self, root: Path, limits: UploadLimits | None = None) -> None:
        """`root` is the boot tree's folder; its `upload/` is made when the first upload comes."""
        self._folder = root / UPLOADS
        self._limits = limits or UploadLimits()
        self._receiving: WeakKeyDictionary[Upload, str] = WeakKeyDictionary()  # and the client each comes from
        self._was_full = False
        self._one_at_a_time = asyncio.Lock()
        self._log = structlog.get_logger()

    async def open_write(self, name: str, client: str, size: int | None) -> Upload:
        """An upload under `name` from the IPv4 address `client`, who announces `size` bytes (None: says nothing).

        Raises: PermissionError for a name outside `upload/` or not plain, or when `upload` is no folder of its own;
        FileExistsError when the file is another client's; StorageError with EFBIG when `size` is over the limit, with
        ENOSPC when there are too many files or bytes, or with the errno of what the kernel refused.
        """
        stored, limit = self._place(name)
        if size is not None and size > limit:
            raise StorageError(f"{name}: {size} bytes are more than the {limit} allowed", EFBIG)
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._open, stored, client, limit)

    def _place(self, name: str) -> tuple[str, int]:
        """The file name `name` is stored under, and the most bytes it may have."""
        folder, _, base = re.sub("/+", "/", name).lstrip("/").partition("/")
        if folder != UPLOADS or not OTHER_NAME.fullmatch(base):
            raise PermissionError(f"{name!r} may not be written: only plain names in {UPLOADS}/ may")
        if (kiwi := KIWI_NAME.fullmatch(base)) is None:
            return base, self._limits.other
        kind, mac, _, digest = kiwi.groups()
        limit = self._limits.hardware if kind == "hwinfo" else self._limits.registration
        return f"{kind}.{parse_mac(mac).hex(':').upper()}{digest or ''}", limit

    def _open(self, name: str, client: str, limit: int) -> Upload:
        try:
            self._make_folder()
            held = dict(self._held())
            owners = self._owners()
            coming = {upload: who for upload, who in self._receiving.items() if upload.is_open}
            others = {who for upload, who in coming.items() if upload.path.name == name and who != client}
            if others or (name in held and owners.get(name) != client):
                raise FileExistsError(f"{UPLOADS}/{name} is another client's")
            self._require_room(held, coming, name, limit)
            known = held.keys() | {upload.path.name for upload in coming}
            self._remember_owners(owners, {k: v for k, v in owners.items() if k in known} | {name: client})
            upload = Upload(self._folder / name, limit=limit)
        except (FileExistsError, PermissionError):
            raise
        except OSError as failure:
            raise StorageError(f"{self._folder}: {failure.strerror}", failure.errno or 0) from failure
        self._receiving[upload] = client
        return upload

    def _make_folder(self) -> None:
        with contextlib.suppress(FileExistsError):
            self._folder.mkdir(mode=FOLDER_MODE)
        if not stat.S_ISDIR(self._folder.lstat().st_mode):
            raise PermissionError(f"{self._folder} is no folder of its own")

    def _held(self) -> Iterator[tuple[str, int]]:
        """Name and size of every file there, whoever put it; leftovers of a crash are removed on the way."""
        with os.scandir(self._folder) as entries:
            for entry in entries:
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # a temporary file that was committed or aborted just now
                if not entry.name.startswith("."):
                    yield entry.name, found.st_size
                elif entry.name.endswith(TEMPORARY_SUFFIX) and found.st_mtime < time.time() - STALE:
                    Path(entry.path).unlink(missing_ok=True)

    def _require_room(self, held: dict[str, int], coming: dict[Upload, str], name: str, limit: int) -> None:
        rest = [size for other, size in held.items() if other != name]
        files = len(rest) + len(coming) + 1
        total = sum(rest) + sum(upload.limit for upload in coming) + limit
        is_full = files > self._limits.files or total > self._limits.total
        if is_full and not self._was_full:  # once, not for each of the storm behind it
            self._log.warning("upload_folder_filled", path=str(self._folder), files=len(held), bytes=sum(rest))
        self._was_full = is_full
        if is_full:
            raise StorageError(f"{self._folder} is full", ENOSPC)

    def _owners(self) -> dict[str, str]:
        """Who sent each file; a file nobody is named for stays as it is until the operator removes it."""
        path = self._folder / OWNERS
        try:
            with path.open("rb") as file:
                read = json.loads(file.read(OWNERS_MAX))
        except FileNotFoundError:
            return {}
        except ValueError as failure:
            self._log.warning("upload_owners_unreadable", path=str(path), reason=str(failure))
            return {}
        return {str(name): str(client) for name, client in read.items()} if isinstance(read, dict) else {}

    def _remember_owners(self, before: dict[str, str], now: dict[str, str]) -> None:
        if now != before:
            with Upload(self._folder / OWNERS, limit=OWNERS_MAX) as file:
                file.write(json.dumps(now).encode())
                file.commit()
