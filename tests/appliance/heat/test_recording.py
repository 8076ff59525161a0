"""Which connections are recorded, when a recording ends, and what is kept."""

import pytest

from appliance.heat.recording import HeatLimits, Recorder, Recording, join_runs
from tests.clock import Clock

MAC, OTHER = "52:54:00:77:00:01", "52:54:00:77:00:02"


@pytest.fixture
def clock() -> Clock:
    """At the beginning."""
    return Clock()


@pytest.fixture
def told() -> list[Recording]:
    """What was told of ended recordings."""
    return []


@pytest.fixture
def recorder(clock: Clock, told: list[Recording]) -> Recorder:
    """One with small bounds."""
    limits = HeatLimits(recordings=2, connections=2, runs=4, seconds=60.0, boots=3, boots_of_one=2)
    return Recorder(limits, clock=clock, on_recorded=told.append)


def record(recorder: Recorder, client: str = MAC, image: str = "root", offset: int = 0) -> None:
    """A boot with one read."""
    trace = recorder.open(image, client)
    assert trace is not None
    trace.note(offset, 512)
    recorder.close(image, client)


def test_a_boot_is_recorded(recorder: Recorder, clock: Clock, told: list[Recording]) -> None:
    """What was read, by whom, for how long."""
    trace = recorder.open("root", MAC)
    assert trace is not None
    trace.note(4096, 512)
    clock.now += 5
    recorder.close("root", MAC)
    assert trace.is_over
    (kept,) = recorder.recordings("root")
    assert [kept] == told
    assert (kept.image, kept.client, kept.seconds) == ("root", MAC, 5.0)
    assert [run[:2] for run in kept.runs] == [(4096, 512)]


def test_several_connections_are_one_recording(recorder: Recorder, clock: Clock, told: list[Recording]) -> None:
    """It ends with the last, and its reads are in the order in which they came."""
    first = recorder.open("root", MAC)
    clock.now += 1
    second = recorder.open("root", MAC)
    assert first is not None
    assert second is not None
    second.note(0, 512)
    recorder.close("root", MAC)
    assert told == []
    first.note(8192, 512)
    recorder.close("root", MAC)
    assert {run[0] for run in told[0].runs} == {0, 8192}


def test_it_ends_after_its_time(recorder: Recorder, clock: Clock, told: list[Recording]) -> None:
    """The connection goes on, unrecorded; its end is nothing any more."""
    trace = recorder.open("root", MAC)
    assert trace is not None
    trace.note(0, 512)
    clock.now += 59
    recorder.check()
    assert told == []
    clock.now += 1
    recorder.check()
    recorder.close("root", MAC)
    assert len(told) == 1
    assert trace.is_over


def test_it_ends_with_the_next_boot(recorder: Recorder, told: list[Recording]) -> None:
    """A machine that was switched off never closes its connection."""
    trace = recorder.open("root", MAC)
    assert trace is not None
    trace.note(0, 512)
    recorder.reboot(OTHER)
    assert told == []
    recorder.reboot(MAC)
    assert len(told) == 1


def test_what_is_under_way_can_be_seen(recorder: Recorder) -> None:
    """As far as it has come."""
    trace = recorder.open("root", MAC)
    assert trace is not None
    assert recorder.recordings("root") == []
    trace.note(0, 512)
    assert len(recorder.recordings("root")) == 1
    assert recorder.recordings("other") == []


def test_a_boot_without_reads_is_none(recorder: Recorder, told: list[Recording]) -> None:
    """A client that only looked whether the export is there."""
    recorder.open("root", MAC)
    recorder.close("root", MAC)
    assert told == recorder.recordings("root") == []


def test_recordings_are_of_machines(clock: Clock) -> None:
    """An address is the machine that has it."""
    recorder = Recorder(clock=clock, identify=lambda client: MAC if client == "10.0.0.5" else client)
    record(recorder, "10.0.0.5")
    assert len(recorder.recordings("root", MAC)) == 1
    assert recorder.recordings("root", OTHER) == []


def test_bounds_of_what_is_recorded(recorder: Recorder) -> None:
    """Recordings at one time, connections of one."""
    assert recorder.open("root", MAC) is not None
    assert recorder.open("root", MAC) is not None
    assert recorder.open("root", MAC) is None
    assert recorder.open("root", OTHER) is not None
    assert recorder.open("root", "third") is None


def test_bounds_of_what_is_kept(recorder: Recorder) -> None:
    """Of one machine the latest; of all the latest."""
    for offset in (0, 4096, 8192):
        record(recorder, MAC, offset=offset)
    assert [one.runs[0][0] for one in recorder.recordings("root", MAC)] == [4096, 8192]
    record(recorder, OTHER)
    record(recorder, "third")
    assert [one.client for one in recorder.recordings("root")] == [MAC, OTHER, "third"]


def test_all_end_with_the_appliance(recorder: Recorder, told: list[Recording]) -> None:
    """In the middle of boots: what was read so far is kept; who read nothing leaves nothing."""
    traces = [recorder.open("root", MAC), recorder.open("root", OTHER)]
    assert traces[0] is not None
    traces[0].note(4096, 512)
    recorder.stop()
    assert [(one.client, [run[:2] for run in one.runs]) for one in told] == [(MAC, [(4096, 512)])]
    assert all(trace is not None and trace.is_over for trace in traces)


def test_dropped_reads_are_counted(recorder: Recorder) -> None:
    """A recording says that it is not whole."""
    trace = recorder.open("root", MAC)
    assert trace is not None
    for offset in range(0, 6 * 8192, 8192):
        trace.note(offset, 512)
    recorder.close("root", MAC)
    assert recorder.recordings("root")[0].dropped == 2


def test_runs_of_several_traces_are_joined() -> None:
    """By when they were, which each trace counts from its own beginning."""
    joined = join_runs([(0.0, [(1, 1, 5, 1), (2, 1, 3_000_000_000, 1)]), (2.0, [(3, 1, 0, 1)])])
    assert [run[0] for run in joined] == [1, 3, 2]
    assert joined[1][2] == 2_000_000_000
