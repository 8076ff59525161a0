"""The appliance's report as the lab reads it."""

from appliance.reports.report import report_machine
from appliance.timeline.machine import Boot, Machine
from appliance.timeline.stage import Stage
from deploy.lab.story import Step, read_story

MAC = "52:54:00:77:00:00"


def test_a_boot_becomes_a_story() -> None:
    """Written by the appliance's own code, so that a changed field name fails here and not in the middle of a boot."""
    boot = Boot(100.0)
    boot.reach(Stage.DISCOVERED, 100.0)
    step, _ = boot.reach(Stage.KERNEL, 104.5)
    step.count_event(105.0, "boot/linux", 14_000_000, 0.5)
    story = read_story(report_machine(Machine(MAC, 105.0, boots=[boot]), 105.0))
    assert story is not None
    assert (story.stage, story.sent, story.hint) == ("kernel", 14_000_000, "")
    assert story.steps[1] == Step("kernel", 104.5, "boot/linux", 14_000_000, second_stage=False)


def test_a_machine_that_waits_too_long_says_why() -> None:
    """The appliance's hint is kept."""
    boot = Boot(100.0)
    boot.reach(Stage.DISCOVERED, 100.0)
    story = read_story(report_machine(Machine(MAC, 100.0, boots=[boot]), 10_000.0))
    assert story is not None
    assert story.hint


def test_a_machine_without_a_boot_has_no_story() -> None:
    """A host that only spoke ARP."""
    assert read_story(report_machine(Machine(MAC, 1.0), 1.0)) is None
