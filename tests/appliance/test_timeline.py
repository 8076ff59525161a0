"""The boot timeline: what becomes a step, a boot, a machine, and what is remembered of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.machine import MAX_DETAIL, MAX_NAMES, Machine, Step, printable
from appliance.patience import PATIENCE, Overdue
from appliance.stage import FINAL_STAGES, Firmware, Stage
from appliance.timeline import RETRY_SILENCE, ROOT_BUSY_BYTES, Timeline, TimelineLimits, steady_clock

MAC = "52:54:00:77:00:01"
OTHER = "52:54:00:77:00:02"
ADDRESS = "10.77.0.50"


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


def stages(machine: Machine) -> list[str]:
    """The labels of the present boot's steps, in order."""
    assert machine.boot is not None
    return [step.stage.label for step in machine.boot.steps]


def last_step(machine: Machine) -> Step:
    """The furthest step of the present boot."""
    assert machine.boot is not None
    return machine.boot.furthest


def boot_by(timeline: Timeline, clock: Clock, firmware: Firmware, upto: Stage) -> Machine:
    """A boot that goes through every stage up to one, a second for each."""
    for stage in Stage:
        if stage <= upto:
            clock.now += 1
            machine = timeline.note(stage, mac=MAC, firmware=firmware if stage <= Stage.BOOT_SERVER else None)
    return machine


class TestSteps:
    """What belongs to one step."""

    def test_stages_are_listed_in_the_order_they_were_reached(self, timeline: Timeline, clock: Clock) -> None:
        """A whole boot reads from DISCOVER to a busy root."""
        machine = boot_by(timeline, clock, Firmware.PXE, Stage.ROOT_BUSY)
        assert stages(machine) == [stage.label for stage in Stage]
        assert [step.at for step in machine.boots[0].steps] == [1001.0 + i for i in range(11)]

    def test_retransmissions_are_folded(self, timeline: Timeline, clock: Clock) -> None:
        """Three DISCOVERs are one step that counts three and knows when the last came."""
        for clock.now in (1000.0, 1004.0, 1012.0):
            machine = timeline.note(Stage.DISCOVERED, mac=MAC, firmware=Firmware.PXE)
        step = last_step(machine)
        assert (step.at, step.last, step.count, len(machine.boots)) == (1000.0, 1012.0, 3, 1)

    def test_a_transfer_counts_once_with_its_bytes_and_seconds(self, timeline: Timeline, clock: Clock) -> None:
        """Start and end of a transfer are one request."""
        timeline.note(Stage.KERNEL, mac=MAC, detail="boot/linux")
        clock.now += 2
        machine = timeline.note(Stage.KERNEL, mac=MAC, detail="boot/linux", size=8_000_000, seconds=2.0)
        step = last_step(machine)
        assert (step.count, step.size, step.seconds, step.moved) == (1, 8_000_000, 2.0, 1002.0)

    def test_a_step_known_only_from_its_end_began_earlier(self, timeline: Timeline, clock: Clock) -> None:
        """A transfer that is told when it is over started its seconds ago, and so did the boot."""
        machine = timeline.note(Stage.KERNEL, mac=MAC, size=10, seconds=3.0)
        assert (last_step(machine).at, machine.boots[0].began) == (997.0, 997.0)

    def test_a_long_transfer_stands_where_it_began(self, timeline: Timeline, clock: Clock) -> None:
        """An initrd told only at its end stands before what was told while it was loading."""
        timeline.note(Stage.KERNEL, mac=MAC)
        clock.now += 10
        timeline.note(Stage.CONFIG, mac=MAC)
        machine = timeline.note(Stage.INITRD, mac=MAC, seconds=4.0)
        assert stages(machine) == ["kernel", "initrd", "config"]

    def test_names_that_brought_bytes_outlive_misses(self, timeline: Timeline) -> None:
        """PXELINUX's ten misses leave only the file that it got."""
        for miss in range(10):
            timeline.note(Stage.CONFIG, mac=MAC, detail=f"pxelinux.cfg/{miss}")
        timeline.note(Stage.CONFIG, mac=MAC, detail="pxelinux.cfg/default", size=200)
        machine = timeline.note(Stage.CONFIG, mac=MAC, detail="pxelinux.cfg/again")
        assert last_step(machine).detail == "pxelinux.cfg/default"
        assert len(last_step(machine).names) == MAX_NAMES

    def test_without_bytes_the_latest_name_shows(self, timeline: Timeline) -> None:
        """While everything is missed, the last name asked for is the news."""
        for name in "abc":
            machine = timeline.note(Stage.CONFIG, mac=MAC, detail=name)
        assert last_step(machine).detail == "c"

    def test_the_oldest_hit_goes_when_all_are_hits(self, timeline: Timeline) -> None:
        """A loader of many parts is bounded too."""
        for part in range(MAX_NAMES + 1):
            machine = timeline.note(Stage.LOADER, mac=MAC, detail=f"part{part}", size=1)
        assert list(last_step(machine).names) == [f"part{part}" for part in range(1, MAX_NAMES + 1)]

    def test_a_step_without_a_name_has_an_empty_detail(self, timeline: Timeline) -> None:
        """No detail is no error."""
        assert last_step(timeline.note(Stage.OFFERED, mac=MAC)).detail == ""

    def test_late_news_does_not_set_a_boot_back(self, timeline: Timeline, clock: Clock) -> None:
        """A config asked for after the kernel is shown where it happened; the stage stays."""
        timeline.note(Stage.KERNEL, mac=MAC)
        clock.now += 1
        machine = timeline.note(Stage.CONFIG, mac=MAC)
        assert (stages(machine), machine.stage, machine.waiting(clock.now)) == (["kernel", "config"], Stage.KERNEL, 1.0)

    def test_facts_are_kept_when_later_events_lack_them(self, timeline: Timeline) -> None:
        """UUID and architecture come with DHCP and stay."""
        timeline.note(Stage.DISCOVERED, mac=MAC, uuid="u", architecture="BIOS", firmware=Firmware.PXE)
        machine = timeline.note(Stage.CLIENT_CONFIG, mac=MAC)
        assert (machine.uuid, machine.architecture, machine.runs) == ("u", "BIOS", Firmware.KERNEL)


