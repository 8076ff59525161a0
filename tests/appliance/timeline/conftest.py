"""A timeline, and the clock that it goes by."""

from dataclasses import dataclass

import pytest

from appliance.timeline.timeline import Timeline


@dataclass
class Clock:
    """Time that moves only when told."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timeline(clock: Clock) -> Timeline:
    return Timeline(clock=clock)
