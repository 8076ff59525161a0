"""What the room tells the timeline."""

from dataclasses import dataclass


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
