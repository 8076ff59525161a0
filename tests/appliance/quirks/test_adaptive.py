"""When a machine is offered another flow, and when it must not be."""

from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.quirks import adaptive
from appliance.quirks.adaptive import Adaptation
from appliance.quirks.memory import FILE, FlowMemory, Tried
from appliance.quirks.model import Effects, FlowName, QuirkSettings
from appliance.quirks.table import Quirks
from protocols.dhcp.endpoint import BootServerAsked, HostSeen, Offer
from protocols.dhcp.request import Architecture, BootRequest
from tests.appliance.quirks.requests import HTTP, IPXE, PC, PI

LEASING = HostSeen(PC.mac, "10.77.0.9", is_leasing=True)
ATTEMPT = (0.0, 4.0, 12.0, 28.0)  # seconds at which firmware discovers before it gives up (P-12)


class Lab:
    """A machine that discovers, a clock that moves when told, and what the machine is offered."""

    def __init__(self, root: Path, settings: QuirkSettings | None = None, effects: Effects | None = None) -> None:
        self.now = 1000.0
        self.root = root
        self.settings = settings or QuirkSettings()
        self.quirks = Quirks(self.settings, machines={PC.mac: effects} if effects else {})
        self.start()

    def start(self) -> None:
        """The appliance starts, or starts again."""
        memory = FlowMemory(self.root)
        self.adaptation = Adaptation(self.settings, clock=lambda: self.now, memory=memory, most=3)

    def discover(self, request: BootRequest = PC) -> FlowName:
        """How the machine is offered its boot file."""
        return self.adaptation.discover(self.quirks.apply(request))

    def attempt(self, request: BootRequest = PC, *, leasing: bool = True) -> list[FlowName]:
        """One attempt of firmware's, 90 s with what it does in between, in which it asks for an address or does not."""
        began, flows = self.now, []
        for at in ATTEMPT:
            self.now = began + at
            flows.append(self.discover(request))
        if leasing:
            self.adaptation.hear(replace(LEASING, mac=request.mac))
        self.now = began + 90
        return flows


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A site with usual settings."""
    return Lab(tmp_path)


def flows_of(attempts: list[list[FlowName]]) -> list[FlowName]:
    """The flow of each attempt, none of which may change midway."""
    assert all(len(set(flows)) == 1 for flows in attempts)
    return [flows[0] for flows in attempts]


def test_flows_are_tried_in_turn(lab: Lab) -> None:
    """One for each whole attempt, then the first again, where it stays for a day."""
    assert flows_of([lab.attempt() for _ in range(6)]) == [
        "complete",
        "binl",
        "menu",
        "complete",
        "complete",
        "complete",
    ]
    lab.now += adaptive.AGAIN_SECONDS
    assert flows_of([lab.attempt() for _ in range(2)]) == ["binl", "menu"]


def test_not_without_a_dhcp_server(lab: Lab) -> None:
    """Who is given no address fails whatever we offer, and so does who is behind a port that is blocked (D-24)."""
    assert flows_of([lab.attempt(leasing=False) for _ in range(5)]) == ["complete"] * 5


def test_not_by_many_retries_in_a_short_time(lab: Lab) -> None:
    """An impatient ROM is not a failed one."""
    lab.discover()
    lab.adaptation.hear(LEASING)
    for _ in range(50):
        lab.now += 1
        assert lab.discover() == "complete"


def test_not_by_time_alone(lab: Lab) -> None:
    """Few attempts that are days apart are somebody who took the disk."""
    for _ in range(4):
        assert lab.discover() == "complete"
        lab.adaptation.hear(LEASING)
        lab.now += 86400


def test_not_a_machine_that_boots(lab: Lab) -> None:
    """It fetches a file at every boot; not even when it fails one day, since its flow is known to be right."""
    for _ in range(10):
        lab.attempt()
        lab.adaptation.fetched(PC.mac)
    assert flows_of([lab.attempt() for _ in range(5)]) == ["complete"] * 5


def test_not_who_asks_the_boot_server(lab: Lab) -> None:
    """Port 4011 is part of every flow."""
    for _ in range(10):
        assert set(lab.attempt()) == {"complete"}
        lab.adaptation.hear(BootServerAsked(PC, Offer("loader")))


def test_http_boot_in_between_is_not_counted(lab: Lab) -> None:
    """The same machine asks by both in turn (P-11): HTTP's are no attempts at PXE, and get no flow of it."""
    for _ in range(20):
        assert lab.discover(replace(HTTP, mac=PC.mac)) == "http"
        lab.adaptation.hear(LEASING)
        lab.now += 30
    assert lab.discover() == "complete"


@pytest.mark.parametrize("request_", [IPXE, PI])
def test_rows_that_say_no(request_: BootRequest, lab: Lab) -> None:
    """What iPXE and a Raspberry Pi take is known."""
    assert flows_of([lab.attempt(request_) for _ in range(4)]) == ["complete"] * 4


@pytest.mark.parametrize(
    ("settings_", "effects"),
    [
        (QuirkSettings(adaptive=False), None),
        (QuirkSettings(), Effects(adaptive=False)),
        (QuirkSettings(), Effects(flow="complete")),
    ],
)
def test_switched_off(settings_: QuirkSettings, effects: Effects | None, tmp_path: Path) -> None:
    """For all, for one machine, or by pinning its flow."""
    lab = Lab(tmp_path, settings_, effects)
    assert flows_of([lab.attempt() for _ in range(4)]) == ["complete"] * 4


