"""What one client reads of one image: noted by a pump without the GIL, looked at by Python at any time."""

from typing import Any

_Run = tuple[int, int, int, int]
"""Reads that followed each other without a gap, at most 1 MiB of them: offset and length in bytes, nanoseconds from
the trace's beginning to the first of them, and how many they were."""

class Trace:
    """Room for `most` runs (1 or more, 24 bytes each, taken as they come); what finds no room is counted.

    Raises: ValueError when `most` is 0.
    """

    def __init__(self, most: int) -> None: ...
    def __len__(self) -> int:
        """How many runs it has."""
    @property
    def is_over(self) -> bool:
        """Whether it was ended, so that whoever holds it for a pump may let go of it."""
    @property
    def dropped(self) -> int:
        """Reads that found no room."""
    def note(self, offset: int, length: int) -> None:
        """Note a read of `length` bytes (below 4 GiB) at `offset`, now: what pumps do, in a form tests can call."""
    def runs(self) -> list[_Run]:
        """Everything noted so far, in the order it came. Raises: MemoryError."""
    def end(self) -> None:
        """Note nothing any more, and give the memory back."""

__test__: dict[str, Any]
