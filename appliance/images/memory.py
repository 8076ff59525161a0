"""What is remembered of images across restarts: a small file in the boot tree, by what each image's file was."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from appliance.images.identity import Identity
from appliance.names import STATE

FILE = "checksums.json"
SIZE_MAX = 1 << 20  # bytes of it that are read: 255 images need a tenth

_HEX = re.compile(r"[0-9a-f]+")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sums:
    """An image's checksums, as hex digits, and its bytes: of a compressed one those that it unpacks to."""

    md5: str
    sha256: str
    unpacked: int


class Memory:
    """The checksums on disk. A tree that can't be written to is one that forgets, which is said once."""

    def __init__(self, root: Path) -> None:
        """`root` is the boot tree's folder."""
        self._path = root / STATE / FILE
        self._is_refused = False

    def load(self) -> dict[str, tuple[Identity, Sums]]:
        """What is remembered, by image; nothing where the file is absent or spoilt."""
        try:
            with self._path.open("rb") as file:
                rows = json.loads(file.read(SIZE_MAX))
            return {str(name): _parse(row) for name, row in rows.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as failure:
            log.warning("checksums_unreadable", path=str(self._path), reason=str(failure))
            return {}

    def save(self, known: Mapping[str, tuple[Identity, Sums]]) -> None:
        """Remember these, and nothing else."""
        rows = {name: asdict(identity) | asdict(sums) for name, (identity, sums) in known.items()}
        part = self._path.with_suffix(".part")
        try:
            self._path.parent.mkdir(exist_ok=True)
            part.write_text(json.dumps(rows))
            part.rename(self._path)
        except OSError as failure:
            if not self._is_refused:
                log.warning("checksums_not_kept", path=str(self._path), reason=str(failure))
            self._is_refused = True


def _parse(row: Mapping[str, object]) -> tuple[Identity, Sums]:
    """Raises: ValueError, TypeError or KeyError for what `save` did not write."""
    # Rows of an appliance that summed no compressed images don't say what they unpack to.
    numbers = [row["inode"], row["size"], row["changed"], row.get("unpacked", row["size"])]
    texts = [row["md5"], row["sha256"]]
    inode, size, changed, unpacked = (number for number in numbers if isinstance(number, int))
    md5, sha256 = (text for text in texts if isinstance(text, str) and _HEX.fullmatch(text))
    if (len(md5), len(sha256)) != (32, 64):
        raise ValueError("a checksum of another length")
    return Identity(inode, size, changed), Sums(md5, sha256, unpacked)
