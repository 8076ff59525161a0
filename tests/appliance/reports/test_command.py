"""`rootwire status` against real servers: what it prints, and the one line that says why it can't."""

import asyncio
import contextlib
import io
import json
import socket as stdlib_socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest
from aiohttp import web
from rich.console import Console

from appliance import client
from appliance.client import Place
from appliance.errors import OperatorError
from appliance.reports import command
from appliance.reports.api import routes
from appliance.reports.command import fetch_machine, fetch_machines, show_status
from appliance.timeline.stage import Stage
from appliance.timeline.timeline import Timeline
from tests.clock import Clock

MAC = "52:54:00:77:00:01"
Serve = Callable[..., Awaitable[str]]


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "api.sock"


@pytest.fixture
async def serve(socket: Path) -> AsyncIterator[Serve]:
    """Starts a server of some routes, on the socket and a TCP port of loopback; gives its URL."""
    runners: list[web.AppRunner] = []

    async def start(*table: web.RouteDef) -> str:
        app = web.Application()
        app.add_routes(table)
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        await web.UnixSite(runner, str(socket)).start()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[1][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
def timeline() -> Timeline:
    """One machine that has had its kernel for three seconds."""
    clock = Clock()
    timeline = Timeline(clock=clock)
    timeline.note(Stage.KERNEL, mac=MAC, detail="boot/linux", size=8_200_000)
    clock.now += 3
    return timeline


@pytest.fixture
async def url(serve: Serve, timeline: Timeline) -> str:
    """An appliance that knows the timeline."""
    return await serve(*routes(timeline, dict, {}))


def answering(body: str, code: int = 200) -> web.RouteDef:
    """A route that always gives the same answer."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=body, status=code, content_type="application/json")

    return web.get("/api/machines", answer)


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that can move its cursor, whatever the tests are run from."""
    monkeypatch.setenv("TERM", "xterm")


def screen(*, terminal: bool = False, width: int = 80) -> Console:
    """24 lines high, written to memory."""
    return Console(file=io.StringIO(), width=width, height=24, color_system=None, force_terminal=terminal)


def text(console: Console) -> str:
    """What was written."""
    return cast(io.StringIO, console.file).getvalue()


@pytest.mark.usefixtures("url")
async def test_machines_come_over_the_socket(socket: Path) -> None:
    """As the API has them."""
    report = await fetch_machines(Place(socket))
    assert [(machine["id"], machine["waiting"]) for machine in report["machines"]] == [(MAC, 3.0)]


@pytest.mark.parametrize("spell", ["{}", "{}/", "127.0.0.1:{port}"])
async def test_machines_come_over_the_network(url: str, spell: str) -> None:
    """By URL, or by an address that is none yet."""
    place = Place(Path("/nonexistent"), spell.format(url, port=url.rpartition(":")[2]))
    assert len((await fetch_machines(place))["machines"]) == 1


@pytest.mark.usefixtures("url")
async def test_one_machine_by_name(socket: Path) -> None:
    """With every boot."""
    machine = await fetch_machine(Place(socket), MAC.upper())
    assert [boot["stage"] for boot in machine["boots"]] == ["kernel"]


class TestMistakes:
    """What keeps the appliance from being asked, in one line that names it and the remedy."""

    async def message(self, place: Place, name: str | None = None) -> str:
        """What the operator reads."""
        with pytest.raises(OperatorError) as error:
            await (fetch_machine(place, name) if name is not None else fetch_machines(place))
        assert "\n" not in str(error.value)
        return str(error.value)

    async def test_no_socket(self, socket: Path) -> None:
        """The appliance was never started."""
        assert await self.message(Place(socket)) == (
            f"no appliance is running at {socket}: "
            "start it with rootwire serve, or say where it is with --socket PATH or --url URL"
        )

    async def test_a_socket_that_nobody_listens_on(self, socket: Path) -> None:
        """The appliance was killed and left its socket behind."""
        with contextlib.closing(stdlib_socket.socket(stdlib_socket.AF_UNIX)) as abandoned:
            abandoned.bind(str(socket))
        assert (await self.message(Place(socket))).startswith(f"no appliance is running at {socket}: start it")

    async def test_no_right_to_open_the_socket(self, socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An ordinary user asks."""

        async def refuse(*_args: object, **_keywords: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(asyncio.get_running_loop(), "create_unix_connection", refuse)
        assert await self.message(Place(socket)) == f"no right to open {socket}: run this command as root"

    async def test_a_url_that_nobody_answers(self, socket: Path) -> None:
        """Loopback's port 1: refused at once."""
        message = await self.message(Place(socket, "http://127.0.0.1:1"))
        assert message.startswith("no appliance can be reached at http://127.0.0.1:1: ")
        assert message.endswith(client.START_IT)

    @pytest.mark.parametrize("url", ["http://", "http://[::", "http://a:b", "ftp://10.0.0.1"])
    async def test_a_url_that_is_none(self, socket: Path, url: str) -> None:
        """Said before anything is tried."""
        assert await self.message(Place(socket, url)) == f"{url} is no URL: name one such as http://192.168.0.2"

    async def test_an_appliance_that_hangs(self, socket: Path, serve: Serve) -> None:
        """It accepts and never answers."""
        released = asyncio.Event()

        async def hang(_request: web.Request) -> web.Response:
            await released.wait()
            return web.Response()

        await serve(web.get("/api/machines", hang))
        with pytest.raises(OperatorError, match=f"the appliance at {socket} gave no answer in 0 s"):
            await client.fetch(Place(socket), "api/machines", seconds=0.05)
        released.set()

    async def test_a_server_that_speaks_no_http(self, socket: Path) -> None:
        """Something else has the socket."""
        server = await asyncio.start_unix_server(lambda _reader, writer: writer.close(), socket)
        message = await self.message(Place(socket))
        server.close()
        assert message.startswith(f"{socket}: ")
        assert message.endswith("look at the appliance's log")

    @pytest.mark.parametrize(
        ("body", "said"), [("<html>", "the whole: Invalid JSON"), ('{"time": 1}', "machines: Field")]
    )
    async def test_an_answer_of_something_else(self, socket: Path, serve: Serve, body: str, said: str) -> None:
        """Another program, or another version of this one."""
        await serve(answering(body))
        message = await self.message(Place(socket))
        assert message.startswith(f"{socket} gave an answer that is no rootwire's: {said}")

    @pytest.mark.parametrize("code", [404, 500])
    async def test_another_status(self, socket: Path, serve: Serve, code: int) -> None:
        """Another web server."""
        await serve(answering("", code))
        assert (await self.message(Place(socket))).startswith(f"{socket} answered {code}: ")

    @pytest.mark.usefixtures("url")
    async def test_an_unknown_machine(self, socket: Path) -> None:
        """It may be spelled wrongly, or never have asked."""
        message = await self.message(Place(socket), "52:54:00:77:00:09")
        assert message == "machine 52:54:00:77:00:09 was not seen: list those that were: rootwire status"

    @pytest.mark.parametrize("name", ["", "../counters", "machine one", "a?b"])
    async def test_a_name_that_is_none(self, socket: Path, name: str) -> None:
        """It never becomes part of a URL."""
        assert (await self.message(Place(socket), name)).startswith(f"{name!r} is no MAC and no IPv4 address: ")


@pytest.mark.usefixtures("url")
class TestShow:
    """What is printed."""

    async def test_all_machines_as_a_table(self, socket: Path) -> None:
        """Once, with a summary."""
        console = screen()
        await show_status(socket=socket, console=console)
        assert text(console).splitlines()[-1].rstrip() == "1 machine: 1 kernel"

    async def test_one_machine_as_a_timeline(self, socket: Path) -> None:
        """Step by step."""
        console = screen()
        await show_status(MAC, socket=socket, console=console)
        assert "kernel  +0.00 s" in text(console)

    async def test_json_is_one_line(self, socket: Path) -> None:
        """However long: never wrapped, never coloured."""
        console = screen(terminal=True)
        await show_status(socket=socket, console=console, as_json=True)
        assert json.loads(text(console))["machines"][0]["id"] == MAC
        assert text(console).count("\n") == 1

    async def test_standard_output_is_the_default(self, socket: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """For pipes."""
        await show_status(socket=socket, as_json=True)
        assert json.loads(capsys.readouterr().out)["machines"][0]["id"] == MAC


class TestWatch:
    """Again every second."""

    @pytest.fixture(autouse=True)
    def _at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(command, "REFRESH_SECONDS", 0.0)

    async def watch_until(self, asked: asyncio.Event, socket: Path, console: Console, *, as_json: bool = False) -> None:
        """Watch until the server was asked often enough, then interrupt."""
        watching = asyncio.create_task(show_status(socket=socket, console=console, watch=True, as_json=as_json))
        await asyncio.wait([watching, asyncio.create_task(asked.wait())], return_when=asyncio.FIRST_COMPLETED)
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching

    def counted(self, answers: list[str]) -> tuple[web.RouteDef, asyncio.Event]:
        """A route that gives each answer once ("" is an error 500); the event is set when it is asked once more."""
        done = asyncio.Event()
        left = iter(answers)

        async def answer(_request: web.Request) -> web.Response:
            body = next(left, None)
            if body is None:
                done.set()
                return web.Response(text=answers[-1] or "{}", content_type="application/json")
            return web.Response(text=body, status=200 if body else 500, content_type="application/json")

        return web.get("/api/machines", answer), done

    async def test_a_terminal_is_redrawn(self, socket: Path, serve: Serve) -> None:
        """The cursor goes up again instead of the screen scrolling."""
        route, done = self.counted(['{"time": 1, "machines": [], "images": []}'] * 3)
        await serve(route)
        console = screen(terminal=True)
        await self.watch_until(done, socket, console)
        assert text(console).count("no machine has asked to boot yet") >= 3
        assert "\x1b[1A" in text(console) or "\x1b[2K" in text(console)

    async def test_an_appliance_that_goes_away_leaves_its_last_word(self, socket: Path, serve: Serve) -> None:
        """With the reason above it, until it is back."""
        empty = '{"time": 1, "machines": [], "images": []}'
        route, done = self.counted([empty, "", empty])
        await serve(route)
        console = screen(terminal=True, width=300)
        await self.watch_until(done, socket, console)
        after = text(console).partition("answered 500")[2]
        assert after.count("no machine has asked to boot yet") >= 2

    @pytest.mark.parametrize("terminal", [True, False])
    async def test_json_is_a_line_each_time(self, socket: Path, serve: Serve, terminal: bool) -> None:
        """For scripts, whoever looks on."""
        route, done = self.counted(
            ['{"time": 1, "machines": [], "images": []}', '{"time": 2, "machines": [], "images": []}']
        )
        await serve(route)
        console = screen(terminal=terminal)
        await self.watch_until(done, socket, console, as_json=True)
        assert [json.loads(line)["time"] for line in text(console).splitlines()][:2] == [1, 2]

    async def test_without_a_terminal_tables_follow_each_other(self, socket: Path, serve: Serve) -> None:
        """A log file has no cursor."""
        route, done = self.counted(['{"time": 1, "machines": [], "images": []}'] * 2)
        await serve(route)
        console = screen()
        await self.watch_until(done, socket, console)
        assert text(console).startswith("no machine has asked to boot yet\nno machine has asked to boot yet\n")

    async def test_the_first_question_must_succeed(self, socket: Path) -> None:
        """Else there is nothing to watch."""
        with pytest.raises(OperatorError):
            await show_status(socket=socket, console=screen(terminal=True), watch=True)
