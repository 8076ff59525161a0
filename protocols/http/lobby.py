"""How many connections there may be: the limits, and who is inside (no I/O)."""

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What one client, and all of them, may hold; sizes in bytes, times in seconds."""

    connections: int = 1024  # a thousand machines booting at once, each fetching one file
    connections_per_client: int = 64  # one address must not lock out the others; a browser opens 6, curl -Z 50
    retry_after: int = 5  # what a client turned away is told to wait: iPXE and curl honour it (quirks I-6)
    turn_away: float = 5.0  # in which a client turned away has to take its answer
    idle: float = 150.0  # without a whole request; longer than the clients' own 120 s watchdogs, so they end it first
    stall: float = 150.0  # a client that takes nothing in for so long is gone, for the same reason
    upload: float = 120.0  # for a whole upload: 4 MiB at 35 KB/s
    line: int = 4096  # bytes of a request line: the longest boot path, percent-encoded, is far below
    field: int = 4096  # bytes of one header field
    fields: int = 64  # header fields of one request: curl sends 4, a browser 15


class Lobby:
    """Open connections by client address; bounded by `HttpLimits.connections`, and nobody inside is evicted.

    Evicting would end a download that others merely wait for; who finds no room comes again.
    """

    __slots__ = ("_inside", "_leaving", "_limits")

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._inside: Counter[str] = Counter()
        self._leaving = 0

    def enter(self, client: str) -> bool:
        """Count a connection in, if there is room for it."""
        limits = self._limits
        if self._inside[client] >= limits.connections_per_client or self._inside.total() >= limits.connections:
            return False
        self._inside[client] += 1
        return True

    def leave(self, client: str) -> None:
        """Count a connection out that had entered, and forget a client with its last one."""
        self._inside[client] -= 1
        if self._inside[client] == 0:
            del self._inside[client]

    def start_refusal(self) -> bool:
        """Count a connection that is to be told to come again, if not too many are being told so already."""
        if self._leaving >= self._limits.connections:
            return False
        self._leaving += 1
        return True

    def end_refusal(self) -> None:
        """Count out a connection that was being told to come again."""
        self._leaving -= 1
