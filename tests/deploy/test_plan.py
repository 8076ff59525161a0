"""Which clients a run boots, and how many at once."""

import pytest

from deploy.lab.plan import ClientPlan, bearable, plan_clients


def test_mixed_clients_take_turns() -> None:
    """The first two are the documented default, and six cover every firmware with every root."""
    kinds = [(plan.firmware, plan.root) for plan in plan_clients(6, "mixed", "mixed")]
    assert kinds[:4] == [("bios", "nbd"), ("uefi", "aoe"), ("bios", "ram"), ("uefi", "nbd")]
    assert len(set(kinds)) == 6


def test_a_named_firmware_and_root_are_every_clients() -> None:
    """Nothing takes turns with what was asked for."""
    assert {(plan.firmware, plan.root) for plan in plan_clients(5, "uefi", "ram")} == {("uefi", "ram")}


def test_each_client_has_its_own_mac_and_tap() -> None:
    """Two hundred clients fit in the last byte of the MAC."""
    plans = plan_clients(200, "bios", "nbd")
    assert plans[199].mac == "52:54:00:77:00:c7"
    assert len({plan.mac for plan in plans}) == len({plan.tap for plan in plans}) == 200


@pytest.mark.parametrize(
    ("count", "cores", "available_mib", "at_once"),
    [
        pytest.param(2, 1, 24_000, 2, id="all of a few"),
        pytest.param(16, 2, 24_000, 4, id="two per core"),
        pytest.param(16, 1, 24_000, 4, id="four at least"),
        pytest.param(16, 16, 4096, 2, id="what memory bears"),
        pytest.param(3, 2, 100, 1, id="one when memory is short"),
    ],
)
def test_clients_at_once(count: int, cores: int, available_mib: int, at_once: int) -> None:
    """The rest wait for their turn."""
    assert bearable(plan_clients(count, "mixed", "mixed"), cores=cores, available_mib=available_mib) == at_once


def test_the_name_counts_from_zero() -> None:
    """Names, taps and MACs carry the same number."""
    plan = ClientPlan(3, "bios", "nbd")
    assert (plan.name, plan.tap, plan.mac) == ("client-03", "tap3", "52:54:00:77:00:03")
