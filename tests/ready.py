"""Waiting for a descriptor of any number: select(2) takes none beyond 1,023, and a run of all tests has more open."""

import select
from typing import Protocol


class HasFileno(Protocol):
    """A socket, a pipe's end, a file."""

    def fileno(self) -> int:
        """Its descriptor."""
        ...


def is_readable(source: int | HasFileno, seconds: float) -> bool:
    """Whether there is something to be read, an end or an error among it, within so many seconds."""
    return bool(poll(source, select.POLLIN, seconds))


def poll(source: int | HasFileno, events: int, seconds: float) -> int:
    """Which of `events` (select.POLLIN, POLLOUT), or an end or an error beside them, came; 0 when none did in time."""
    polled = select.poll()
    polled.register(source, events)
    found = polled.poll(seconds * 1000)
    return found[0][1] if found else 0
