"""What a machine would be offered, as the API tells and `rootwire explain` shows it."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from io import StringIO
from ipaddress import IPv4Interface
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from rich.console import Console

from appliance.config import Config, load_config
from appliance.enrolment.inbox import Inbox
from appliance.enrolment.members import Enrolments, Members
from appliance.errors import OperatorError
from appliance.exports.service import ExportService
from appliance.images.catalog import Catalog
from appliance.leases.service import LeaseService
from appliance.menus.files import ipxe_script_name
from appliance.offers.command import architecture_number, explanation_view, show_explanation
from appliance.offers.explanation import Explainer
from appliance.offers.policy import make_plan
from appliance.plan import Plans
from appliance.quirks.adaptive import Adaptation
from appliance.quirks.memory import FlowMemory, Tried
from appliance.quirks.table import Quirks
from appliance.tree import Tree
from protocols.aoe.endpoint import AoeServer
from protocols.dhcp.request import Architecture
from tests.appliance.quirks.requests import HTTP, IPXE, PC, PI

BOX = "10.77.0.2"
RUNS_IPXE = "00:1b:21:00:00:09"
SQUASHFS = b"hsqs" + bytes(36) + (4096).to_bytes(8, "little") + bytes(4048)
SETTINGS = """
[quirks.ouis."00:e0:4c"]
flow = "binl"
[machines."00:1b:21:00:00:0a"]
root = "aoe"
write = "keep"
[machines."00:1b:21:00:00:0f".quirks]
flow = "off"
[kiwi.groups.tills.client]
nbdroot = { export = "edge-1" }
[kiwi.machines."00:1b:21:00:00:0b"]
group = "tills"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A boot tree with one image and a kernel."""
    (tmp_path / "image").mkdir()
    (tmp_path / "image/edge-1").write_bytes(SQUASHFS)
    (tmp_path / "boot").mkdir()
    for name in ("linux", "initrd"):
        (tmp_path / "boot" / name).write_bytes(b"x")
    (tmp_path / "rootwire.toml").write_text(SETTINGS)
    return tmp_path


def make_explainer(root: Path, config: Config) -> Explainer:
    """Everything that decides, over a tree."""
    catalog = Catalog(root / "image")
    catalog.load()
    plans = Plans(config, catalog, server=BOX)
    members = Members(config.kiwi, Inbox(root), Enrolments(root))
    exports = ExportService(
        config,
        root / ".rootwire",
        aoe=AoeServer(report=lambda event: None),
        connections=tuple,
        mac_of=lambda client: None,
        image=lambda name: None,
        boots_over_aoe=lambda mac: False,
    )
    machines = {mac: own.quirks for mac, own in config.machines.items() if own.quirks}
    return Explainer(
        make_plan(
            BOX,
            bios_loader=lambda mac: "ipxe" if mac == RUNS_IPXE else "auto",
            script=ipxe_script_name,
            missing=lambda name: (),
        ),
        Quirks(config.quirks, machines=machines),
        Adaptation(config.quirks, clock=lambda: 0.0, memory=FlowMemory(root)),
        Tree(root, catalog=catalog, plans=plans, server=BOX, members=members),
        plans,
        exports,
        LeaseService(config, IPv4Interface(f"{BOX}/24"), root / ".rootwire", find=nobody),
    )


async def nobody(address: str) -> bytes | None:
    """Who has an address."""
    return None


@pytest.fixture
def explainer(root: Path) -> Explainer:
    """One that nobody has asked yet."""
    return make_explainer(root, load_config(root / "rootwire.toml"))


@pytest.fixture
async def url(explainer: Explainer) -> AsyncIterator[str]:
    """Where it is asked."""
    app = web.Application()
    app.add_routes(explainer.routes())
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


async def shown(url: str, who: str, arch: str | None = None) -> str:
    """What an operator sees."""
    console = Console(width=100, record=True, file=StringIO())
    await show_explanation(who, arch=arch, as_json=False, socket=Path(), url=url, console=console)
    return "\n".join(line.rstrip() for line in console.export_text().splitlines())


async def test_a_machine_that_asked(url: str, explainer: Explainer) -> None:
    """As it asked, by MAC in any spelling and by UUID."""
    explainer.quirks.note(replace(PC, architecture=Architecture.X86_BIOS, undi="2.1"))
    by_mac = await shown(url, "00-1B-21-00-00-01")
    assert by_mac == await shown(url, "12345678-9ABC-DEF0-1122-334455667788")
    assert by_mac.startswith("00:1b:21:00:00:01  BIOS  12345678-9abc-def0-1122-334455667788\nas it last asked\n")
    assert "offer to BIOS  pxelinux.0\n               flow complete: ROMs of PXE 2.1 boot from one" in by_mac
    assert "quirk          bios-undi-2: flow complete, blksize_max 1456, window_max 1, frag_ok False" in by_mac
    assert "* rootwire: boot/linux boot/initrd" in by_mac
    assert "client config  by [boot]\n               NBDROOT='10.77.0.2;edge-1;/dev/nbd0'" in by_mac
    assert by_mac.endswith("root           edge-1 over nbd")


async def test_a_machine_that_never_asked(url: str) -> None:
    """Its firmware must be said."""
    with pytest.raises(OperatorError, match="has not asked to boot: say what its firmware is, such as --arch x64"):
        await shown(url, PC.mac)
    assert "as such firmware would ask" in await shown(url, PC.mac, "bios")


async def test_both_stages(url: str, explainer: Explainer) -> None:
    """Where firmware is given iPXE, what that is given."""
    explainer.quirks.note(replace(PC, mac=RUNS_IPXE, architecture=Architecture.X86_BIOS))
    text = await shown(url, RUNS_IPXE)
    assert "offer to BIOS  undionly.kpxe" in text
    assert "offer to iPXE  http://10.77.0.2/boot-00-1b-21-00-00-09.ipxe" in text


async def test_what_is_said_of_a_machine(url: str) -> None:
    """Its own table, its group, its disks."""
    text = await shown(url, "00:1b:21:00:00:0a", "bios")
    assert 'by [machines."00:1b:21:00:00:0a"]' in text
    assert "root           edge-1 over aoe (e0.1), its own rw-001B2100000A and swap-001B2100000A" in text
    assert "by [kiwi.groups.tills]" in await shown(url, "00:1b:21:00:00:0b", "bios")


async def test_a_pinned_flow(url: str) -> None:
    """Who says so, after the row."""
    text = await shown(url, "00:e0:4c:00:00:01", "7")
    assert 'flow binl: [quirks.ouis."00e04c"] says so' in text
    assert "quirk" in text
    assert 'realtek-uefi, then [quirks.ouis."00e04c"]: flow binl' in text


async def test_a_machine_that_is_left_alone(url: str) -> None:
    """Nothing, and who has it so."""
    assert 'nothing: [machines."00:1b:21:00:00:0f"' in await shown(url, "00:1b:21:00:00:0f", "bios")


@pytest.mark.parametrize(
    ("tried", "because"),
    [
        (Tried("binl", "complete", 0), "flow binl: it did not take up complete"),
        (Tried("binl", "complete", 0, is_proven=True), "flow binl: the machine fetched a file by it"),
        (Tried("complete", "complete", 0, is_exhausted=True), "every flow was tried, and none was taken up"),
    ],
)
async def test_a_flow_that_was_tried(root: Path, tried: Tried, because: str) -> None:
    """Why it is offered that one."""
    FlowMemory(root).remember({PC.mac: tried})
    report = await make_explainer(root, Config()).explain(replace(PC, architecture=Architecture.X86_BIOS), True)
    console = Console(width=120, record=True, file=StringIO())
    console.print(explanation_view(report))
    assert because in console.export_text()


async def test_http_boot_and_ipxe(explainer: Explainer) -> None:
    """Neither has another stage behind it where it is asked for by itself."""
    for asking, to in ((IPXE, "iPXE"), (PI, "BIOS")):
        report = await explainer.explain(asking, True)
        assert [offer["to"] for offer in report["offers"]] == [to]
    report = await explainer.explain(HTTP, True)
    assert report["quirks"]["row"] == "uefi-http"


async def test_nothing_to_boot(tmp_path: Path) -> None:
    """What is missing is said."""
    (tmp_path / "image").mkdir()
    (tmp_path / "rootwire.toml").write_text('[kiwi]\nunknown = "register"\n')
    report = await make_explainer(tmp_path, load_config(tmp_path / "rootwire.toml")).explain(PC, True)
    console = Console(width=100, record=True, file=StringIO())
    console.print(explanation_view(report))
    text = console.export_text()
    assert "there is no kernel in boot/linux" in text
    assert "none: it registers, and waits to be enrolled" in text


async def test_config_for_all(root: Path, url: str) -> None:
    """A file of the tree's for everybody."""
    (root / "KIWI").mkdir()
    (root / "KIWI/config.default").write_text("NBDROOT='10.77.0.2;edge-1'\n")
    assert "by KIWI/config.default" in await shown(url, PC.mac, "bios")


