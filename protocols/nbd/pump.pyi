"""The native data path of NBD: many clients' transmission behind one epoll descriptor."""

import socket

from protocols.nbd.handshake import Agreement
from protocols.nbd.limits import NbdLimits
from protocols.nbd.pumped import PumpEvent, Sums
from storage.image import Image
from storage.workers import Workers

class NbdPump:
    """Serves adopted clients whenever `run` is called; watch `fileno()` for reading and call it then.

    Not for more than one thread at a time.
    """

    def __init__(self, limits: NbdLimits, workers: Workers) -> None: ...
    def fileno(self) -> int: ...
    def adopt(self, sock: socket.socket, image: Image, agreement: Agreement, first_bytes: bytes) -> int:
        """Take over a connected stream socket at the start of transmission; its seat, by which events name it.

        `sock` is detached; `first_bytes` is what the client already sent of transmission, at most 256 KiB.
        Raises: ValueError for more of it or once closed, OSError as epoll does; then the socket stays the caller's.
        """
    def run(self) -> list[PumpEvent]:
        """Serve one batch of ready clients without the GIL, some milliseconds at most. Raises: ValueError if closed."""
    def answer(self, seat: int, reply: bytes) -> None:
        """Send the reply to a StatusAsked; nothing when its client is gone."""
    def connections(self) -> dict[int, Sums]:
        """What every living client has done, by seat."""
    def close(self) -> list[PumpEvent]:
        """End every client, wait for the workers to be done with them, and tell of it. A second call is nothing."""
