"""What a linter has to say: where, which trap, what would happen on the client, and the mend."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from appliance.kiwi.site import Document, Site


class Level(StrEnum):
    """What follows from a finding."""

    ERROR = "error"  # not published: the client would run it, fail by it, or lose data
    WARNING = "warning"  # published, mended where the mend says so


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a trap has caught in one document; line 0 is the whole of it."""

    line: int
    level: Level
    effect: str  # on the client
    mend: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A complaint, by which trap it was found, and in which file."""

    path: str
    line: int
    trap: str
    level: Level
    effect: str
    mend: str

    @property
    def place(self) -> str:
        """FILE:LINE, or FILE alone."""
        return f"{self.path}:{self.line}" if self.line else self.path


Trap = Callable[[Document, Site], Iterator[Complaint]]


def error(line: int, effect: str, mend: str) -> Complaint:
    """Something that keeps a configuration from being published."""
    return Complaint(line, Level.ERROR, effect, mend)


def warning(line: int, effect: str, mend: str) -> Complaint:
    """Something that an operator should know, or that is mended when published."""
    return Complaint(line, Level.WARNING, effect, mend)
