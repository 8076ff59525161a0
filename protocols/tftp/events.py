"""What a TFTP server tells the rest of the appliance, and the limits it is given."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from protocols.tftp.options import MAX_BLKSIZE, WINDOW_BYTES_CEILING, WINDOWSIZE_CEILING, Ceilings
from protocols.tftp.transfer import GIVE_UP_AFTER, Outcome

Direction = Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class TransferStarted:
    """A request was accepted; `size` is the file's in bytes (of an upload: as announced, else 0)."""

    client: str
    port: int
    name: str
    direction: Direction
    size: int
    blksize: int
    windowsize: int


@dataclass(frozen=True, slots=True)
class TransferFinished:
    """A transfer ended; `size` is the payload bytes that arrived, `resent` counts datagrams."""

    client: str
    port: int
    name: str
    direction: Direction
    outcome: Outcome
    size: int
    seconds: float
    resent: int


@dataclass(frozen=True, slots=True)
class Download:
    """A read under way: `size` is the payload bytes acknowledged so far."""

    client: str
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """A request was answered with ERROR."""

    client: str
    name: str
    code: int
    message: str


TftpEvent = TransferStarted | TransferFinished | RequestRefused
Report = Callable[[TftpEvent], None]


@dataclass(frozen=True, slots=True)
class TftpLimits:
    """Everything that is bounded; a request past a bound is told to try again."""

    transfers: int = 2000  # a school switched on at once, twice; each costs two descriptors and up to window_bytes
    transfers_per_client: int = 64  # one address may be a NAT with a room behind it, or a program gone wild
    blksize: int = MAX_BLKSIZE  # no cap: see Ceilings
    windowsize: int = WINDOWSIZE_CEILING
    window_bytes: int = WINDOW_BYTES_CEILING
    give_up_after: float = GIVE_UP_AFTER  # seconds without progress

    def ceilings(self) -> Ceilings:
        """The part that option negotiation is bound by."""
        return Ceilings(self.blksize, self.windowsize, self.window_bytes)
