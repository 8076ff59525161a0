"""Who uses which target, as C: accounts by machine and target, bounded, the quietest forgotten first."""

from protocols.aoe.initiators import Initiator
from storage.trace import Trace

class Ledger:
    """Accounts by machine and target, at most `limit`; past that, the one that was silent the longest is forgotten.

    A pump counts commands in it without Python. MACs are text; `now` is the time in seconds at which an account that
    is new was first heard. Raises: ValueError for a limit that is not 1 to 2**24.
    """

    def __init__(self, limit: int) -> None: ...
    def note_command(self, mac: str, shelf: int, slot: int, now: float, *, read: int = 0, written: int = 0) -> None:
        """Count any ATA command but IDENTIFY, with the bytes it asked to move."""
    def note_identify(self, mac: str, shelf: int, slot: int, now: float) -> bool:
        """Count an IDENTIFY; whether it is a new one, that is, not a repeat straight after another.

        The Linux driver sends one for every configuration response while nobody holds the device open, so an
        advertisement or its query of each minute brings rows of them.
        """
    def note_query(self, mac: str, shelf: int, slot: int, now: float) -> None:
        """A configuration query: a driver that was loaded anew asks so, and the IDENTIFY behind it is new."""
    def trace(self, mac: str, shelf: int, slot: int, now: float, trace: Trace) -> None:
        """Have this machine's reads at a target noted in `trace` until that is ended, and in none before it."""
    def await_command(self, mac: str) -> None:
        """Have the pump tell of this machine's next command at each target, as it does of the first ever."""
    def forget(self, shelf: int, slot: int) -> None:
        """Drop all accounts of a target that was removed."""
    def snapshot(self) -> list[Initiator]:
        """Every machine that has sent a target an ATA command, the quietest first."""
