"""What the room tells the timeline."""

from collections.abc import Callable
from dataclasses import dataclass

from storage.trace import Trace


@dataclass(frozen=True, slots=True)
class TargetIdentified:
    """A machine's driver has found a target: an IDENTIFY that is no repeat of the one before."""

    mac: str
    shelf: int
    slot: int


@dataclass(frozen=True, slots=True)
class InitiatorAsked:
    """A machine's configuration query was answered by a target."""

    mac: str
    shelf: int
    slot: int


Event = TargetIdentified | InitiatorAsked
TraceReads = Callable[[str, int, int], Trace | None]  # (MAC, shelf, slot): where its reads are to be noted, if anywhere
