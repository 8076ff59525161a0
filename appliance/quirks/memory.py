"""The flows that machines were moved to, on disk: a small file in the boot tree."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import TypeAdapter, ValidationError

from appliance.names import STATE
from appliance.quirks.model import FlowName
from appliance.section import MacText

FILE = "flows.json"
SIZE_MAX = 2 << 20  # bytes of it that are read: 4096 machines take a third

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Tried:
    """The present flow of a machine, the one it began with, and how that went."""

    flow: FlowName
    first: FlowName
    architecture: int | None  # of the firmware that it was tried with
    at: float = 0.0  # unix time of the change
    is_proven: bool = False  # it fetched a file
    is_exhausted: bool = False  # it took none of them

    @property
    def is_worth_keeping(self) -> bool:
        """Whether it is more than what a machine begins with anyway."""
        return self.flow != self.first or self.is_exhausted


_ROWS = TypeAdapter(dict[MacText, Tried])


class FlowMemory:
    """Reads and writes them. A tree that can't be written to is one that forgets, which is said once."""

    def __init__(self, root: Path) -> None:
        """`root` is the boot tree's folder."""
        self._path = root / STATE / FILE
        self._is_refused = False

    def load(self) -> dict[str, Tried]:
        """What is remembered, by MAC; nothing where the file is absent or spoilt."""
        try:
            with self._path.open("rb") as file:
                return _ROWS.validate_json(file.read(SIZE_MAX))
        except FileNotFoundError:
            return {}
        except (OSError, ValidationError) as failure:
            log.warning("flows_unreadable", path=str(self._path), reason=str(failure))
            return {}

    def save(self, tried: Mapping[str, Tried]) -> None:
        """Remember these, and nothing else."""
        part = self._path.with_suffix(".part")
        try:
            self._path.parent.mkdir(exist_ok=True)
            part.write_bytes(_ROWS.dump_json(dict(tried)))
            part.rename(self._path)
        except OSError as failure:
            if not self._is_refused:
                log.warning("flows_not_kept", path=str(self._path), reason=str(failure))
            self._is_refused = True
