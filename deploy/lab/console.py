"""A client's serial console: the firmware's, loader's, kernel's and userspace's text, read as lines and marks."""

import re
from collections import deque
from dataclasses import dataclass
from enum import Enum

KEPT_LINES = 200  # of the console's end, to show when a boot fails; the log file has it all
MAX_LINE = 1000  # characters; firmware redraws its progress for minutes without ending the line

# Cursor moves, colours and mode switches that SeaBIOS, iPXE and OVMF send, whatever terminal listens.
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?=]*[A-Za-z]|[()][A-Z0-9]|[=>c])")
_LINE_ENDS = re.compile(r"\r\n|\n|\r")


class Mark(Enum):
    """What a client says about itself that matters to the lab."""

    LOADER = re.compile(r"PXELINUX [0-9]|NBP file downloaded successfully")  # not iPXE: it is firmware, too
    KERNEL = re.compile(r"Linux version |EFI stub: |Decompressing Linux|Loading boot/linux|linux\.\.\.")
    ROOT = re.compile(r"rootwire: ROOT-MOUNTED mode=(?P<mode>\w+) uptime=(?P<uptime>[0-9.]+)")
    GAVE_UP = re.compile(r"rootwire: FAILED: (?P<why>.*)")
    STRANDED = re.compile(r"(?P<why>No bootable device|EFI Internal Shell)")  # where SeaBIOS and OVMF end
    REFUSED = re.compile(r"error: (?P<why>bad shim signature)")  # GRUB's word for a kernel that nobody signed
    USERSPACE = re.compile(r"BOOT-USERSPACE uptime=(?P<uptime>[0-9.]+)")
    WAITING = re.compile(r"rootwire: waiting to be enrolled; asking every (?P<seconds>\d+) s")
    FLUSHED = re.compile(r"BOOT-FLUSHED md5=(?P<md5>[0-9a-f]{32})")
    CHECKSUM = re.compile(r"BOOT-CHECKSUM files=(?P<files>\d+) md5=(?P<md5>[0-9a-f]{32})")
    DONE = re.compile(r"BOOT-DONE uptime=(?P<uptime>[0-9.]+)")
    PANIC = re.compile(r"Kernel panic - not syncing: (?P<why>.*)")


@dataclass(frozen=True, slots=True)
class Sighting:
    """A mark seen on the console, with the values it carries."""

    mark: Mark
    values: dict[str, str]


class Console:
    """Takes the console's bytes as they come; keeps the last lines and reports each mark once."""

    __slots__ = ("_lines", "_partial", "_seen")

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._partial = ""
        self._seen: set[Mark] = set()

    def feed(self, data: bytes) -> list[Sighting]:
        """The marks in the lines that `data` completes, in order."""
        *whole, self._partial = _LINE_ENDS.split(self._partial + data.decode("utf-8", "replace"))
        if len(self._partial) > MAX_LINE:
            whole.append(self._partial)
            self._partial = ""
        sightings: list[Sighting] = []
        for raw in whole:
            line = clean_line(raw)
            if line:
                self._lines.append(line)
                sightings += self._sight(line)
        return sightings

    def last_lines(self, count: int) -> list[str]:
        """The last `count` lines that are not blank, an unfinished one included."""
        partial = clean_line(self._partial)
        return [*self._lines, *([partial] if partial else [])][-count:]

    def _sight(self, line: str) -> list[Sighting]:
        found = [(mark, mark.value.search(line)) for mark in Mark if mark not in self._seen]
        sightings = [Sighting(mark, match.groupdict()) for mark, match in found if match]
        self._seen.update(sighting.mark for sighting in sightings)
        return sightings


def clean_line(text: str) -> str:
    """`text` without terminal sequences, other control characters and trailing blanks."""
    plain = _ESCAPES.sub("", text)
    return "".join(c for c in plain if c == "\t" or c.isprintable()).rstrip()
