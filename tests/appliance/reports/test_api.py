"""The API over real sockets: its paths, its JSON, and what an unknown machine gets."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import TypeAdapter

from appliance.images.catalog import Catalog
from appliance.images.checksums import Checksums
from appliance.images.memory import Memory
from appliance.reports.api import SLICE, list_machines, routes
from appliance.reports.report import MachineHistory, MachinesReport, report_image
from appliance.timeline.stage import Firmware, Stage
from appliance.timeline.timeline import Timeline

MAC = "52:54:00:77:00:01"
ADDRESS = "10.77.0.50"
Client = TestClient[web.Request, web.Application]


@pytest.fixture
def timeline() -> Timeline:
    """A timeline whose clock advances a second each time it is read."""
    ticks = iter(range(1000, 10_000))
    return Timeline(clock=lambda: float(next(ticks)))


@pytest.fixture
async def client(timeline: Timeline) -> AsyncIterator[Client]:
    app = web.Application()
    app.add_routes(routes(timeline, lambda: {"tftp": {"malformed": 3}, "nbd": {}}, {"version": "0.1.0"}))
    async with TestClient(TestServer(app)) as client:
        yield client


async def get(client: Client, path: str, status: int = 200) -> str:
    """The body of an answer that must have a status."""
    async with client.get(path) as answer:
        assert answer.status == status
        return await answer.text()


async def test_no_machines(client: Client) -> None:
    """An empty list, not an error."""
    assert json.loads(await get(client, "/api/machines")) == {
        "time": 1000.0,
        "machines": [],
        "images": [],
        "refused": [],
        "notes": [],
    }


async def test_machines_are_listed_with_their_present_boot(client: Client, timeline: Timeline) -> None:
    """Every field, spelled as documented."""
    timeline.note(
        Stage.DISCOVERED,
        mac=MAC,
        address=ADDRESS,
        firmware=Firmware.PXE,
        architecture="BIOS",
        uuid="4c4c4544-0042-3510-8053-b3c04f393233",
        detail="PXEClient",
    )
    timeline.note(Stage.LOADER, mac=MAC, detail="pxelinux.0", size=42_430, seconds=0.5)
    assert json.loads(await get(client, "/api/machines")) == {
        "time": 1002.0,
        "machines": [
            {
                "id": MAC,
                "mac": MAC,
                "addresses": [ADDRESS],
                "uuid": "4c4c4544-0042-3510-8053-b3c04f393233",
                "architecture": "BIOS",
                "firmware": "pxe",
                "runs": "pxe",
                "flow": None,
                "quirk": None,
                "stage": "loader",
                "waiting": 1.5,
                "overdue": None,
                "last_seen": 1001.0,
                "loader": "pxelinux.0",
                "root": None,
                "bytes": 42_430,
                "boot_count": 1,
                "boot": {
                    "began": 1000.0,
                    "stage": "loader",
                    "seconds": 0.5,
                    "bytes_read": 0,
                    "bytes_written": 0,
                    "steps": [
                        {
                            "stage": "discovered",
                            "at": 1000.0,
                            "after": 0.0,
                            "last": 1000.0,
                            "count": 1,
                            "detail": "PXEClient",
                            "bytes": 0,
                            "seconds": 0.0,
                            "second_stage": False,
                        },
                        {
                            "stage": "loader",
                            "at": 1000.5,
                            "after": 0.5,
                            "last": 1001.0,
                            "count": 1,
                            "detail": "pxelinux.0",
                            "bytes": 42_430,
                            "seconds": 0.5,
                            "second_stage": False,
                        },
                    ],
                },
            }
        ],
        "images": [],
        "refused": [],
        "notes": [],
    }


async def test_images_are_listed(timeline: Timeline, tmp_path: Path) -> None:
    """With their checksums once they are made, also beside the machines."""
    (tmp_path / "root").write_bytes(b"hello")
    catalog = Catalog(tmp_path, raw=["root"])
    catalog.load()
    checksums = Checksums(catalog, Memory(tmp_path))
    app = web.Application()
    reports = [report_image(entry, checksums, "replaced") for entry in catalog]
    app.add_routes(routes(timeline, dict, {}, lambda: reports))
    async with TestClient(TestServer(app)) as client:
        listed = json.loads(await get(client, "/api/images"))
        assert json.loads(await get(client, "/api/machines"))["images"] == listed
    assert listed == [
        {
            "name": "root",
            "format": "raw",
            "bytes": 5,
            "target": "e0.1",
            "hashed": 0,
            "md5": None,
            "sha256": None,
            "changed": "replaced",
        }
    ]


async def test_machines_are_ordered_by_name(client: Client, timeline: Timeline) -> None:
    """However recently each was seen."""
    for mac in ("52:54:00:77:00:03", "52:54:00:77:00:01", "52:54:00:77:00:02"):
        timeline.note(Stage.OFFERED, mac=mac)
    machines = TypeAdapter(MachinesReport).validate_json(await get(client, "/api/machines"))["machines"]
    assert [machine["id"][-2:] for machine in machines] == ["01", "02", "03"]


async def test_steps_can_be_left_out(client: Client, timeline: Timeline) -> None:
    """By those who ask every second and show a table."""
    timeline.note(Stage.KERNEL, mac=MAC)
    (machine,) = json.loads(await get(client, "/api/machines?steps=no"))["machines"]
    assert (machine["boot"]["stage"], machine["boot"]["steps"]) == ("kernel", [])


async def test_a_long_list_lets_others_through(timeline: Timeline) -> None:
    """The loop runs other tasks while the list is made; the list is whole nevertheless."""
    for number in range(3 * SLICE):
        timeline.note(Stage.KERNEL, address=f"10.77.1.{number}")
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count_turns())
    report = json.loads(await list_machines(timeline, with_steps=True))
    other.cancel()
    assert (len(report["machines"]), turns) == (3 * SLICE, 3)


async def test_a_machine_that_only_gave_a_sign_of_life(client: Client, timeline: Timeline) -> None:
    """No boot, no stage, still valid."""
    timeline.seen(MAC, create=True)
    machine = TypeAdapter(MachineHistory).validate_json(await get(client, f"/api/machines/{MAC}"))
    assert (machine["stage"], machine["boot"], machine["root"], machine["boots"]) == (None, None, None, [])


async def test_a_machine_that_waits_too_long_says_so(client: Client, timeline: Timeline) -> None:
    """Seconds and a hint."""
    timeline.note(Stage.OFFERED, mac=MAC)
    for _ in range(21):
        timeline.clock()
    overdue = json.loads(await get(client, f"/api/machines/{MAC}"))["overdue"]
    assert overdue["seconds"] == 22.0
    assert overdue["hint"].startswith("offered, but asked for no file")


@pytest.mark.parametrize("name", [MAC, MAC.upper(), "52-54-00-77-00-01", "5254.0077.0001", "525400770001", ADDRESS])
async def test_one_machine_by_any_of_its_names(client: Client, timeline: Timeline, name: str) -> None:
    """MAC in every spelling, or address; with the boots before."""
    for stage in (Stage.KERNEL, Stage.DISCOVERED):
        timeline.note(stage, mac=MAC, address=ADDRESS, firmware=Firmware.PXE)
    machine = TypeAdapter(MachineHistory).validate_json(await get(client, f"/api/machines/{name}"))
    assert (machine["id"], [boot["stage"] for boot in machine["boots"]]) == (MAC, ["kernel", "discovered"])


@pytest.mark.parametrize("name", ["52:54:00:77:00:09", "10.0.0.1", "nonsense"])
async def test_an_unknown_machine_is_not_found(client: Client, name: str) -> None:
    """404 and a sentence that names it."""
    assert json.loads(await get(client, f"/api/machines/{name}", 404)) == {"error": f"no machine {name} was seen"}


@pytest.mark.parametrize(("stage", "detail"), [(Stage.ROOT_LOADING, "image/root"), (Stage.ROOT_CONNECTED, "nbd root")])
async def test_root_names_what_it_loads_or_connected(
    client: Client, timeline: Timeline, stage: Stage, detail: str
) -> None:
    """A RAM image on its way counts as root too."""
    timeline.note(stage, mac=MAC, detail=detail)
    assert json.loads(await get(client, f"/api/machines/{MAC}"))["root"] == detail


async def test_counters(client: Client) -> None:
    """Each protocol's own names."""
    assert json.loads(await get(client, "/api/counters")) == {"tftp": {"malformed": 3}, "nbd": {}}


async def test_about(client: Client) -> None:
    """What the appliance says of itself."""
    assert json.loads(await get(client, "/api/about")) == {"version": "0.1.0"}


async def test_answers_are_not_kept_by_caches(client: Client) -> None:
    """They are true for a moment only."""
    async with client.get("/api/machines") as answer:
        assert (answer.headers["Cache-Control"], answer.content_type) == ("no-store", "application/json")


async def test_metrics_are_prometheus_text(client: Client) -> None:
    """With the content type that its scraper expects."""
    async with client.get("/metrics") as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert 'rootwire_protocol_events_total{event="malformed",protocol="tftp"} 3.0' in await answer.text()