class TestPrintable:
    """Client-supplied text."""

    def test_terminal_controls_are_replaced(self) -> None:
        """A file name can't clear the operator's screen."""
        assert printable("a\x1b[2Jb\n\x07\udcff") == "a\ufffd[2Jb\ufffd\ufffd\ufffd"

    @pytest.mark.parametrize(("length", "end"), [(MAX_DETAIL, "x"), (MAX_DETAIL + 1, "…"), (9999, "…")])
    def test_long_names_are_shortened(self, length: int, end: str) -> None:
        """At most MAX_DETAIL characters, with a sign that there were more."""
        shown = printable("x" * length)
        assert (len(shown), shown[-1]) == (MAX_DETAIL, end)


class TestBoots:
    """Where one boot ends and the next begins."""

    @pytest.mark.parametrize("upto", [s for s in Stage if s >= Stage.LOADER])
    def test_firmware_discover_begins_a_boot(self, timeline: Timeline, clock: Clock, upto: Stage) -> None:
        """Once anything was fetched, firmware that asks anew was switched on anew."""
        boot_by(timeline, clock, Firmware.PXE, upto)
        machine = timeline.note(Stage.DISCOVERED, mac=MAC, firmware=Firmware.PXE)
        assert (len(machine.boots), machine.boot_count, stages(machine)) == (2, 2, ["discovered"])

    @pytest.mark.parametrize("upto", [Stage.DISCOVERED, Stage.OFFERED, Stage.BOOT_SERVER])
    def test_firmware_that_tries_again_is_the_same_boot(self, timeline: Timeline, clock: Clock, upto: Stage) -> None:
        """PXE, then HTTP, then PXE again: one machine switched on once (quirks P-11)."""
        boot_by(timeline, clock, Firmware.PXE, upto)
        machine = timeline.note(Stage.DISCOVERED, mac=MAC, firmware=Firmware.HTTP)
        assert len(machine.boots) == 1

    def test_a_long_silence_ends_an_attempt(self, timeline: Timeline, clock: Clock) -> None:
        """A DISCOVER long after the last word is another attempt."""
        boot_by(timeline, clock, Firmware.PXE, Stage.OFFERED)
        clock.now += RETRY_SILENCE + 1
        assert len(timeline.note(Stage.DISCOVERED, mac=MAC, firmware=Firmware.PXE).boots) == 2

    @pytest.mark.parametrize("upto", [Stage.LOADER, Stage.CONFIG])
    def test_ipxe_after_the_loader_is_a_second_stage(self, timeline: Timeline, clock: Clock, upto: Stage) -> None:
        """snponly.efi asks for itself: shown, but the boot goes on and its stage stays."""
        boot_by(timeline, clock, Firmware.PXE, upto)
        clock.now += 1
        machine = timeline.note(Stage.DISCOVERED, mac=MAC, firmware=Firmware.IPXE)
        assert machine.boots[0].steps[-1].second_stage
        assert (len(machine.boots), machine.stage, machine.boots[0].firmware) == (1, upto, Firmware.PXE)

    @pytest.mark.parametrize("upto", [s for s in Stage if s >= Stage.KERNEL])
    def test_ipxe_after_the_kernel_begins_a_boot(self, timeline: Timeline, clock: Clock, upto: Stage) -> None:
        """A ROM that is iPXE itself, as QEMU's is."""
        boot_by(timeline, clock, Firmware.IPXE, upto)
        machine = timeline.note(Stage.DISCOVERED, mac=MAC, firmware=Firmware.IPXE)
        assert (len(machine.boots), machine.boots[-1].firmware) == (2, Firmware.IPXE)

    def test_a_kernels_dhcp_is_no_boot(self, timeline: Timeline, clock: Clock) -> None:
        """The system's own DHCP, hours after its boot."""
        boot_by(timeline, clock, Firmware.PXE, Stage.ROOT_BUSY)
        clock.now += 10_000
        assert len(timeline.note(Stage.DISCOVERED, mac=MAC, firmware=Firmware.KERNEL).boots) == 1

    def test_a_boot_first_seen_half_way_has_no_firmware(self, timeline: Timeline) -> None:
        """The appliance was restarted while a machine booted."""
        assert timeline.note(Stage.ROOT_CONNECTED, mac=MAC).boots[0].firmware is None

    def test_boots_do_not_overlap(self, timeline: Timeline, clock: Clock) -> None:
        """However long the event that begins one says it took."""
        timeline.note(Stage.LOADER, mac=MAC)
        machine = timeline.note(Stage.DISCOVERED, mac=MAC, seconds=5.0)
        assert [boot.began for boot in machine.boots] == [1000.0, 1000.0]

    def test_only_the_last_boots_are_kept(self, clock: Clock) -> None:
        """A machine in a boot loop does not fill the memory."""
        timeline = Timeline(clock=clock, limits=TimelineLimits(boots=2))
        for _ in range(4):
            machine = boot_by(timeline, clock, Firmware.PXE, Stage.KERNEL)
        assert ([boot.began for boot in machine.boots], machine.boot_count) == ([1013.0, 1019.0], 4)


