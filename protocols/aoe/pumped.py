"""What the native pump tells the endpoint, in batches: values only."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FrameCame:
    """A frame that is Python's to answer: anything but an ATA command other than IDENTIFY to a target of ours."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class CommandBegan:
    """A machine's first ATA command at a target, or the first since `AoePump.await_command`; no IDENTIFY."""

    mac: str
    shelf: int
    slot: int


@dataclass(frozen=True, slots=True)
class ImageFailed:
    """A target's image failed with the system's `errno`, for the first time; its initiator was told."""

    shelf: int
    slot: int
    errno: int


PumpEvent = FrameCame | CommandBegan | ImageFailed
