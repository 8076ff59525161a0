"""The native data path of AoE: ATA reads, writes and flushes from a packet socket to images and back."""

import socket

from protocols.aoe.initiators import Initiator
from protocols.aoe.limits import AoeLimits
from protocols.aoe.pumped import PumpEvent
from protocols.pump import Pump
from storage.image import Image
from storage.trace import Trace
from storage.workers import Workers

class AoePump(Pump):
    """Answers ATA commands at its targets, and hands every other frame to Python.

    MACs are text where a machine is named, and six bytes in lists. Every method raises ValueError once closed.
    """

    def __init__(self, limits: AoeLimits, *, workers: Workers) -> None: ...
    def listen(self, sock: socket.socket, out: socket.socket) -> None:
        """Receive by a bound packet socket from now on, and no longer by the one before; send by another one.

        Both are detached. Raises: OSError as setsockopt, mmap and epoll do; then the sockets stay the caller's.
        """
    def fit(self, mac: bytes, frame_sectors: int) -> None:
        """Answer from this MAC, and up to so many sectors (1 to 255) a frame; nothing is answered before."""
    def add(self, shelf: int, slot: int, image: Image, sectors: int) -> None:
        """Answer for a target of that many sectors. Raises: ValueError when it is there already, or the image less."""
    def admit(self, shelf: int, slot: int, mask: list[bytes], reserved: list[bytes]) -> None:
        """Who sees a target and whom it is reserved for; none: everyone, and nobody.

        Raises: KeyError when there is no such target, ValueError for a list of more than 255.
        """
    def remove(self, shelf: int, slot: int) -> None:
        """Answer for a target no longer, and drop its accounts. Raises: KeyError when there is none."""
    def note_identify(self, mac: str, shelf: int, slot: int) -> bool:
        """As `Ledger.note_identify`, now."""
    def note_query(self, mac: str, shelf: int, slot: int) -> None:
        """As `Ledger.note_query`, now."""
    def trace(self, mac: str, shelf: int, slot: int, trace: Trace) -> None:
        """As `Ledger.trace`, now."""
    def await_command(self, mac: str) -> None:
        """As `Ledger.await_command`."""
    def initiators(self) -> list[Initiator]:
        """As `Ledger.snapshot`."""
    def counts(self) -> dict[str, int]:
        """What was counted since the last call, by name, without zeros."""
    def events(self) -> list[PumpEvent]: ...
    def run(self, milliseconds: int) -> list[PumpEvent]: ...
    def close(self) -> list[PumpEvent]: ...
