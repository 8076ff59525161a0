"""Time for what is given a clock to go by."""

from dataclasses import dataclass


@dataclass
class Clock:
    """Seconds that pass only when told."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now