class TestIdentity:
    """Whose event it is."""

    def test_an_address_stands_for_the_mac_it_was_seen_with(self, timeline: Timeline) -> None:
        """TFTP knows only addresses; DHCP and ARP told whose they are."""
        first = timeline.note(Stage.DISCOVERED, mac=MAC)
        timeline.seen(MAC, ADDRESS)
        assert timeline.note(Stage.LOADER, address=ADDRESS) is first

    def test_an_address_seen_before_the_machine_counts_too(self, timeline: Timeline) -> None:
        """ARP of a host that asks to boot only later."""
        assert timeline.seen(MAC, ADDRESS) is None
        machine = timeline.note(Stage.DISCOVERED, mac=MAC)
        assert (machine.addresses, timeline.find(ADDRESS)) == ([ADDRESS], machine)

    def test_a_file_asked_for_by_a_known_host_names_its_mac(self, timeline: Timeline) -> None:
        """The appliance was restarted in the middle of a boot; ARP knows who asks."""
        timeline.seen(MAC, ADDRESS)
        assert timeline.note(Stage.KERNEL, address=ADDRESS).mac == MAC

    def test_a_machine_known_by_address_gets_its_mac(self, timeline: Timeline) -> None:
        """Its record goes on under the MAC."""
        machine = timeline.note(Stage.KERNEL, address=ADDRESS)
        assert machine.name == ADDRESS
        assert timeline.seen(MAC, ADDRESS) is machine
        assert (machine.name, timeline.find(MAC), len(timeline.machines())) == (MAC, machine, 1)

    def test_a_mac_and_address_together_name_a_machine_too(self, timeline: Timeline) -> None:
        """As seen does, when a protocol knows both."""
        machine = timeline.note(Stage.KERNEL, address=ADDRESS)
        assert timeline.note(Stage.INITRD, mac=MAC, address=ADDRESS) is machine

    def test_two_records_of_one_machine_become_one(self, timeline: Timeline, clock: Clock) -> None:
        """What an address did since the DISCOVER belongs to that boot, in the right order."""
        timeline.note(Stage.DISCOVERED, mac=MAC)
        clock.now += 1
        timeline.note(Stage.LOADER, address=ADDRESS, size=5, detail="pxelinux.0")
        clock.now += 1
        timeline.note(Stage.CONFIG, mac=MAC)
        machine = timeline.seen(MAC, ADDRESS)
        assert machine is not None
        assert (stages(machine), len(timeline.machines())) == (["discovered", "loader", "config"], 1)

    def test_equal_stages_of_two_records_are_added(self, timeline: Timeline, clock: Clock) -> None:
        """Bytes, counts and names of both."""
        timeline.note(Stage.LOADER, mac=MAC, detail="a", size=1)
        clock.now += 1
        timeline.note(Stage.LOADER, address=ADDRESS, detail="b", size=2, seconds=0.5)
        machine = timeline.note(Stage.CONFIG, mac=MAC, address=ADDRESS)
        step = machine.boots[0].steps[0]
        assert (step.detail, step.size, step.count, step.seconds, step.at) == ("a, b", 3, 2, 0.5, 1000.0)

    def test_what_an_address_did_before_is_an_earlier_boot(self, timeline: Timeline, clock: Clock) -> None:
        """Nothing is put into a boot that began later."""
        timeline.note(Stage.KERNEL, address=ADDRESS)
        clock.now += 1
        timeline.note(Stage.DISCOVERED, mac=MAC)
        machine = timeline.seen(MAC, ADDRESS)
        assert machine is not None
        assert ([boot.furthest.stage for boot in machine.boots], machine.boot_count) == (
            [Stage.KERNEL, Stage.DISCOVERED],
            2,
        )

    def test_a_lease_that_moves_is_taken_from_its_former_machine(self, timeline: Timeline) -> None:
        """One address, one machine: the one seen last."""
        former = timeline.note(Stage.KERNEL, mac=MAC, address=ADDRESS)
        heir = timeline.note(Stage.KERNEL, mac=OTHER, address=ADDRESS)
        assert (former.addresses, heir.addresses, timeline.find(ADDRESS)) == ([], [ADDRESS], heir)

    def test_a_lease_that_moves_to_a_stranger_is_nobodys(self, timeline: Timeline) -> None:
        """A phone got the address: what it fetches is not the machine's."""
        former = timeline.note(Stage.KERNEL, mac=MAC, address=ADDRESS)
        assert timeline.seen(OTHER, ADDRESS) is None
        assert (former.addresses, timeline.note(Stage.LOADER, address=ADDRESS).mac) == ([], OTHER)

    def test_addresses_are_bounded_newest_first(self, clock: Clock) -> None:
        """A machine that gets a new lease at each boot."""
        timeline = Timeline(clock=clock, limits=TimelineLimits(addresses=2))
        for last in (1, 2, 3, 2):
            machine = timeline.note(Stage.KERNEL, mac=MAC, address=f"10.0.0.{last}")
        assert machine.addresses == ["10.0.0.2", "10.0.0.3"]
        assert timeline.find("10.0.0.1") is None

    def test_strangers_make_no_machine(self, timeline: Timeline) -> None:
        """Printers speak DHCP and ARP too."""
        assert (timeline.seen(MAC), timeline.machines()) == (None, [])

    def test_a_stranger_is_made_a_machine_on_demand(self, timeline: Timeline) -> None:
        """It has given a sign of life and nothing else."""
        machine = timeline.seen(MAC, ADDRESS, create=True)
        assert machine is not None
        assert (machine.boot, machine.stage, machine.waiting(2000.0)) == (None, None, 0.0)

    def test_strangers_addresses_are_bounded(self, clock: Clock) -> None:
        """A flood of ARP leaves only the latest behind."""
        timeline = Timeline(clock=clock, limits=TimelineLimits(neighbours=2))
        for last in (1, 2, 3):
            timeline.seen(f"52:54:00:00:00:0{last}", f"10.0.0.{last}")
        assert timeline.note(Stage.KERNEL, address="10.0.0.1").mac is None
        assert timeline.note(Stage.KERNEL, address="10.0.0.3").mac == "52:54:00:00:00:03"

    def test_the_least_recently_seen_machine_is_forgotten(self, clock: Clock) -> None:
        """With its addresses."""
        timeline = Timeline(clock=clock, limits=TimelineLimits(machines=2))
        timeline.note(Stage.KERNEL, mac=MAC)
        timeline.note(Stage.KERNEL, mac=OTHER, address=ADDRESS)
        timeline.seen(MAC)
        third = timeline.note(Stage.KERNEL, address="10.77.0.52")
        assert [machine.name for machine in timeline.machines()] == [MAC, third.name]
        assert timeline.find(ADDRESS) is None

    def test_an_event_of_nobody_is_our_own_mistake(self, timeline: Timeline) -> None:
        """Neither MAC nor address."""
        with pytest.raises(ValueError, match="needs a MAC or an address"):
            timeline.note(Stage.KERNEL)


