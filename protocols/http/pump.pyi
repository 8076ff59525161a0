"""The native data path of HTTP: the bodies of many responses, by sendfile, in a thread of their own."""

from protocols.http.pumped import Ended
from protocols.pump import Pump
from storage.image import Image
from storage.workers import Workers

class HttpPump(Pump):
    """Sends ranges of images to sockets that are lent to it; tells of each by one `Ended`.

    A client that takes nothing in for `stall` seconds (above 0, up to a year) is ended.
    """

    def __init__(self, *, workers: Workers, stall: float) -> None: ...
    def send(self, fd: int, image: Image, offset: int, length: int) -> int:
        """Begin to send `length` bytes (1 or more) of `image` at `offset` to the connected stream socket `fd`.

        The pump uses a descriptor of its own, so `fd` stays the caller's, who neither reads, writes nor shuts the
        socket until Ended names the number returned. Raises: ValueError for a range that leaves the image, for a
        socket that blocks, and once closed; OSError as dup and epoll do.
        """
    def stop(self, number: int) -> None:
        """End a body: when this returns nothing more of it will be sent. Nothing if it is over; Ended comes as ever."""
    def progress(self) -> dict[int, int]:
        """How many bytes of every body under way the sockets have taken, by number."""
    def events(self) -> list[Ended]: ...
    def close(self) -> list[Ended]: ...
    def run(self, milliseconds: int) -> list[Ended]: ...
