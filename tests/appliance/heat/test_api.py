"""Heat over the API and by the command, of a real image."""

import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from rich.console import Console

from appliance.errors import OperatorError
from appliance.heat.api import HeatMaps
from appliance.heat.command import show_heat
from appliance.heat.recording import Recorder
from appliance.images.catalog import Catalog
from storage import squashfs

MAC = "52:54:00:77:00:01"
Client = TestClient[web.Request, web.Application]


@pytest.fixture
def catalog(tool: Callable[[str], str], tmp_path: Path) -> Catalog:
    """A squashfs with three files, another file system, and a squashfs that is damaged."""
    (tmp_path / "image").mkdir()
    for name in ("init", "sh", "unread"):
        path = tmp_path / "tree/bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(300_000))
    made = tmp_path / "image/root"
    subprocess.run([tool("mksquashfs"), tmp_path / "tree", made, "-quiet", "-no-progress"], check=True)
    (tmp_path / "image/xfs").write_bytes(b"XFSB".ljust(4096, b"\0"))
    (tmp_path / "image/broken").write_bytes(made.read_bytes()[:48].ljust(1 << 20, b"\0"))
    catalog = Catalog(tmp_path / "image")
    catalog.refresh()
    return catalog


@pytest.fixture
def recorder() -> Recorder:
    """Nothing recorded yet."""
    return Recorder()


@pytest.fixture
async def client(catalog: Catalog, recorder: Recorder) -> AsyncIterator[Client]:
    app = web.Application()
    app.add_routes(HeatMaps(catalog, recorder).routes())
    async with TestClient(TestServer(app)) as client:
        yield client


def boot(catalog: Catalog, recorder: Recorder, *names: str, client: str = MAC) -> None:
    """Read files as a machine does."""
    entry = catalog.get("root")
    trace = recorder.open("root", client)
    assert entry is not None
    assert trace is not None
    opened = squashfs.open(entry.image)
    for name in names:
        start, length, _, _ = opened.open_file(name).layout
        trace.note(start, length)
    recorder.close("root", client)


def url_of(client: Client) -> str:
    """Where it listens."""
    return str(client.make_url("/"))


async def test_files_are_named(client: Client, catalog: Catalog, recorder: Recorder) -> None:
    """In the order of the boot."""
    boot(catalog, recorder, "bin/sh", "bin/init")
    async with client.get("/api/heat/root") as answer:
        report = await answer.json()
    assert [part["names"] for part in report["ranges"]] == [["bin/sh"], ["bin/init"]]
    assert [boot["client"] for boot in report["boots"]] == [MAC]


async def test_one_clients_boots(client: Client, catalog: Catalog, recorder: Recorder) -> None:
    """By its MAC in any spelling."""
    boot(catalog, recorder, "bin/sh")
    boot(catalog, recorder, "bin/init", client="52:54:00:77:00:02")
    async with client.get("/api/heat/root", params={"client": "52-54-00-77-00-02"}) as answer:
        assert [part["names"] for part in (await answer.json())["ranges"]] == [["bin/init"]]


@pytest.mark.parametrize("name", ["nonesuch", "xfs", "broken"])
async def test_what_has_no_heat_is_refused(client: Client, name: str) -> None:
    """No such image, another file system, a damaged one: each says which."""
    async with client.get(f"/api/heat/{name}") as answer:
        assert answer.status == 404
        assert name in (await answer.json())["error"]


async def test_the_table(client: Client, catalog: Catalog, recorder: Recorder, tmp_path: Path) -> None:
    """A line a boot, a row a file, with when and how much."""
    boot(catalog, recorder, "bin/sh", "bin/init")
    boot(catalog, recorder, "bin/sh", client="52:54:00:77:00:02")
    with (tmp_path / "shown").open("w+") as file:
        await show_heat("root", socket=tmp_path, url=url_of(client), console=Console(file=file, width=120))
        shown = (tmp_path / "shown").read_text()
    lines = [line for line in shown.splitlines() if line.rstrip().endswith(("bin/sh", "bin/init"))]
    assert [line.split()[-2:] for line in lines] == [["2", "bin/sh"], ["1", "bin/init"]]
    assert f"{MAC}: 60" in shown


async def test_json(client: Client, catalog: Catalog, recorder: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    """The API's own, also of an image that nobody has booted."""
    await show_heat("root", as_json=True, socket=Path(), url=url_of(client))
    assert json.loads(capsys.readouterr().out) == {"image": "root", "boots": [], "ranges": []}


async def test_the_sort_file(client: Client, catalog: Catalog, recorder: Recorder, tmp_path: Path) -> None:
    """Files that were read, first the first."""
    boot(catalog, recorder, "bin/sh", "bin/init")
    await show_heat("root", sort_file=tmp_path / "sort", socket=tmp_path, url=url_of(client))
    assert (tmp_path / "sort").read_bytes() == b"bin/sh -1\nbin/init -2\n"


@pytest.mark.parametrize(
    ("image", "told"),
    [
        ("root", "no boot of root was recorded"),
        ("nonesuch", "no squashfs image nonesuch"),
        ("image/root", "is no image's name"),
    ],
)
async def test_mistakes_are_told(client: Client, image: str, told: str) -> None:
    """In one line that says what to do."""
    with pytest.raises(OperatorError, match=told):
        await show_heat(image, socket=Path(), url=url_of(client))


async def test_a_sort_file_that_can_not_be_written(client: Client, catalog: Catalog, recorder: Recorder) -> None:
    """Is the operator's to mend."""
    boot(catalog, recorder, "bin/sh")
    with pytest.raises(OperatorError, match="sort file"):
        await show_heat("root", sort_file=Path("/nonesuch/sort"), socket=Path(), url=url_of(client))
