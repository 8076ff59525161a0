"""The HTTP endpoint's connections: who gets in, who is thrown out, and what can't be parsed."""

import asyncio
import logging
import random
import socket
import stat
import struct
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from protocols.http.endpoint import Complaints, HttpLimits, HttpServer
from storage.image import BytesImage, FileImage
from tests.protocols.http.conftest import PATIENCE, Box, Caller, Serve, Tree

FUZZ_SEED = 2347  # any; fixed so that a failure comes back
TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64)


@pytest.fixture(autouse=True)
def file(tree: Tree) -> None:
    """One file to ask for."""
    tree.files["x"] = BytesImage(b"content")


async def works(box: Box) -> bool:
    """Whether the server still serves."""
    return (await box.ask("GET /x HTTP/1.1")).body == b"content"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\r\n\r\nGARBAGE\r\n\r\n",
        b"GET /x HTTP/9.9\r\n\r\n",
        b"GET /x HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 5000 + b"\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 100 + b"\r\n",
        TLS_HELLO,
        b"\x00" * 100,
    ],
)
async def test_what_is_no_request(box: Box, garbage: bytes) -> None:
    """Counted, answered 400, the connection closed; no error of ours, and others are served."""
    with capture_logs() as lines:
        caller = await box.call()
        caller.send(garbage)
        answer = await caller.rest()
        assert await works(box)
    assert answer.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
    assert box.server.counts["malformed"] == 1
    assert [line for line in lines if line["log_level"] in ("error", "warning")] == []


async def test_garbage_behind_a_request(box: Box) -> None:
    """A client that loses its thread is told so, and closed."""
    caller = await box.call()
    assert (await caller.ask("GET /x HTTP/1.1")).body == b"content"
    caller.send("GARBAGE\n\n")
    assert b" 400 " in (await caller.rest()).split(b"\r\n")[0]


async def say(box: Box, words: list[bytes]) -> None:
    """Say all that on one connection, reading whatever comes, until either side is done."""
    caller = await box.call()
    try:
        for word in words:
            caller.send(word)
            await caller.writer.drain()
        caller.writer.write_eof()
        await caller.rest()
    except (ConnectionError, OSError):
        return  # it was thrown out in the middle: as good an end as any


async def test_random_bytes(box: Box) -> None:
    """Random bytes, and requests with random bytes in them, from many clients: still serving, nothing unexpected."""
    dice = random.Random(FUZZ_SEED)
    request = b"GET /x HTTP/1.1\r\nHost: box\r\nRange: bytes=0-3\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"
    with capture_logs() as lines:
        for _ in range(12):
            talks = []
            for _ in range(20):
                bent = bytearray(request)
                for _ in range(dice.randrange(4)):
                    bent[dice.randrange(len(bent))] = dice.randrange(256)
                talks.append([bytes(bent), dice.randbytes(dice.randrange(300))])
            await asyncio.gather(*(say(box, words) for words in talks))
        assert await works(box)
    assert box.server.counts["malformed"] > 0
    assert [line for line in lines if line["log_level"] == "error"] == []


async def test_a_request_byte_by_byte(box: Box) -> None:
    """However the segments are cut, it is the same request."""
    caller = await box.call()
    for byte in b"GET /x HTTP/1.1\r\nHost: box\r\n\r\n":
        caller.send(bytes([byte]))
        await caller.writer.drain()
    assert (await caller.reply()).body == b"content"


@pytest.mark.parametrize("said", ["", "GET /x HTTP/1.1\nHost: bo", "GET /x HTTP/1.1\nHost: box\n\n"])
async def test_the_idle_and_the_slow_are_closed(serve: Serve, said: str) -> None:
    """Nobody holds a connection without a request: silent from the start, in the middle of one, or after one."""
    async with serve(limits=HttpLimits(idle=0.2)) as box:
        caller = await box.call()
        caller.send(said)
        answer = await caller.rest()
        assert answer.endswith(b"content") == said.endswith("\n\n")
        assert await works(box)


async def test_a_client_that_takes_nothing_in(serve: Serve, tree: Tree, tmp_path: Path) -> None:
    """Counted and cut off, while others are served."""
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 30)
    tree.files["huge"] = FileImage(tmp_path / "huge")
    async with serve(limits=HttpLimits(stall=0.2)) as box:
        caller = await box.call()
        caller.send("GET /huge HTTP/1.1\nHost: box\n\n")
        assert await works(box)
        ends = {(await box.finished()).status, (await box.finished()).status}
        assert ends == {200, 499}
        assert box.server.counts["stalled"] == 1


async def until_served(box: Box, request: str) -> int:
    """How often a client that comes again is told to, until it gets its file."""
    refused = 0
    async with asyncio.timeout(PATIENCE):
        while (await box.ask(request)).status == 503:
            refused += 1
    return refused


@pytest.mark.parametrize("limits", [HttpLimits(connections=1), HttpLimits(connections_per_client=1)])
async def test_one_too_many_is_told_to_come_again(serve: Serve, limits: HttpLimits) -> None:
    """503 with Retry-After, which iPXE and curl honour (quirks I-6); served once there is room."""
    async with serve(limits=limits) as box:
        first = await box.call()
        await first.ask("GET /x HTTP/1.1")
        second = await box.ask("GET /x HTTP/1.1")
        assert (second.status, second.fields["Retry-After"]) == (503, "5")
        assert second.body == b"too many connections\n"
        assert box.server.counts["turned_away"] == 1
        assert (await first.ask("GET /x HTTP/1.1")).status == 200
        await first.close()
        await until_served(box, "GET /x HTTP/1.1")


