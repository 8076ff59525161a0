"""Who uses which target, and what they moved: a bounded table with the quietest forgotten first."""

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Initiator:
    """One machine at one target; `since` is when it was first heard, by the caller's clock, in seconds."""

    mac: str
    shelf: int
    slot: int
    bytes_read: int
    bytes_written: int
    commands: int
    since: float


class Account:
    """The running totals behind one Initiator."""

    __slots__ = ("bytes_read", "bytes_written", "commands", "is_identified", "since")

    def __init__(self, now: float) -> None:
        self.bytes_read = 0
        self.bytes_written = 0
        self.commands = 0
        self.is_identified = False
        self.since = now

    def note_identify(self) -> bool:
        """Count an IDENTIFY; whether it is a new one, that is, not a repeat straight after another.

        The Linux driver sends one for every configuration response while nobody holds the device open, so an
        advertisement or its query of each minute brings rows of them.
        """
        is_new = not self.is_identified
        self.is_identified = True
        self.commands += 1
        return is_new

    def note_query(self) -> None:
        """A configuration query: a driver that was loaded anew asks so, and the IDENTIFY behind it is new."""
        self.is_identified = False

    def note_command(self, *, read: int = 0, written: int = 0) -> None:
        """Count any other ATA command with the bytes it asked to move."""
        self.is_identified = False
        self.commands += 1
        self.bytes_read += read
        self.bytes_written += written


class InitiatorTable:
    """Accounts by machine and target, at most `limit`; past that, the one that was silent the longest is forgotten."""

    __slots__ = ("_accounts", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._accounts: OrderedDict[tuple[str, int, int], Account] = OrderedDict()

    def touch(self, mac: str, shelf: int, slot: int, now: float) -> Account:
        """The account of a machine at a target, opened at `now` when there is none."""
        key = (mac, shelf, slot)
        account = self._accounts.get(key)
        if account is not None:
            self._accounts.move_to_end(key)
            return account
        if len(self._accounts) >= self._limit:
            self._accounts.popitem(last=False)
        account = self._accounts[key] = Account(now)
        return account

    def forget(self, shelf: int, slot: int) -> None:
        """Drop all accounts of a target that was removed."""
        for key in [key for key in self._accounts if key[1:] == (shelf, slot)]:
            del self._accounts[key]

    def snapshot(self) -> list[Initiator]:
        """Every machine that has sent a target an ATA command, the quietest first."""
        return [
            Initiator(*key, account.bytes_read, account.bytes_written, account.commands, account.since)
            for key, account in self._accounts.items()
            if account.commands
        ]
