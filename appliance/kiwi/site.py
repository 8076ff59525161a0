"""The KIWI side of a boot tree on disk: which configurations there are, for whom, and whether what they name is there.

Nothing outside the tree is looked at, whatever a configuration names.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from appliance.images.identity import identify
from appliance.images.memory import Memory, Sums
from appliance.kiwi.names import CONFIG_PREFIX, DEFAULT, FOLDER, GROUPS, MAP_PREFIX, mac_asked_for, split_name
from appliance.kiwi.reading import CONFIG_MAX, Line, assignments, read_lines
from appliance.names import normalise

CONFIGS_MAX = 10_000  # files of KIWI/ that are looked at: a school of ten thousand machines


@dataclass(frozen=True)
class Document:
    """One configuration: its path from the root, the lines that a client heeds, and what it has read in the end."""

    path: str
    lines: tuple[Line, ...]
    values: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, path: str, content: bytes) -> "Document":
        """Raises: ValueError when the content is longer than any configuration."""
        lines = tuple(read_lines(content))
        return cls(path, lines, assignments(lines))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {line.key: line.number for line in self.lines if line.key is not None}

    def line_of(self, key: str) -> int:
        """The line whose value of a key holds; 0 where the key is absent."""
        return self._numbers.get(key, 0)

    def entries(self, key: str, separator: str = ";") -> list[list[str]]:
        """The entries of a list by their fields, empty ones kept, quotes and blanks around them gone."""
        written = [entry for entry in self.values.get(key, "").split(",") if entry.strip("'\" \t\r")]
        return [[word.strip("'\" \t\r") for word in entry.split(separator)] for entry in written]


def read_document(place: Path, path: str) -> Document | None:
    """The file at `place` as the configuration called `path`. Raises: as Site.read."""
    with place.open("rb") as file:
        content = file.read(CONFIG_MAX + 1)
    return Document.parse(path, content) if content else None


class Site:
    """A boot tree's folder, as a server of it would find things."""

    def __init__(self, root: Path) -> None:
        """`root` is the boot tree's folder."""
        self.root = root.resolve()

    def find(self, path: str) -> Path | None:
        """The file that clients would be given under a name; an image called NAME-0 may be there as NAME."""
        try:
            place = self._inside(normalise(path))
        except (PermissionError, FileNotFoundError):
            return None
        unversioned, version = split_name(path)
        return place or (self._inside(unversioned) if version == "0" and path.startswith("image/") else None)

    def _inside(self, path: str) -> Path | None:
        place = Path(os.path.realpath(self.root / path))
        # os.path's: to Path a name too long for the file system is an error, and clients may ask for one
        return place if place.is_relative_to(self.root) and os.path.isfile(place) else None  # noqa: PTH113

    def read(self, path: str) -> Document | None:
        """A configuration by its path from the root; None where there is none: an empty file counts as none.

        Raises: OSError when it can't be read, ValueError when it is longer than any configuration.
        """
        place = self.find(path)
        return None if place is None else read_document(place, path)

    def configs(self) -> list[str]:
        """The paths of all files in KIWI/ that clients may ask for, in the order of their names."""
        folder = self.root / FOLDER
        if not folder.is_dir():
            return []
        names = sorted(f"{FOLDER}/{place.name}" for place in folder.iterdir() if place.is_file())
        return [name for name in names if name.startswith((CONFIG_PREFIX, MAP_PREFIX))][:CONFIGS_MAX]

    def own_configs(self) -> dict[str, str]:
        """The paths of machines' own files by MAC, in whatever spelling; the one with colons comes before others."""
        written = [(mac, path) for path in self.configs() if (mac := mac_asked_for(path)) is not None]
        written.sort(key=lambda one: (one[1] != f"{CONFIG_PREFIX}{one[0].upper()}", one[1]), reverse=True)
        return dict(written)  # of several, the last holds

    def own_config(self, mac: str) -> str | None:
        """The path of a machine's own file."""
        return self.own_configs().get(mac)

    def sums_of(self, place: Path) -> Sums | None:
        """The checksums of an image, if the appliance has made them of the file that is there now. Raises: OSError."""
        content, sums = Memory(self.root).load().get(place.name, (None, None))
        return sums if content is not None and content == identify(place) else None

    def groups(self) -> Document | None:
        """The file that says who is in which group. Raises: as read does."""
        return self.read(GROUPS)

    def default(self) -> Document | None:
        """The file for whoever has no other. Raises: as read does."""
        return self.read(DEFAULT)
