"""Whatever is told to the timeline, in whatever order: it stays bounded, ordered, and of one mind about identities."""

from collections.abc import Callable

import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.timeline.machine import MAX_NAMES, Machine
from appliance.timeline.stage import Firmware, Stage
from appliance.timeline.timeline import Timeline, TimelineLimits
from tests.clock import Clock

MACS = st.sampled_from([f"52:54:00:77:00:0{i}" for i in range(6)])
ADDRESSES = st.sampled_from([f"10.77.0.{i}" for i in range(6)])
LIMITS = TimelineLimits(machines=4, boots=2, addresses=2, neighbours=3, sources=2, root_busy_bytes=100)
Action = Callable[[Timeline], object]


def noted(
    stage: Stage, who: tuple[str | None, str | None], detail: str, size: int, firmware: Firmware | None
) -> Action:
    """An action that notes a stage."""
    return lambda t: t.note(
        stage, mac=who[0], address=who[1], detail=detail, size=size, seconds=size, firmware=firmware
    )


def told(source: str, who: tuple[str | None, str | None], read: int) -> Action:
    """An action that tells traffic."""
    return lambda t: t.traffic(source, mac=who[0], address=who[1], bytes_read=read)


WHO = st.tuples(MACS, st.none()) | st.tuples(st.none(), ADDRESSES) | st.tuples(MACS, ADDRESSES)
NOTES = st.builds(
    noted, st.sampled_from(Stage), WHO, st.text(max_size=3), st.integers(0, 90), st.none() | st.sampled_from(Firmware)
)
TRAFFIC = st.builds(told, st.sampled_from("abc"), WHO, st.integers(0, 500))
SIGNS = st.builds(
    lambda mac, address, create: lambda t: t.seen(mac, address, create=create),
    MACS,
    st.none() | ADDRESSES,
    st.booleans(),
)


def check_machine(timeline: Timeline, machine: Machine, limits: TimelineLimits) -> None:
    """What holds for a machine at any time."""
    assert timeline.find(machine.name) is machine
    assert all(timeline.find(address) is machine for address in machine.addresses)
    assert len(machine.addresses) == len(set(machine.addresses)) <= limits.addresses
    assert len(machine.boots) <= min(limits.boots, machine.boot_count)
    assert [boot.began for boot in machine.boots] == sorted(boot.began for boot in machine.boots)
    for boot in machine.boots:
        times = [step.at for step in boot.steps]
        keys = [(step.stage, step.second_stage) for step in boot.steps]
        assert times == sorted(times)
        assert boot.began <= times[0]
        assert len(keys) == len(set(keys)) <= len(Stage) + 3
        assert all(step.count > 0 and step.at <= step.last and len(step.names) <= MAX_NAMES for step in boot.steps)


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, 20.0, 100.0]), NOTES | TRAFFIC | SIGNS), max_size=60))
@settings(max_examples=80, deadline=None)
def test_nothing_breaks_the_bounds_or_the_order(actions: list[tuple[float, Action]]) -> None:
    """Whatever happens in whatever order: bounded tables, one owner per address, steps in order of time."""
    clock = Clock()
    timeline = Timeline(clock=clock, limits=LIMITS)
    with structlog.testing.capture_logs():
        for pause, action in actions:
            clock.now += pause
            action(timeline)
            timeline.check()
            machines = timeline.machines()
            assert len(machines) <= LIMITS.machines
            for machine in machines:
                check_machine(timeline, machine, LIMITS)
