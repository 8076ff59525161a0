"""The API of machines' disks and the command over it: lists them, and throws them away for local users only."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from rich.console import Console

from appliance.client import Place
from appliance.errors import OperatorError
from appliance.exports.addresses import Addresses
from appliance.exports.api import ExportApi
from appliance.exports.command import EXPORTS, change_exports, exports_view
from appliance.exports.exports import Exports
from appliance.exports.targets import Targets
from appliance.reports.listing import show_list
from protocols.nbd.events import Connection
from tests.appliance.exports.conftest import MIB, MINE, THEIRS, World
from tests.appliance.exports.test_targets import Server

RW, SWAP, OTHERS = "rw-525400A1B2C3", "swap-525400A1B2C3", "rw-525400000002"


class Box:
    """An appliance with two machines' disks, asked over its socket and over TCP."""

    def __init__(self, world: World, folder: Path) -> None:
        self.exports: Exports = world.exports()
        self.server = Server()
        self.targets = Targets(self.exports, Addresses(folder), self.server, wants=lambda mac: True)
        self.connections: list[Connection] = []
        self.api = ExportApi(
            self.exports, self.targets, policy=lambda mac: world.policies[mac], connections=lambda: self.connections
        )
        self.socket = folder / "api.sock"
        self.url = ""

    def names(self) -> list[str]:
        """The disks that there are."""
        return [f"{disk.kind}-{disk.mac.replace(':', '').upper()}" for disk in self.exports.disks]


@pytest.fixture
async def box(world: World, tmp_path: Path) -> AsyncIterator[Box]:
    """One machine's disk and swap, over AoE and NBD; another's disk."""
    made = Box(world, tmp_path)
    for name, client in ((RW, "10.0.0.1"), (SWAP, "10.0.0.1"), (OTHERS, "10.0.0.2")):
        image = await made.exports.find(name, client)
        image.write_at(0, b"used")
        image.sync()
    await made.targets.show(MINE)
    application = web.Application()
    application.add_routes(made.api.routes())
    runner = web.AppRunner(application)
    await runner.setup()
    await web.UnixSite(runner, str(made.socket)).start()
    async with TestServer(application) as server:
        made.url = str(server.make_url("/"))
        yield made
    await runner.cleanup()


async def listed(box: Box, capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """What the command prints as JSON."""
    await show_list(EXPORTS, Place(box.socket), as_json=True)
    rows: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return rows


async def test_every_disk_is_listed(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    """With all that there is to say of it."""
    box.connections.append(Connection("10.0.0.1", 40000, RW, 0, 4, 2, 0.0))
    rows = await listed(box, capsys)
    assert [row["name"] for row in rows] == [OTHERS, RW, SWAP]
    assert rows[1] == {
        "name": RW,
        "machine": MINE,
        "kind": "write",
        "target": "e16.1",
        "base": None,
        "bytes": 4 * MIB,
        "used": 4096,
        "policy": "keep",
        "connected": ["10.0.0.1:40000"],
    }
    assert (rows[2]["policy"], rows[2]["bytes"], rows[2]["target"]) == ("discard", MIB, None)


async def test_as_a_table(box: Box) -> None:
    """A row a disk; a sentence where there is none."""
    console = Console(width=120, record=True)
    console.print(exports_view(await box.api.reports()))
    text = console.export_text()
    assert f"{MINE}  {RW} e16.1" in text
    assert "4.2 MB  4.1 kB" in text
    narrow = Console(width=80, record=True)
    narrow.print(exports_view(await box.api.reports()))
    assert f"{MINE}  {RW} e16.1  write" in narrow.export_text()
    console.print(exports_view([]))
    assert "no machine has a disk yet" in console.export_text()


@pytest.mark.parametrize(
    ("who", "left", "concerned"),
    [
        (MINE.upper().replace(":", "-"), [OTHERS], [RW, SWAP]),
        (RW, [OTHERS, SWAP], [RW]),
        (THEIRS, [RW, SWAP], [OTHERS]),
    ],
)
async def test_delete(box: Box, who: str, left: list[str], concerned: list[str]) -> None:
    """A machine's, or one; its AoE address goes with it."""
    assert await change_exports(who, reset=False, force=False, socket=box.socket) == concerned
    assert box.names() == left
    assert (box.targets.address(MINE) is None) == (RW in concerned)
    assert (box.server.targets == {}) == (RW in concerned)


async def test_reset(box: Box) -> None:
    """The address stays, and what is served there is new."""
    assert await change_exports(RW, reset=True, force=False, socket=box.socket) == [RW]
    assert box.server.targets[16, 1].image.read_at(0, 4) == bytes(4)
    assert (await box.exports.find(RW, "10.0.0.1")).read_at(0, 4) == bytes(4)


async def test_not_while_it_is_open(box: Box) -> None:
    """Unless it is forced: over NBD and over AoE alike."""
    box.connections.append(Connection("10.0.0.2", 40000, OTHERS, 0, 4, 2, 0.0))
    box.server.commands = 1
    for who in (OTHERS, RW):
        with pytest.raises(OperatorError, match=f"{who} is in use: .*--force"):
            await change_exports(who, reset=True, force=False, socket=box.socket)
    assert box.names() == [OTHERS, RW, SWAP]
    assert await change_exports(OTHERS, reset=False, force=True, socket=box.socket) == [OTHERS]
    assert box.names() == [RW, SWAP]


@pytest.mark.parametrize("who", ["rw-52540000FFFF", "52:54:00:00:ff:ff", "nonsense"])
async def test_what_is_not_there(box: Box, who: str) -> None:
    """Is said so."""
    with pytest.raises(OperatorError, match="there is no disk of"):
        await change_exports(who, reset=True, force=False, socket=box.socket)


@pytest.mark.parametrize("who", ["", "a/b"])
async def test_what_can_not_be_asked_for(box: Box, who: str) -> None:
    """Nor is a path of it."""
    with pytest.raises(OperatorError, match="is no MAC and no export"):
        await change_exports(who, reset=False, force=True, socket=box.socket)


async def test_nobody_on_the_network_throws_anything_away(box: Box) -> None:
    """Over TCP everything may be read, and nothing changed."""
    async with ClientSession(box.url) as session:
        for method, path, status in (
            ("GET", "/api/exports", 200),
            ("POST", f"/api/exports/{RW}/reset?force=yes", 403),
            ("DELETE", f"/api/exports/{RW}?force=yes", 403),
        ):
            async with session.request(method, path) as answer:
                assert answer.status == status
    assert box.names() == [OTHERS, RW, SWAP]
