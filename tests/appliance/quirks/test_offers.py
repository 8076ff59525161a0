"""What a machine with quirks is offered."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.quirks.adaptive import Adaptation
from appliance.quirks.memory import FlowMemory, Tried
from appliance.quirks.model import Effects, QuirkSettings
from appliance.quirks.offers import heed_quirks
from appliance.quirks.table import Quirks
from protocols.dhcp.offer import Flow, MenuItem, Offer, Plan, Refusal
from protocols.dhcp.request import Architecture, BootRequest
from tests.appliance.quirks.requests import HTTP, IPXE, PC, PI

SNPONLY = Offer("snponly.efi")
URL = Offer("http://10.77.0.2/boot.efi", "http")


def offered(request: BootRequest, effects: Effects | None = None, plan: Offer | Refusal = SNPONLY) -> Offer | Refusal:
    """What a machine is offered when its own table says this, and the plan that."""
    return heeding(effects, plan)(request)


def heeding(effects: Effects | None = None, plan: Offer | Refusal = SNPONLY) -> Plan:
    """A plan that heeds quirks; every machine's own table says `effects`."""
    machines = dict.fromkeys((PC.mac, PI.mac), effects) if effects else {}
    adaptation = Adaptation(QuirkSettings(), clock=lambda: 0.0, memory=FlowMemory(Path("/nonexistent")))
    return heed_quirks(lambda asked: plan, Quirks(QuirkSettings(), machines=machines), adaptation)


def test_machine_without_quirks() -> None:
    """It is offered what the plan has."""
    assert offered(PC) == Offer("snponly.efi")


@pytest.mark.parametrize("flow", ["binl", "complete"])
def test_flow(flow: Flow) -> None:
    """The same boot file by another flow, and who had it so."""
    assert offered(PC, Effects(flow=flow)) == Offer("snponly.efi", flow, quirk=name_of(PC))


def test_menu() -> None:
    """As many items as are wanted, all of them the same."""
    found = offered(replace(PC, mac="00:e0:4c:68:00:01"))
    items = (MenuItem("Boot from the network", "snponly.efi"), MenuItem("Boot from the network (2)", "snponly.efi"))
    assert found == Offer("snponly.efi", "menu", items, 0, quirk="realtek-uefi")


def test_menu_of_its_own() -> None:
    """One item, and as long as is said."""
    found = offered(PC, Effects(flow="menu", menu_items=1, menu_seconds=5))
    assert isinstance(found, Offer)
    assert (len(found.menu), found.menu_seconds) == (1, 5)


def test_raspberry_pi() -> None:
    """Its name is in the offer, and its own first file, though it says that it is a PC (D-14, D-27)."""
    assert offered(PI) == Offer("config.txt", banner="Raspberry Pi Boot", quirk="raspberry-pi-5")


def test_loader_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing, and how to get it."""
    monkeypatch.setattr("appliance.quirks.offers.missing_files", lambda name: ("it",))
    monkeypatch.setattr("appliance.quirks.offers.remedy", lambda missing: "run apt install ipxe")
    assert offered(PC, Effects(loader="ipxe.efi")) == Refusal("ipxe.efi is its loader: run apt install ipxe")


def test_loader_where_the_plan_has_none() -> None:
    """An operator's own file serves a machine that there is no loader for."""
    found = offered(replace(PC, architecture=Architecture.ITANIUM_UEFI), Effects(loader="elilo.efi"), Refusal("none"))
    assert isinstance(found, Offer)
    assert found.boot_file == "elilo.efi"


def test_refusal_of_the_plan() -> None:
    """It stands."""
    assert offered(PC, Effects(flow="menu"), Refusal("no loader")) == Refusal("no loader")


@pytest.mark.parametrize("request_", [PC, IPXE, HTTP])
def test_off(request_: BootRequest) -> None:
    """The machine is left alone, as it is wanted."""
    found = offered(request_, Effects(flow="off"))
    assert found == Refusal(f"{name_of(request_)} says that it is left alone", is_wanted=True)


def name_of(request: BootRequest) -> str:
    """Who has a say over such a machine whose own table has."""
    row = {IPXE: "ipxe, ", HTTP: "uefi-http, "}.get(request, "")
    return f'{row}[machines."{request.mac}".quirks]'


def test_http_boot_only() -> None:
    """Its PXE gets no answer, its HTTP boot does."""
    found = offered(PC, Effects(flow="http"))
    assert isinstance(found, Refusal)
    assert found.is_wanted
    assert offered(HTTP, Effects(flow="http"), URL) == replace(URL, quirk=name_of(HTTP))


@pytest.mark.parametrize(("request_", "plan"), [(HTTP, URL), (IPXE, Offer("boot.ipxe"))])
def test_one_flow_only(request_: BootRequest, plan: Offer) -> None:
    """HTTP boot and iPXE have their own; a machine's other flow and loader are for its PXE ROM."""
    found = offered(request_, Effects(flow="binl", loader="ipxe.efi"), plan)
    assert found == replace(plan, quirk=name_of(request_))


@pytest.mark.parametrize("request_", [HTTP, IPXE])
def test_refusal_of_the_plan_for_one_flow(request_: BootRequest) -> None:
    """It stands there, too."""
    assert offered(request_, plan=Refusal("no URL")) == Refusal("no URL")


def test_flow_that_was_tried(tmp_path: Path) -> None:
    """The next one is offered, and what had a say; port 4011 answers by the same without counting."""
    memory = FlowMemory(tmp_path)
    memory.remember({PC.mac: Tried("menu", "complete", PC.architecture)})
    adaptation = Adaptation(QuirkSettings(), clock=lambda: 0.0, memory=memory)
    plan = heed_quirks(lambda asked: SNPONLY, Quirks(QuirkSettings()), adaptation)
    for request in (PC, replace(PC, via="4011")):
        found = plan(request)
        assert isinstance(found, Offer)
        assert (found.flow, len(found.menu), found.quirk) == ("menu", 2, "adaptive: complete not taken up")


def test_no_flow_was_taken_up(tmp_path: Path) -> None:
    """That is told where the machine's story is."""
    memory = FlowMemory(tmp_path)
    memory.remember({PC.mac: Tried("complete", "complete", PC.architecture, is_exhausted=True)})
    adaptation = Adaptation(QuirkSettings(), clock=lambda: 0.0, memory=memory)
    found = heed_quirks(lambda asked: SNPONLY, Quirks(QuirkSettings()), adaptation)(PC)
    assert found == replace(SNPONLY, quirk="adaptive: no flow taken up")
