"""What the native pump tells the endpoint, in batches: values only."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sums:
    """What one client has done so far; `unsent` bytes of replies wait for it to read."""

    bytes_read: int
    bytes_written: int
    requests: int
    unsent: int


@dataclass(frozen=True, slots=True)
class Closed:
    """A client is gone; `seat` is no more. `reason` is as in ExportClosed."""

    seat: int
    reason: str
    sums: Sums


@dataclass(frozen=True, slots=True)
class Failed:
    """A command failed with the system's `errno`; its client was told."""

    seat: int
    offset: int
    errno: int


@dataclass(frozen=True, slots=True)
class StatusAsked:
    """A BLOCK_STATUS of a valid range: hand the whole reply to `NbdPump.answer`, once."""

    seat: int
    flags: int
    cookie: int
    offset: int
    length: int


PumpEvent = Closed | Failed | StatusAsked
