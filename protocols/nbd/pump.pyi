"""The native data path of NBD: many clients' transmission behind one epoll descriptor."""

import socket

from protocols.nbd.handshake import Agreement
from protocols.nbd.limits import NbdLimits
from protocols.nbd.pumped import PumpEvent, Sums
from protocols.pump import Pump
from storage.image import Image
from storage.trace import Trace
from storage.workers import Workers

class NbdPump(Pump):
    """Serves adopted clients."""

    def __init__(self, limits: NbdLimits, *, workers: Workers) -> None: ...
    def run(self, milliseconds: int) -> list[PumpEvent]: ...
    def events(self) -> list[PumpEvent]: ...
    def close(self) -> list[PumpEvent]: ...
    def adopt(
        self,
        sock: socket.socket,
        image: Image,
        agreement: Agreement,
        first_bytes: bytes,
        trace: Trace | None = None,
    ) -> int:
        """Take over a connected stream socket at the start of transmission; its seat, by which events name it.

        `sock` is detached; `first_bytes` is what the client already sent of transmission, at most 256 KiB. Its reads
        are noted in `trace` until that is ended.
        Raises: ValueError for more of it or once closed, OSError as epoll does; then the socket stays the caller's.
        """
    def answer(self, number: int, reply: bytes) -> None:
        """Send the reply to a StatusAsked to the seat of that number; nothing when its client is gone."""
    def connections(self) -> dict[int, Sums]:
        """What every living client has done, by seat."""
