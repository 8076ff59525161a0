"""Native pumps: each a thread of its own that sleeps on one epoll descriptor and serves batches without the GIL."""

from typing import Any

class Pump:
    """The base of every room's pump, which says what its events are.

    Either `start` gives it a thread, or `run` is called again and again; never both.
    """

    def start(self) -> None:
        """Give the pump its thread, which ends with `close`.

        Raises: ValueError when it has one or is closed, OSError as pthread_create does.
        """
    def run(self, milliseconds: int) -> list[Any]:
        """Without a thread: wait that long for something to do (-1: forever), serve one batch, and tell of it.

        Raises: ValueError when the pump has a thread or is closed.
        """
    def fileno(self) -> int:
        """A descriptor that is readable when there is something to tell. Raises: ValueError if closed."""
    def events(self) -> list[Any]:
        """What happened since the last call, in order. Raises: ValueError if closed."""
    def close(self) -> list[Any]:
        """End every client, wait for the workers to be done with them, and tell of it. A second call is nothing."""
