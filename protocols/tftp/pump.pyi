"""The native data path of TFTP's read transfers: many sockets and all their timers behind one epoll descriptor."""

import socket

from protocols.pump import Pump
from protocols.tftp.admission import Address
from protocols.tftp.options import Terms
from protocols.tftp.pumped import Ended
from storage.image import Image
from storage.workers import Workers

class TftpPump(Pump):
    """Sends files to the clients it was given, in octet mode."""

    def __init__(self, *, workers: Workers) -> None: ...
    def adopt(self, sock: socket.socket, peer: Address, image: Image, terms: Terms, give_up_after: float) -> int:
        """Take over a transfer's own socket, and send its first answer; its seat, by which events name it.

        `sock` is bound, not connected and does not block; it is detached. `give_up_after` is in seconds.
        Raises: ValueError for impossible terms or once closed, OSError as epoll does; the socket then stays the
        caller's.
        """
    def repeat(self, number: int) -> bool:
        """The client's request came again: answer again, or know it for a late duplicate; False if it began anew."""
    def abandon(self, number: int) -> Ended | None:
        """The client began something else: end without a word. The end, which is told only here; None if it is over."""
    def sizes(self) -> dict[int, int]:
        """Payload bytes that each living transfer's client acknowledged, by seat."""
