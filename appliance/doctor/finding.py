"""One thing the doctor has to say."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is: an error keeps machines from booting, a warning some of them or at times."""

    ERROR = "error"
    WARNING = "warning"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and what to do about it: nothing where it is as it must be."""

    subject: str
    level: Level
    text: str
    remedy: str = ""


def ok(subject: str, text: str) -> Finding:
    """As it must be."""
    return Finding(subject, Level.OK, text)


def warning(subject: str, text: str, remedy: str) -> Finding:
    """Some machines will not boot, or not always."""
    return Finding(subject, Level.WARNING, text, remedy)


def error(subject: str, text: str, remedy: str) -> Finding:
    """Machines will not boot."""
    return Finding(subject, Level.ERROR, text, remedy)