async def test_config_of_its_own(root: Path, url: str) -> None:
    """A file of the tree's for this machine."""
    (root / "KIWI").mkdir()
    (root / f"KIWI/config.{PC.mac.upper()}").write_text("NBDROOT='10.77.0.2;edge-1'\n")
    assert "by the tree's KIWI/, for this machine" in await shown(url, PC.mac, "bios")


async def test_json(url: str) -> None:
    """The API's own answer."""
    console = Console(width=100, record=True, file=StringIO())
    await show_explanation(PC.mac, arch="bios", as_json=True, socket=Path(), url=url, console=console)
    report = json.loads(console.export_text())
    assert report["offers"] == [
        {
            "to": "BIOS",
            "boot_file": "pxelinux.0",
            "flow": "complete",
            "because": "nearly all firmware boots from one complete offer",
            "refused": None,
        }
    ]
    assert (report["architecture"], report["asked"], report["root"]["target"]) == (0, False, "e0.1")


@pytest.mark.parametrize("text", ["foo", "", "52:54", "1234"])
async def test_what_is_no_machine(text: str, url: str) -> None:
    """One line, before anybody is asked."""
    with pytest.raises(OperatorError, match="is no MAC and no UUID"):
        await shown(url, text)


async def test_a_uuid_that_nobody_has(url: str) -> None:
    """Only its MAC would do."""
    with pytest.raises(OperatorError, match="no machine with the UUID"):
        await shown(url, "00000000-0000-0000-0000-000000000000")


@pytest.mark.parametrize(("text", "number"), [("x64", 7), ("BIOS", 0), ("41", 41), ("arm64-http", 19)])
def test_architectures(text: str, number: int) -> None:
    """By name or by number."""
    assert architecture_number(text) == number


@pytest.mark.parametrize("text", ["x86-64", "-1", "65536", "1234567"])
def test_no_architecture(text: str) -> None:
    """The names are told."""
    with pytest.raises(OperatorError, match=r"use a number of option 93, or: bios, ia32, x64"):
        architecture_number(text)
