"""Machines' disks as files: one folder a machine, made with its first disk, in a folder of the appliance's own.

exports/addresses.json
exports/525400A1B2C3/write       blank: the very bytes, for losetup and the like
exports/525400A1B2C3/write.cow   over an image (storage/layerfile.py)
exports/525400A1B2C3/swap
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from errno import EDQUOT
from pathlib import Path

from appliance.exports.limits import ExportLimits
from appliance.exports.names import Kind, digits_of
from appliance.exports.policy import Policy
from appliance.exports.swap import build_signature
from protocols.ethernet import format_mac, parse_mac
from storage.errors import StorageError
from storage.image import Image
from storage.layer import LayerImage
from storage.layerfile import layer_size, make_layer, open_layer, sync_folder

FOLDER = "exports"
FOLDER_MODE = 0o700  # what machines write is nobody else's to read
_FILES = {"write": (Kind.WRITE, False), "write.cow": (Kind.WRITE, True), "swap": (Kind.SWAP, False)}


@dataclass(frozen=True, slots=True)
class DiskFile:
    """A disk as it lies there: whose, what for, its size, the bytes that it takes."""

    mac: str
    kind: Kind
    has_base: bool
    size: int
    used: int


class Disks:
    """The files. Every call may wait for the disk."""

    def __init__(self, state: Path, limits: ExportLimits | None = None) -> None:
        """`state` is the folder of what the appliance remembers."""
        self.folder = state / FOLDER
        self._limits = limits or ExportLimits()

    def open(self, kind: Kind, mac: str, policy: Policy, base: Image | None) -> LayerImage:
        """A machine's disk, made if there is none.

        Raises: OSError as files do, BaseChangedError and StorageError as open_layer.
        """
        path = self._path(kind, mac, has_base=base is not None)
        if not path.exists():
            self._make_folder(path.parent)
            if kind is Kind.SWAP:
                make_layer(path, policy.swap_size, start=build_signature(policy.swap_size))
            else:
                make_layer(path, policy.write_size, base=base)
        return open_layer(path, base=base, quota=policy.write_quota if kind is Kind.WRITE else None)

    def remove(self, kind: Kind, mac: str) -> None:
        """Throw a machine's disk away, whether it has a base or not. Raises: OSError."""
        for name, (other, _) in _FILES.items():
            if other is kind:
                (self._own(mac) / name).unlink(missing_ok=True)
        if self._own(mac).exists():
            sync_folder(self._own(mac))

    def forget(self, mac: str) -> None:
        """Throw away everything of a machine. Raises: OSError, where somebody put a file of theirs there."""
        for kind in Kind:
            self.remove(kind, mac)
        with suppress(FileNotFoundError):
            self._own(mac).rmdir()

    def has(self, mac: str) -> bool:
        """Whether a machine has any."""
        return self._own(mac).is_dir()

    def __iter__(self) -> Iterator[DiskFile]:
        """Every disk, machine by machine; what can't be read is of size 0."""
        for folder in self._folders():
            mac = format_mac(parse_mac(folder.name))
            for name, (kind, has_base) in _FILES.items():
                with suppress(FileNotFoundError):
                    used = (folder / name).stat().st_blocks * 512
                    yield DiskFile(mac, kind, has_base, _size(folder / name, has_base), used)

    def _folders(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(p for p in self.folder.iterdir() if p.is_dir() and _is_machine(p.name))

    def _own(self, mac: str) -> Path:
        return self.folder / digits_of(mac)

    def _path(self, kind: Kind, mac: str, *, has_base: bool) -> Path:
        name = next(name for name, what in _FILES.items() if what == (kind, has_base))
        return self._own(mac) / name

    def _make_folder(self, folder: Path) -> None:
        if folder.exists():
            return
        if len(self._folders()) >= self._limits.machines:
            most = self._limits.machines
            raise OSError(EDQUOT, f"{most} machines have disks, as many as limits.exports.machines allows")
        folder.mkdir(FOLDER_MODE, parents=True)
        sync_folder(folder.parent)


def _size(path: Path, has_base: bool) -> int:
    try:
        return layer_size(path, has_base=has_base)
    except StorageError:
        return 0


def _is_machine(name: str) -> bool:
    try:
        return digits_of(name) == name
    except ValueError:
        return False
