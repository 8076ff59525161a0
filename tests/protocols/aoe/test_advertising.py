"""Who is advertised to, and until when."""

from protocols.aoe.advertising import AdvertisingPlan


def due(plan: AdvertisingPlan, now: float) -> list[str]:
    """The machines of a round."""
    return [mac for mac, _ in plan.due(now)]


def test_a_campaign_ends_by_its_deadline() -> None:
    """Due before, not at the moment itself, and gone after."""
    plan = AdvertisingPlan(4)
    plan.start("a", 5.0)
    assert due(plan, 4.9) == ["a"]
    assert due(plan, 5.0) == []
    assert len(plan) == 0


def test_another_start_extends_and_never_shortens() -> None:
    """The later of both deadlines holds."""
    plan = AdvertisingPlan(4)
    plan.start("a", 5.0)
    plan.start("a", 9.0)
    plan.start("a", 3.0)
    assert due(plan, 8.0) == ["a"]


def test_targets_that_were_heard_are_named() -> None:
    """Those are left out by the caller, until the campaign is started again."""
    plan = AdvertisingPlan(4)
    plan.start("a", 5.0)
    plan.note_command("a", 0, 1)
    plan.note_command("stranger", 0, 1)
    assert list(plan.due(0.0)) == [("a", {(0, 1)})]
    plan.start("a", 5.0)
    assert list(plan.due(0.0)) == [("a", set())]


def test_the_first_to_end_makes_room() -> None:
    """A full plan drops the campaign that had the least left."""
    plan = AdvertisingPlan(2)
    for mac, until in (("a", 5.0), ("b", 3.0), ("c", 4.0)):
        plan.start(mac, until)
    assert due(plan, 0.0) == ["a", "c"]


def test_a_round_that_stops_early_goes_on_next_time() -> None:
    """The one served moves to the end."""
    plan = AdvertisingPlan(4)
    for mac in "abc":
        plan.start(mac, 5.0)
    assert next(plan.due(0.0))[0] == "a"
    assert due(plan, 0.0) == ["b", "c", "a"]