@pytest.mark.parametrize(
    ("settings_", "effects", "flows"),
    [
        (QuirkSettings(adaptive=False), Effects(adaptive=True), ["complete", "binl"]),
        (QuirkSettings(), Effects(flow="menu", adaptive=True), ["menu", "complete"]),
        (QuirkSettings(adaptive_discovers=8), None, ["complete", "complete", "binl"]),
    ],
)
def test_settings(settings_: QuirkSettings, effects: Effects | None, flows: list[FlowName], tmp_path: Path) -> None:
    """One machine where it is off else, another flow to begin with, and how many times it must ask."""
    lab = Lab(tmp_path, settings_, effects)
    assert flows_of([lab.attempt() for _ in flows]) == flows


def test_off_is_off(tmp_path: Path) -> None:
    """A machine that is left alone is offered no flow in the end."""
    lab = Lab(tmp_path, effects=Effects(flow="off", adaptive=True))
    assert flows_of([lab.attempt() for _ in range(4)]) == ["off"] * 4


async def test_remembered(lab: Lab) -> None:
    """What was found out survives a restart, and holds for good once a file was fetched."""
    lab.attempt()
    assert lab.discover() == "binl"
    await lab.adaptation.keep()
    lab.start()
    assert lab.discover() == "binl"
    lab.adaptation.fetched(PC.mac)
    await lab.adaptation.keep()
    lab.start()
    assert flows_of([lab.attempt() for _ in range(5)]) == ["binl"] * 5
    assert lab.adaptation.tried(PC.mac) == Tried("binl", "complete", PC.architecture, at=1090.0, is_proven=True)


def test_firmware_that_was_set_to_something_else(lab: Lab) -> None:
    """BIOS where UEFI was begins anew; so does a machine whose row says something else now."""
    lab.attempt()
    assert lab.discover() == "binl"
    assert lab.discover(replace(PC, architecture=Architecture.X86_BIOS)) == "complete"


def test_flow_without_discovering(lab: Lab) -> None:
    """Asking for the present flow counts nothing."""
    applied = lab.quirks.apply(PC)
    assert lab.adaptation.flow(applied) == "complete"
    assert lab.adaptation.tried(PC.mac) is None
    lab.attempt()
    lab.discover()
    assert lab.adaptation.flow(applied) == "binl"
    assert lab.adaptation.flow(lab.quirks.apply(replace(PC, architecture=Architecture.X86_BIOS))) == "complete"


def test_strangers_are_no_machines(lab: Lab) -> None:
    """Whoever never discovered has nothing to be counted."""
    lab.adaptation.hear(LEASING)
    lab.adaptation.hear(BootServerAsked(PC, None))
    lab.adaptation.fetched(PC.mac)
    assert lab.adaptation.tried(PC.mac) is None


def test_only_so_many_machines(lab: Lab) -> None:
    """The one that was silent longest is forgotten."""
    macs = [f"02:00:00:00:00:0{number}" for number in range(4)]
    for mac in macs:
        lab.discover(replace(PC, mac=mac))
    assert [lab.adaptation.tried(mac) is not None for mac in macs] == [False, True, True, True]


async def test_only_what_was_moved_is_kept(lab: Lab) -> None:
    """Nothing is written of machines that boot as all do."""
    lab.discover()
    lab.adaptation.fetched(PC.mac)
    await lab.adaptation.keep()
    assert not (lab.root / ".rootwire" / FILE).exists()


@pytest.mark.parametrize("text", ["{", '{"x": 1}', '{"02:00:00:00:00:01": {"flow": "fast", "first": "x"}}'])
def test_spoilt_memory(text: str, tmp_path: Path) -> None:
    """It is as none, and said."""
    (tmp_path / ".rootwire").mkdir()
    (tmp_path / ".rootwire" / FILE).write_text(text)
    assert FlowMemory(tmp_path).recall({}) == {}


def test_tree_that_cannot_be_written_to(tmp_path: Path) -> None:
    """What can't be kept is forgotten, and the machine is served all the same."""
    (tmp_path / ".rootwire").write_text("in the way")
    memory = FlowMemory(tmp_path)
    for _ in range(2):
        memory.remember({PC.mac: Tried("binl", "complete", 7)})
    assert (tmp_path / ".rootwire").read_text() == "in the way"


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["discover", "lease", "boot", "4011", "http"]), st.floats(0, 200)), max_size=60)
)
def test_any_life(tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, float]]) -> None:
    """A flow is never left before it was offered so often, so long, and an address was asked for."""
    lab = Lab(tmp_path_factory.mktemp("life"))
    before: FlowName = "complete"
    since_change: list[tuple[str, float]] = []
    for what, now in zip((name for name, _ in events), accumulate(pause for _, pause in events), strict=True):
        lab.now = 1000 + now
        happen(lab, what)
        tried = lab.adaptation.tried(PC.mac)
        if tried and tried.flow != before:
            discovers = [at for name, at in since_change if name == "discover"]
            assert len(discovers) >= 4
            assert now - discovers[0] >= 60
            assert "lease" in {name for name, _ in since_change}
            before, since_change = tried.flow, []
        if what in ("boot", "4011"):
            since_change = []
        since_change.append((what, now))


def happen(lab: Lab, what: str) -> None:
    """One thing in a machine's life."""
    match what:
        case "discover":
            lab.discover()
        case "lease":
            lab.adaptation.hear(LEASING)
        case "boot":
            lab.adaptation.fetched(PC.mac)
        case "4011":
            lab.adaptation.hear(BootServerAsked(PC, None))
        case "http":
            lab.discover(replace(HTTP, mac=PC.mac))
