"""A timeline, and the clock that it goes by."""

import pytest

from appliance.timeline.timeline import Timeline
from tests.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timeline(clock: Clock) -> Timeline:
    return Timeline(clock=clock)
