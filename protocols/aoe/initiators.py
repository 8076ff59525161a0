"""Who uses which target, and what they moved, as the timeline sees it."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Initiator:
    """One machine at one target; `since` is when it was first heard, by the monotonic clock, in seconds."""

    mac: str
    shelf: int
    slot: int
    bytes_read: int
    bytes_written: int
    commands: int
    since: float

    def joined(self, other: "Initiator") -> "Initiator":
        """The sums of two accounts of the same machine at the same target."""
        return replace(
            self,
            bytes_read=self.bytes_read + other.bytes_read,
            bytes_written=self.bytes_written + other.bytes_written,
            commands=self.commands + other.commands,
            since=min(self.since, other.since),
        )