class TestTraffic:
    """Bytes read from a root."""

    def read(self, timeline: Timeline, total: int, source: str = "nbd 1", written: int = 0) -> Machine:
        """Tell the cumulative bytes of one connection."""
        machine = timeline.traffic(source, mac=MAC, bytes_read=total, bytes_written=written)
        assert machine is not None
        return machine

    def test_a_root_that_is_read_enough_is_busy(self, timeline: Timeline) -> None:
        """Mounting is not enough, a started system is."""
        timeline.note(Stage.ROOT_CONNECTED, mac=MAC, detail="nbd root")
        assert self.read(timeline, ROOT_BUSY_BYTES).stage is Stage.ROOT_CONNECTED
        assert self.read(timeline, ROOT_BUSY_BYTES + 1).stage is Stage.ROOT_BUSY

    def test_counters_are_cumulative_and_added_over_sources(self, timeline: Timeline) -> None:
        """Two connections, each told twice, one of them begun anew."""
        timeline.note(Stage.ROOT_CONNECTED, mac=MAC)
        self.read(timeline, 100)
        self.read(timeline, 150, written=7)
        self.read(timeline, 30, source="nbd 2")
        machine = self.read(timeline, 20)  # less than before: reconnected under the same name
        boot = machine.boots[0]
        assert (boot.bytes_read, boot.bytes_written, boot.size) == (200, 7, 200)

    def test_a_boot_without_a_root_does_not_become_busy(self, timeline: Timeline, clock: Clock) -> None:
        """The connection of the boot before delivers its last bytes while firmware asks again."""
        boot_by(timeline, clock, Firmware.PXE, Stage.ROOT_CONNECTED)
        timeline.note(Stage.DISCOVERED, mac=MAC, firmware=Firmware.PXE)
        assert self.read(timeline, ROOT_BUSY_BYTES * 2).stage is Stage.DISCOVERED

    def test_a_machine_known_by_address_can_be_busy(self, timeline: Timeline) -> None:
        """NBD knows only addresses."""
        timeline.note(Stage.ROOT_CONNECTED, address=ADDRESS)
        machine = timeline.traffic("nbd 1", address=ADDRESS, bytes_read=ROOT_BUSY_BYTES + 1)
        assert machine is not None
        assert machine.stage is Stage.ROOT_BUSY

    def test_traffic_of_nobody_known_is_ignored(self, timeline: Timeline) -> None:
        """A machine that was forgotten does not come back by its bytes alone."""
        assert timeline.traffic("nbd 1", mac=MAC, bytes_read=1) is None

    def test_an_idle_connection_is_no_sign_of_life(self, timeline: Timeline, clock: Clock) -> None:
        """Polling a connection on which nothing moves says nothing of the machine behind it."""
        timeline.note(Stage.ROOT_CONNECTED, mac=MAC)
        self.read(timeline, 10)
        clock.now += 100
        assert self.read(timeline, 10).last_seen == 1000.0

    def test_a_machine_without_a_boot_has_no_root(self, timeline: Timeline) -> None:
        """Its bytes are remembered, not shown."""
        timeline.seen(MAC, create=True)
        assert self.read(timeline, 10).boots == []

    def test_sources_are_bounded(self, clock: Clock) -> None:
        """A client that reconnects for ever, each time from another port."""
        timeline = Timeline(clock=clock, limits=TimelineLimits(sources=2))
        timeline.note(Stage.ROOT_CONNECTED, mac=MAC)
        for port in range(5):
            machine = self.read(timeline, 10, source=f"nbd {port}")
        assert (list(machine.sources), machine.boots[0].bytes_read) == (["nbd 3", "nbd 4"], 50)


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


