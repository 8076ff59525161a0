"""AoE addresses of machines' disks: given once, and the machine's until its disk is deleted; kept in a small file.

AoE has no names, only shelf.slot; a machine that were given another after a restart would find its disk gone.
"""

from itertools import product
from pathlib import Path

from pydantic import TypeAdapter

from appliance.errors import OperatorError
from appliance.exports.names import digits_of
from appliance.statefile import StateFile, reason_of

FILE = "addresses.json"
SIZE_MAX = 1 << 20  # bytes of it that are read: 4096 machines need a tenth
SHELVES = range(16, 48)  # images have those below
SLOTS = range(1, 255)
FOLDER_MODE = 0o700

Address = tuple[int, int]

_ROWS = TypeAdapter(dict[str, Address])


class Addresses:
    """Who has which shelf.slot."""

    def __init__(self, folder: Path) -> None:
        """What is remembered in `folder`, which is made when there is something to remember.

        Raises: OperatorError when the file can't be read or is spoilt: that is no reason to give away addresses that
        machines have.
        """
        self._folder = folder
        self._file = StateFile(folder / FILE, _ROWS, most=SIZE_MAX)
        try:
            self._given = _parse_table(self._file.read() or {})
        except (OSError, ValueError) as failure:
            remedy = "restore it, or remove it to have new addresses given"
            raise OperatorError(f"AoE addresses {folder / FILE}: {reason_of(failure)}", remedy) from failure

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
        self._folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        self._file.write(given)
        self._given = given


def _parse_table(rows: dict[str, Address]) -> dict[str, Address]:
    given = {digits_of(mac): _require_address(at) for mac, at in rows.items()}
    if len(set(given.values())) < len(given):
        raise ValueError("gives two machines one address")
    return given


def _require_address(at: Address) -> Address:
    shelf, slot = at
    if shelf not in SHELVES or slot not in SLOTS:
        raise ValueError(f"has {shelf}.{slot} for an address")
    return at
