"""The flows that machines were moved to, on disk: a small file in the boot tree."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from appliance.names import STATE
from appliance.quirks.model import FlowName
from appliance.section import MacText
from appliance.statefile import StateFile

FILE = "flows.json"
SIZE_MAX = 2 << 20  # bytes of it that are read: 4096 machines take a third


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


class FlowMemory(StateFile[dict[MacText, Tried]]):
    """What was tried, by MAC."""

    def __init__(self, root: Path) -> None:
        """`root` is the boot tree's folder."""
        super().__init__(root / STATE / FILE, _ROWS, most=SIZE_MAX)
