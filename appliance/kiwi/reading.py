"""Client configurations read as data: what a client's shell would make of every line, and which lines are safe.

A client does not read its configuration, it runs it (KIWI linuxrc, importFile). Line by line: empty ones and comments
are dropped; quotes around a value are taken off, up to the last one of the line; every backslash before a character
goes; what is KEY=REST then is quoted again, and everything is given to bash. So a line that is no assignment at
column 1 is run by root, and what a quote in it opens swallows what follows. Nothing is run here.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

CONFIG_MAX = 64 << 10  # bytes of a configuration that are read; the longest seen in the field have two thousand

_QUOTED = re.compile(r"""([A-Za-z0-9_]+=)["'](.*)["']""")
_ESCAPED = re.compile(r"\\(.)")
_ASSIGNED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_SAFE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*='[^'\\\x00-\x1f\x7f]*'")


@dataclass(frozen=True, slots=True)
class Line:
    """One line that a client heeds: `number` from 1, its text, and the assignment it makes; no key: it is run."""

    number: int
    text: str
    key: str | None = None
    value: str = ""

    @property
    def is_code(self) -> bool:
        """Whether the client would execute it as root."""
        return self.key is None

    @property
    def is_safe(self) -> bool:
        """Whether it is in the one grammar that every version of the client reads as it is meant."""
        return _SAFE.fullmatch(self.text) is not None

    @property
    def spoils_rest(self) -> bool:
        """Whether it may leave a quote open, by which the values after it are lost or run."""
        return self.is_code and any(quote in self.text for quote in "'\"`")


def read_lines(config: bytes) -> list[Line]:
    """The lines of a configuration that a client heeds, as its importFile would take each.

    Raises: ValueError when it is longer than CONFIG_MAX.
    """
    if len(config) > CONFIG_MAX:
        raise ValueError(f"is longer than {CONFIG_MAX} bytes")
    rows = enumerate(config.decode(errors="replace").split("\n"), 1)
    return [
        _read_line(number, row) for number, row in rows if row.strip(" \t") and not row.lstrip(" \t").startswith("#")
    ]


def _read_line(number: int, row: str) -> Line:
    found = _ASSIGNED.fullmatch(_ESCAPED.sub(r"\1", _QUOTED.sub(r"\1\2", row, count=1) if _QUOTED.match(row) else row))
    return Line(number, row) if found is None else Line(number, row, found[1], found[2])


def assignments(lines: Iterable[Line]) -> dict[str, str]:
    """What the client has read in the end: the last value of each key, up to a line that spoils the rest."""
    values: dict[str, str] = {}
    for line in lines:
        if line.spoils_rest:
            break
        if line.key is not None:
            values[line.key] = line.value
    return values
