"""What is remembered of images across restarts: a small file in the boot tree, by what each image's file was."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from appliance.images.identity import Identity
from appliance.names import STATE
from appliance.statefile import StateFile

FILE = "checksums.json"
SIZE_MAX = 1 << 20  # bytes of it that are read: 255 images need a tenth


@dataclass(frozen=True, slots=True)
class Sums:
    """An image's checksums, as hex digits, and its bytes: of a compressed one those that it unpacks to."""

    md5: str
    sha256: str
    unpacked: int


class _Row(TypedDict):
    inode: int
    size: int
    changed: int
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    unpacked: NotRequired[int]  # an appliance that summed no compressed images didn't say


class Memory:
    """The checksums on disk."""

    def __init__(self, root: Path) -> None:
        """`root` is the boot tree's folder."""
        self._file = StateFile(root / STATE / FILE, TypeAdapter(dict[str, _Row]), most=SIZE_MAX)

    def load(self) -> dict[str, tuple[Identity, Sums]]:
        """What is remembered, by image; nothing where the file is absent or spoilt."""
        return {name: _parse(row) for name, row in self._file.recall({}).items()}

    def save(self, known: Mapping[str, tuple[Identity, Sums]]) -> None:
        """Remember these, and nothing else. A tree that can't be written to is one that forgets."""
        self._file.remember({name: _row(*one) for name, one in known.items()})


def _row(content: Identity, sums: Sums) -> _Row:
    return {
        "inode": content.inode,
        "size": content.size,
        "changed": content.changed,
        "md5": sums.md5,
        "sha256": sums.sha256,
        "unpacked": sums.unpacked,
    }


def _parse(row: _Row) -> tuple[Identity, Sums]:
    content = Identity(row["inode"], row["size"], row["changed"])
    return content, Sums(row["md5"], row["sha256"], row.get("unpacked", row["size"]))