class TestLog:
    """What is written to the log."""

    def test_each_step_is_one_line(self, timeline: Timeline, clock: Clock) -> None:
        """Repeats add none."""
        with structlog.testing.capture_logs() as lines:
            timeline.note(Stage.DISCOVERED, mac=MAC, address=ADDRESS)
            clock.now += 3
            timeline.note(Stage.LOADER, mac=MAC, detail="pxelinux.0", size=42, seconds=0.5)
            timeline.note(Stage.LOADER, mac=MAC, detail="pxelinux.0", size=42, seconds=0.5)
        assert len(lines) == 2
        assert lines[1] == {
            "event": "boot_stage_reached",
            "log_level": "info",
            "mac": MAC,
            "address": ADDRESS,
            "stage": "loader",
            "detail": "pxelinux.0",
            "bytes": 42,
            "seconds": 0.5,
            "after": 2.5,
        }

    def test_a_machine_that_has_its_root_is_one_line_more(self, timeline: Timeline, clock: Clock) -> None:
        """With the seconds and bytes of the whole boot; a reconnect adds none."""
        timeline.note(Stage.DISCOVERED, mac=MAC, firmware=Firmware.PXE)
        timeline.note(Stage.KERNEL, mac=MAC, size=100)
        clock.now += 30
        with structlog.testing.capture_logs() as lines:
            timeline.note(Stage.ROOT_CONNECTED, mac=MAC, detail="nbd root")
            timeline.note(Stage.ROOT_CONNECTED, mac=MAC, detail="nbd root")
        booted = [line for line in lines if line["event"] == "machine_booted"]
        assert [(line["root"], line["bytes"], line["seconds"]) for line in booted] == [("nbd root", 100, 30.0)]

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

    def test_steps_are_told_to_the_caller(self, clock: Clock) -> None:
        """Once each."""
        told: list[tuple[str, Stage]] = []
        timeline = Timeline(clock=clock, on_step=lambda machine, step: told.append((machine.name, step.stage)))
        for stage in (Stage.OFFERED, Stage.OFFERED, Stage.LOADER):
            timeline.note(stage, mac=MAC)
        assert told == [(MAC, Stage.OFFERED), (MAC, Stage.LOADER)]


def test_steady_clock_tells_unix_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts at the system's time and follows the monotonic clock from there."""
    monkeypatch.setattr("time.time", lambda: 5000.0)
    monkeypatch.setattr("time.monotonic", lambda: 70.0)
    clock = steady_clock()
    monkeypatch.setattr("time.time", lambda: 9_999_999.0)  # somebody set the clock
    monkeypatch.setattr("time.monotonic", lambda: 72.5)
    assert clock() == 5002.5


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
    timeline = Timeline(clock=clock, limits=replace(LIMITS))
    with structlog.testing.capture_logs():
        for pause, action in actions:
            clock.now += pause
            action(timeline)
            timeline.check()
            machines = timeline.machines()
            assert len(machines) <= LIMITS.machines
            for machine in machines:
                check_machine(timeline, machine, LIMITS)
