"""AoE addresses of machines' disks: given once, and the machine's until its disk is deleted; kept in a small file.

AoE has no names, only shelf.slot; a machine that were given another after a restart would find its disk gone.
"""

import json
import os
from itertools import product
from pathlib import Path

from appliance.errors import OperatorError
from appliance.exports.names import digits_of
from storage.layerfile import sync_folder

FILE = "addresses.json"
SIZE_MAX = 1 << 20  # bytes of it that are read: 4096 machines need a tenth
SHELVES = range(16, 48)  # images have those below
SLOTS = range(1, 255)
FOLDER_MODE = 0o700

Address = tuple[int, int]


class Addresses:
    """Who has which shelf.slot."""

    def __init__(self, folder: Path) -> None:
        """What is remembered in `folder`, which is made when there is something to remember.

        Raises: OperatorError when the file can't be read or is spoilt: that is no reason to give away addresses that
        machines have.
        """
        self._path = folder / FILE
        try:
            with self._path.open("rb") as file:
                self._given = _parse_table(json.loads(file.read(SIZE_MAX)))
        except FileNotFoundError:
            self._given = {}
        except (OSError, ValueError) as failure:
            remedy = "restore it, or remove it to have new addresses given"
            raise OperatorError(f"AoE addresses {self._path}: {failure}", remedy) from failure

    def get(self, mac: str) -> Address | None:
        """The address of a machine that has one."""
        return self._given.get(digits_of(mac))

    def give(self, mac: str) -> Address | None:
        """The machine's address, which it has from now on; None when there is none left.

        May wait for the disk. Raises: OSError when it can't be kept; then it is not given.
        """
        digits = digits_of(mac)
        if digits not in self._given:
            taken = set(self._given.values())
            free = next((at for at in product(SHELVES, SLOTS) if at not in taken), None)
            if free is None:
                return None
            self._save({**self._given, digits: free})
        return self._given[digits]

    def take_back(self, mac: str) -> None:
        """Let the machine's address be another's. May wait for the disk. Raises: OSError."""
        if digits_of(mac) in self._given:
            self._save({other: at for other, at in self._given.items() if other != digits_of(mac)})

    def _save(self, given: dict[str, Address]) -> None:
        self._path.parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        part = self._path.with_suffix(".part")
        with part.open("w") as file:
            json.dump(given, file, indent=0)
            file.flush()
            os.fsync(file.fileno())
        part.rename(self._path)
        sync_folder(self._path.parent)
        self._given = given


def _parse_table(rows: object) -> dict[str, Address]:
    if not isinstance(rows, dict):
        raise ValueError("is no table of machines")
    given = {digits_of(mac): _parse(row) for mac, row in rows.items()}
    if len(set(given.values())) < len(given):
        raise ValueError("gives two machines one address")
    return given


def _parse(row: object) -> Address:
    match row:
        case [int(shelf), int(slot)] if shelf in SHELVES and slot in SLOTS:
            return shelf, slot
    raise ValueError(f"has {row!r} for an address")
