"""A hundred thousand machines that discover: what is kept of them stays what it was after the first twenty thousand."""

import gc
import logging
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from appliance.menus.model import Menu
from appliance.offers.policy import make_plan
from appliance.quirks.adaptive import Adaptation
from appliance.quirks.memory import FlowMemory
from appliance.quirks.model import QuirkSettings
from appliance.quirks.offers import heed_quirks
from appliance.quirks.table import Quirks
from appliance.timeline.story import Story
from appliance.timeline.timeline import Timeline
from protocols.dhcp.endpoint import Discovered, HostSeen, Offer, Offered
from protocols.ethernet import format_mac
from tests.appliance.quirks.requests import PC

BOX = "10.77.0.2"
FIRST, ALL = 20_000, 100_000  # every table has fewer rows than the first, by default
LEASED = 2  # one in so many has an address, by which it is known as a neighbour
SPARE = 1000  # entries: what the interpreter itself keeps changes a little


class Box:
    """All of the appliance that remembers who asks by DHCP."""

    def __init__(self, root: Path) -> None:
        self.timeline = Timeline()
        self.quirks = Quirks(QuirkSettings())
        self.adaptation = Adaptation(QuirkSettings(), clock=self.timeline.clock, memory=FlowMemory(root))
        self.story = Story(
            self.timeline,
            menu=lambda: Menu(()),
            advertise=lambda mac, seconds: None,
            boots_from_aoe=lambda mac: False,
            image_size=lambda name: None,
        )
        self.plan = heed_quirks(make_plan(BOX, missing=lambda name: ()), self.quirks, self.adaptation)

    def ask(self, number: int) -> None:
        """A machine that was never there before discovers, and may have an address."""
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" if number % LEASED == 0 else None
        request = replace(PC, mac=format_mac(b"\2\0" + number.to_bytes(4, "big")), address=address)
        offer = self.plan(request)
        assert isinstance(offer, Offer)
        for event in (HostSeen(request.mac, address), Discovered(request), Offered(request, offer)):
            self.adaptation.hear(event)
            self.story.on_dhcp(event)


@pytest.fixture
def _silent() -> Iterator[None]:
    """Two lines a machine are not what is looked at."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


def entries() -> int:
    """How many things all tables of this process hold together."""
    gc.collect()
    return sum(len(each) for each in gc.get_objects() if type(each) in (dict, OrderedDict, list, set))


@pytest.mark.slow
@pytest.mark.usefixtures("_silent")
def test_tables_stay_bounded(tmp_path: Path) -> None:
    """Whoever is on the segment can send any number of MACs."""
    box = Box(tmp_path)
    for number in range(FIRST):
        box.ask(number)
    before = entries()
    for number in range(FIRST, ALL):
        box.ask(number)
    assert entries() < before + SPARE
    assert len(box.timeline.machines()) == box.timeline.limits.machines
