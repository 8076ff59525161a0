"""What an NBD server asks of its owner's policy, and reports to whoever keeps the story of each boot."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from storage.image import Image
from storage.trace import Trace


@dataclass(frozen=True, slots=True)
class ExportOpened:
    """A client's connection entered transmission."""

    client: str
    port: int
    export: str


@dataclass(frozen=True, slots=True)
class ExportClosed:
    """A connection that was in transmission is gone."""

    client: str
    port: int
    export: str
    bytes_read: int
    bytes_written: int
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class ExportRefused:
    """A client asked for an export that it can't have."""

    client: str
    export: str
    message: str


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection in transmission, at one moment; `since` is in seconds since the epoch."""

    client: str
    port: int
    export: str
    bytes_read: int
    bytes_written: int
    requests: int
    since: float


NbdEvent = ExportOpened | ExportClosed | ExportRefused
Find = Callable[[str, str], Awaitable[Image]]  # (export, client); raises FileNotFoundError or PermissionError
Names = Callable[[str], list[str]]  # (client): the exports it may see
Report = Callable[[NbdEvent], None]
TraceReads = Callable[[str, str], Trace | None]  # (export, client): where its reads are to be noted, if anywhere
