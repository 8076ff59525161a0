"""The interface as it may be found."""

from dataclasses import replace
from typing import Any

import pytest

from appliance.doctor.finding import Level
from appliance.doctor.link import check_address, check_link, check_mtu
from tests.appliance.doctor.boxes import ETH0, make_box, only


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"is_up": False}, "is down"),
        ({"has_carrier": False}, "has no carrier"),
        ({"is_loopback": True}, "reaches nobody"),
    ],
)
def test_broken_links(change: dict[str, Any], words: str) -> None:
    """Errors, all of them."""
    finding = only(list(check_link(make_box(interface=replace(ETH0, **change)))))
    assert finding.level is Level.ERROR
    assert words in finding.text


def test_link() -> None:
    """Up, with its MAC."""
    assert only(list(check_link(make_box()))).text == "eth0 is up (52:54:00:00:00:02)"


@pytest.mark.parametrize(("mtu", "level"), [(1400, Level.WARNING), (1500, Level.OK), (9000, Level.OK)])
def test_mtu(mtu: int, level: Level) -> None:
    """Only too small is bad (D-25)."""
    assert only(list(check_mtu(make_box(interface=replace(ETH0, mtu=mtu))))).level is level


@pytest.mark.parametrize("named", [False, True])
def test_several_addresses(named: bool) -> None:
    """Which one is used must be said (D-21)."""
    box = make_box(interface=replace(ETH0, addresses=("10.77.0.2", "10.77.0.3")), is_address_named=named)
    assert (only(list(check_address(box))).level is Level.OK) is named