async def test_the_refused_who_stay_are_closed(serve: Serve) -> None:
    """One that is told to come again but says nothing, or goes on talking, does not stay either."""
    async with serve(limits=HttpLimits(connections=1, turn_away=0.2)) as box:
        first = await box.call()
        await first.ask("GET /x HTTP/1.1")
        talker = await box.call()
        talker.send("GET /x HTTP/1.1\n\n")
        assert (await talker.reply()).status == 503
        talker.send("GET /x HTTP/1.1\n\n")
        assert await talker.rest() == b""


async def ended(caller: Caller) -> bool:
    """Whether the server ended a connection without a word."""
    try:
        return await caller.rest() == b""
    except ConnectionResetError:
        return True


async def test_even_refusals_are_bounded(serve: Serve) -> None:
    """Past as many refusals as connections, the rest are reset unheard."""
    async with serve(limits=HttpLimits(connections=1, turn_away=PATIENCE)) as box:
        first = await box.call()
        await first.ask("GET /x HTTP/1.1")
        await box.call()
        assert await ended(await box.call())
        assert box.server.counts["turned_away"] == 2


async def test_reset_before_a_word(box: Box) -> None:
    """A port scan: connected and reset at once, many times; everybody is counted out again."""
    for n in range(3 * HttpLimits().connections_per_client):
        if n % 16 == 0:
            assert await works(box)  # also lets the server see those before
        with socket.create_connection(("127.0.0.1", box.server.port)) as scan:
            scan.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert await works(box)


async def test_routes_stand_before_the_tree(serve: Serve, tree: Tree) -> None:
    """The appliance's API answers under its names, the tree under all others and other methods."""

    async def machines(request: web.Request) -> web.Response:
        return web.json_response([])

    async with serve(routes=[web.get("/api/machines", machines)]) as box:
        assert (await box.ask("GET /api/machines HTTP/1.1")).body == b"[]"
        assert (await box.ask("GET /api/other HTTP/1.1")).status == 404
        assert (await box.ask("DELETE /api/machines HTTP/1.1")).status == 405
        assert tree.asked == [("api/other", "127.0.0.1")]


async def test_a_failure_of_ours_is_logged_in_full(serve: Serve) -> None:
    """A bug answers 500, and its traceback is in the log."""

    async def broken(request: web.Request) -> web.Response:
        raise TypeError("our own bug")

    async with serve(routes=[web.get("/broken", broken)]) as box:
        with capture_logs() as lines:
            reply = await box.ask("GET /broken HTTP/1.1")
        assert reply.status == 500
        assert b"our own bug" not in reply.body
        (line,) = (line for line in lines if line["log_level"] == "error")
        assert (line["event"], str(line["exc_info"])) == ("handler_failed", "our own bug")
        assert await works(box)


async def test_the_unix_socket(serve: Serve, tree: Tree, tmp_path: Path) -> None:
    """Serves the same, to the user and group only, and goes with the server; its client is this machine."""
    path = tmp_path / "api.sock"
    async with serve(unix_path=path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        caller = Caller(*await asyncio.open_unix_connection(path))
        assert (await caller.ask("GET /x HTTP/1.1")).body == b"content"
        assert tree.asked == [("x", "127.0.0.1")]
        await caller.close()
    assert not path.exists()


async def refuse_all(name: str, client: str, size: int | None = None) -> web.Response:
    """A policy that is never asked."""
    raise AssertionError(name)


def make_server() -> HttpServer:
    """One that is bound but not run."""
    return HttpServer(open_read=refuse_all, open_write=refuse_all, report=print)  # type: ignore[arg-type]  # never asked


async def test_a_port_in_use(box: Box) -> None:
    """OSError from bind, untouched; the other goes on."""
    with pytest.raises(OSError, match="in use"):
        await make_server().bind("127.0.0.1", box.server.port)
    assert await works(box)


async def test_a_unix_socket_that_cannot_be(tmp_path: Path) -> None:
    """Then the TCP port is given back too."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(FileNotFoundError):
        await make_server().bind("127.0.0.1", port, tmp_path / "none" / "api.sock")
    with socket.create_server(("127.0.0.1", port)):
        pass


async def test_everything_is_closed_at_the_end(serve: Serve) -> None:
    """Open connections too, in time."""
    async with serve() as box:
        port = box.server.port
        caller = Caller(*await asyncio.open_connection("127.0.0.1", port))
        await caller.ask("GET /x HTTP/1.1")
    assert await ended(caller)
    await caller.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_the_end_does_not_wait_for_downloads(serve: Serve, tree: Tree, tmp_path: Path) -> None:
    """A client in the middle of a file is cut off after a moment; it comes again."""
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 30)
    tree.files["huge"] = FileImage(tmp_path / "huge")
    async with asyncio.timeout(PATIENCE), serve() as box:
        caller = Caller(*await asyncio.open_connection("127.0.0.1", box.server.port))
        caller.send("GET /huge HTTP/1.1\nHost: box\n\n")
        await caller.reader.readexactly(1000)
    await caller.close()
    assert tree.finished.qsize() == 1


def test_complaints_without_a_cause_are_told() -> None:
    """What aiohttp says in words only is an error as well."""
    with capture_logs() as lines:
        Complaints(Counter()).emit(logging.LogRecord("http", logging.ERROR, "", 0, "odd: %s", ("x",), None))
    assert [(line["event"], line["reason"]) for line in lines] == [("handler_failed", "odd: x")]
