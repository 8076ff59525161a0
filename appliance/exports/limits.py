"""What bounds machines' disks."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExportLimits:
    """What bounds machines' disks."""

    machines: int = 4096  # that have any; one more gets none, and nobody loses theirs
