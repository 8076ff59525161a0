"""The boot timeline: what becomes a step, a boot, a machine, and what is remembered of it."""

import pytest
import structlog

from appliance.timeline.machine import MAX_NAMES, Machine, Step
from appliance.timeline.stage import Firmware, Stage
from appliance.timeline.timeline import RETRY_SILENCE, ROOT_BUSY_BYTES, Timeline, TimelineLimits, steady_clock
from tests.clock import Clock

MAC = "52:54:00:77:00:01"
OTHER = "52:54:00:77:00:02"
ADDRESS = "10.77.0.50"


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
        assert [step.at for step in machine.boots[0].steps] == [1001.0 + i for i in range(len(Stage))]

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
        assert ([boot.began for boot in machine.boots], machine.boot_count) == ([1015.0, 1022.0], 4)


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
