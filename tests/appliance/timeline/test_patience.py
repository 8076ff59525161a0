"""How long a machine may stay in a stage, and who is told when it stays longer."""

import pytest
import structlog

from appliance.timeline.patience import PATIENCE, Overdue
from appliance.timeline.stage import FINAL_STAGES, Firmware, Stage
from appliance.timeline.timeline import Timeline, TimelineLimits
from tests.clock import Clock

MAC = "52:54:00:77:00:01"


class TestWaiting:
    """Too long in one stage."""

    def overdue_at(self, timeline: Timeline, stage: Stage, seconds: float) -> Overdue | None:
        """What is said of a machine that reached a stage and then was silent."""
        machine = timeline.note(stage, mac=MAC)
        return timeline.overdue(machine, 1000.0 + seconds)

    @pytest.mark.parametrize("stage", list(PATIENCE))
    def test_patience_ends(self, timeline: Timeline, stage: Stage) -> None:
        """At the last second still silent, after it with stage, time and hint."""
        patience = PATIENCE[stage]
        assert self.overdue_at(timeline, stage, patience.seconds) is None
        assert self.overdue_at(timeline, stage, patience.seconds + 1) == Overdue(
            stage, patience.seconds + 1, patience.hint
        )

    @pytest.mark.parametrize("stage", sorted(FINAL_STAGES))
    def test_a_root_is_never_overdue(self, timeline: Timeline, stage: Stage) -> None:
        """An idle desktop reads nothing for days."""
        assert self.overdue_at(timeline, stage, 1e9) is None

    def test_every_stage_is_either_final_or_watched(self) -> None:
        """No stage is forgotten in the table."""
        assert set(PATIENCE) | FINAL_STAGES == set(Stage)

    def test_repeats_that_bring_nothing_do_not_help(self, timeline: Timeline, clock: Clock) -> None:
        """Firmware that repeats its DISCOVER is still waiting."""
        for _ in range(10):
            machine = timeline.note(Stage.DISCOVERED, mac=MAC)
            clock.now += 4
        assert timeline.overdue(machine) is not None

    def test_bytes_that_move_help(self, timeline: Timeline, clock: Clock) -> None:
        """A slow transfer is no stall."""
        timeline.note(Stage.KERNEL, mac=MAC)
        clock.now += 100
        machine = timeline.note(Stage.KERNEL, mac=MAC, size=8_000_000, seconds=100)
        assert timeline.overdue(machine) is None

    def test_patience_can_be_stretched(self, clock: Clock) -> None:
        """For slow lines and emulated machines."""
        timeline = Timeline(clock=clock, limits=TimelineLimits(patience_factor=10))
        assert self.overdue_at(timeline, Stage.OFFERED, 199) is None
        assert self.overdue_at(timeline, Stage.OFFERED, 201) is not None

    def test_each_stage_of_each_boot_is_reported_once(self, clock: Clock) -> None:
        """However often it is checked."""
        told: list[tuple[str, Stage, float]] = []
        timeline = Timeline(clock=clock, on_overdue=lambda m, o: told.append((m.name, o.stage, o.seconds)))
        for _ in range(2):
            timeline.note(Stage.OFFERED, mac=MAC, firmware=Firmware.PXE)
            for _ in range(50):
                clock.now += 1
                timeline.check()
            timeline.note(Stage.DISCOVERED, mac=MAC, firmware=Firmware.PXE)
            timeline.note(Stage.LOADER, mac=MAC)
            timeline.check(clock.now + 31)
            timeline.note(Stage.DISCOVERED, mac=MAC, firmware=Firmware.PXE)
        assert told == [(MAC, Stage.OFFERED, 21.0), (MAC, Stage.LOADER, 31.0)] * 2
        assert timeline.overdue_count == 4

    def test_a_machine_without_a_boot_waits_for_nothing(self, timeline: Timeline) -> None:
        """It never asked for anything."""
        timeline.seen(MAC, create=True)
        timeline.check(1e9)
        assert timeline.overdue_count == 0

    def test_checking_uses_the_clock_when_not_told_the_time(self, timeline: Timeline, clock: Clock) -> None:
        """As serve does."""
        timeline.note(Stage.OFFERED, mac=MAC)
        clock.now += 21
        timeline.check()
        assert timeline.overdue_count == 1

    def test_waiting_is_a_warning_with_a_hint(self, timeline: Timeline) -> None:
        """One line that an operator can act on."""
        timeline.note(Stage.OFFERED, mac=MAC)
        with structlog.testing.capture_logs() as lines:
            timeline.check(1025.0)
        (line,) = lines
        assert (line["event"], line["log_level"], line["stage"], line["seconds"]) == (
            "boot_stage_overdue",
            "warning",
            "offered",
            25.0,
        )
        assert "options 66, 67" in line["hint"]
