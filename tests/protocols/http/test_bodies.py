"""Long bodies over both paths, the native pump and its twin: the same bytes, the same ends."""

import asyncio
import hashlib
import os
import random
import socket
from collections.abc import AsyncIterator
from errno import EMFILE
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from protocols.http.channel import Exchange, PumpedPath
from protocols.http.endpoint import CHUNK, FIRST, HttpLimits
from storage.image import BytesImage, FileImage, Image, PaddedImage
from tests.protocols.http.conftest import PATIENCE, Box, Caller, Serve, Tree
from tests.protocols.http.twin import PlainPath

MIB = 1 << 20
SIZE = 5 * MIB + 4321  # many turns of reading and sending, no multiple of anything
CONTENT = random.Random(8).randbytes(SIZE)
GET = "GET /big HTTP/1.1\nHost: box\n\n"


Way = type[PumpedPath] | type[PlainPath]


@pytest.fixture(params=[PumpedPath, PlainPath])
def way(request: pytest.FixtureRequest) -> Way:
    """Either path."""
    found: Way = request.param
    return found


@pytest.fixture
async def box(way: Way, serve: Serve) -> AsyncIterator[Box]:
    """A server over either path, where one address may be a whole school."""
    async with serve(path=way, limits=HttpLimits(connections_per_client=250)) as running:
        yield running


@pytest.fixture(autouse=True)
def big(tree: Tree, tmp_path: Path) -> Path:
    """Files to ask for: with bytes, and a gigabyte of nothing that no socket's buffers hold."""
    path = tmp_path / "big"
    path.write_bytes(CONTENT)
    tree.files["big"] = FileImage(path)
    tree.files["x"] = BytesImage(b"content")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 30)
    tree.files["huge"] = FileImage(tmp_path / "huge")
    return path


def make_cold(path: Path) -> None:
    """Have the kernel forget what it has of a file in memory."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


async def dial(box: Box, *, window: int | None = None) -> tuple[socket.socket, asyncio.AbstractEventLoop]:
    """A bare connection, perhaps with a small receive buffer; the caller closes it."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    if window is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    await loop.sock_connect(sock, ("127.0.0.1", box.server.port))
    return sock, loop


class TestBodies:
    """What a client sees of either path."""

    @pytest.mark.parametrize("length", [CHUNK, CHUNK + 1, FIRST + CHUNK, SIZE])
    async def test_whole(self, box: Box, tree: Tree, length: int) -> None:
        """Just at the limit of small bodies, just above, and far above it."""
        tree.files["part"] = BytesImage(CONTENT[:length])
        assert (await box.ask("GET /part HTTP/1.1")).body == CONTENT[:length]

    @pytest.mark.parametrize("first", [0, 1, 4095, MIB, SIZE - CHUNK - 2])
    async def test_from_any_byte_on(self, box: Box, first: int) -> None:
        """A range keeps its first and last byte."""
        reply = await box.ask(f"GET /big HTTP/1.1\nRange: bytes={first}-{SIZE - 2}")
        assert (reply.status, reply.body) == (206, CONTENT[first : SIZE - 1])

    async def test_padding_follows_the_file(self, box: Box, tree: Tree, big: Path) -> None:
        """The zeros that no file has, behind bytes that one has; and with the file cold."""
        tree.files["padded"] = PaddedImage(FileImage(big), multiple=MIB)
        for _ in range(2):
            assert (await box.ask("GET /padded HTTP/1.1")).body == CONTENT + bytes(-SIZE % MIB)
            make_cold(big)

    async def test_cold(self, box: Box, big: Path) -> None:
        """What is not in memory is read first."""
        make_cold(big)
        assert (await box.ask("GET /big HTTP/1.1")).body == CONTENT

    async def test_one_after_another(self, box: Box) -> None:
        """The connection goes on, with long bodies and short ones."""
        caller = await box.call()
        for _ in range(3):
            assert (await caller.ask("GET /big HTTP/1.1")).body == CONTENT
            assert (await caller.ask("HEAD /big HTTP/1.1", has_body=False)).fields["Content-Length"] == str(SIZE)
            assert (await caller.ask("GET /x HTTP/1.1")).body == b"content"

    async def test_requests_that_come_meanwhile(self, box: Box) -> None:
        """Sent ahead, while a body goes out, cut anywhere: answered in their order."""
        caller = await box.call()
        caller.send(GET + GET[:17])
        await caller.writer.drain()
        first = await caller.reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in first
        assert await caller.reader.readexactly(1000) == CONTENT[:1000]
        caller.send(GET[17:] + "GET /x HTTP/1.1\nHost: box\n\n")
        assert await caller.reader.readexactly(SIZE - 1000) == CONTENT[1000:]
        assert (await caller.reply()).body == CONTENT
        assert (await caller.reply()).body == b"content"

    async def test_a_client_that_talks_all_the_time(self, box: Box) -> None:
        """A flood of requests while the body goes out does not disturb it, and gets its answers."""
        caller = await box.call()
        caller.send(GET + "GET /x HTTP/1.1\nHost: box\n\n" * 500)
        assert (await caller.reply()).body == CONTENT
        for _ in range(500):
            assert (await caller.reply()).body == b"content"

    async def test_http_1_0(self, box: Box) -> None:
        """The end of the connection comes after the last byte, not before."""
        caller = await box.call()
        caller.send("GET /big HTTP/1.0\n\n")
        assert (await caller.rest()).endswith(b"\r\n\r\n" + CONTENT)

    async def test_sixteen_at_once(self, box: Box) -> None:
        """Each gets its own bytes."""
        replies = await asyncio.gather(*(box.ask("GET /big HTTP/1.1") for _ in range(16)))
        assert {hashlib.md5(reply.body).digest() for reply in replies} == {hashlib.md5(CONTENT).digest()}

    async def test_two_hundred_at_once(self, box: Box, tree: Tree) -> None:
        """A school switched on at once."""
        tree.files["part"] = BytesImage(CONTENT[: 2 * CHUNK])
        replies = await asyncio.gather(*(box.ask("GET /part HTTP/1.1") for _ in range(200)))
        assert all(reply.body == CONTENT[: 2 * CHUNK] for reply in replies)

    async def test_a_slow_reader(self, box: Box) -> None:
        """With a small window and sips it takes long, and gets every byte."""
        sock, loop = await dial(box, window=4096)
        with sock:
            await loop.sock_sendall(sock, GET.replace("\n", "\r\n").encode())
            got = bytearray()
            async with asyncio.timeout(PATIENCE):
                while not got.endswith(CONTENT[-16:]):
                    got += await loop.sock_recv(sock, 1500)
        assert got.endswith(CONTENT)
        assert (await box.finished()).size == SIZE

    async def test_one_who_stops_reading(self, serve: Serve, way: Way) -> None:
        """Ended and counted, and others are served meanwhile."""
        async with serve(path=way, limits=HttpLimits(stall=0.5)) as box:
            sock, loop = await dial(box, window=4096)
            with sock:
                await loop.sock_sendall(sock, b"GET /huge HTTP/1.1\r\n\r\n")
                assert (await box.ask("GET /x HTTP/1.1")).body == b"content"
                ends = [await box.finished(), await box.finished()]
            assert {end.status for end in ends} == {200, 499}
            assert 0 < min(end.size for end in ends if end.status == 499) < 1 << 30
            assert (box.server.counts["stalled"], box.server.counts["abandoned"]) == (1, 1)

    async def test_one_who_leaves(self, box: Box) -> None:
        """A reset in the middle is seen, counted, and no error of ours."""
        caller = await box.call()
        with capture_logs() as lines:
            caller.send("GET /huge HTTP/1.1\n\n")
            await caller.reader.readexactly(100_000)
            caller.writer.transport.abort()
            finished = await box.finished()
        assert finished.status == 499
        assert 0 < finished.size < 1 << 30
        assert (box.server.counts["stalled"], box.server.counts["abandoned"]) == (0, 1)
        assert [line for line in lines if line["log_level"] == "error"] == []

    async def test_how_far_it_got(self, box: Box) -> None:
        """`downloads` grows while the body goes out."""
        caller = await box.call()
        caller.send("GET /huge HTTP/1.1\nHost: box\n\n")
        seen: set[int] = set()
        async with asyncio.timeout(PATIENCE):
            while len(seen) < 3:
                await caller.reader.readexactly(MIB)
                seen |= {download.size for download in box.server.downloads()}
        assert all(0 < size <= 1 << 30 for size in seen)

    async def test_asked_on_the_way_it_counts_nothing_twice(self, box: Box) -> None:
        """Whoever follows a download changes nothing about what it comes to."""
        sock, loop = await dial(box, window=4096)
        with sock:
            await loop.sock_sendall(sock, GET.replace("\n", "\r\n").encode())
            got = bytearray()
            async with asyncio.timeout(PATIENCE):
                while not got.endswith(CONTENT[-16:]):
                    got += await loop.sock_recv(sock, 65536)
                    box.server.downloads()
        assert (await box.finished()).size == SIZE

    async def test_a_file_cut_short_while_it_is_sent(self, box: Box, tmp_path: Path) -> None:
        """The connection ends: a half never looks like the whole."""
        caller = await box.call()
        with capture_logs() as lines:
            caller.send("GET /huge HTTP/1.1\n\n")
            await caller.reader.readexactly(1000)
            os.truncate(tmp_path / "huge", 5000)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await caller.reader.readexactly(1 << 30)
            finished = await box.finished()
        assert finished.status == 500
        assert [line["event"] for line in lines if line["log_level"] == "error"] == ["request_failed"]

    async def test_over_the_unix_socket(self, serve: Serve, way: Way, tmp_path: Path) -> None:
        """The same tree, the same bytes."""
        async with serve(tmp_path / "api.sock", path=way):
            caller = Caller(*await asyncio.open_unix_connection(tmp_path / "api.sock"))
            assert (await caller.ask("GET /big HTTP/1.1")).body == CONTENT
            await caller.close()

    async def test_the_server_ends_during_downloads(self, serve: Serve, way: Way, tree: Tree) -> None:
        """Cut off, told and counted, and nothing hangs."""
        async with asyncio.timeout(PATIENCE), serve(path=way) as box:
            callers = [Caller(*await asyncio.open_connection("127.0.0.1", box.server.port)) for _ in range(5)]
            for caller in callers:
                caller.send("GET /huge HTTP/1.1\nHost: box\n\n")
                await caller.reader.readexactly(1000)
        ends = [tree.finished.get_nowait() for _ in callers]
        assert all(FIRST < end.size < 1 << 30 for end in ends)
        for caller in callers:
            await caller.close()


async def test_half_closed(serve: Serve) -> None:
    """A client that says early that it has nothing more to ask still gets its body from the pump."""
    async with serve() as box:
        caller = await box.call()
        caller.send(GET)
        await caller.reader.readexactly(1000)
        caller.writer.write_eof()
        assert (await caller.rest()).endswith(CONTENT[-MIB:])
        assert (await box.finished()).size == SIZE


async def test_several_pumps(serve: Serve) -> None:
    """Bodies are spread over them."""
    async with serve(pumps=3) as box:
        replies = await asyncio.gather(*(box.ask("GET /big HTTP/1.1") for _ in range(12)))
    assert all(reply.body == CONTENT for reply in replies)


class NoDescriptors(PlainPath):
    """A path that fails before its first byte."""

    async def send(self, exchange: Exchange, response: web.StreamResponse, image: Image, at: int, stop: int) -> None:
        """As dup does when too many files are open."""
        raise OSError(EMFILE, os.strerror(EMFILE))


async def test_a_body_that_can_not_begin(serve: Serve) -> None:
    """Only that connection ends, as with any failure of ours."""
    async with serve(path=NoDescriptors) as box:
        caller = await box.call()
        caller.send(GET)
        assert (await caller.rest()).endswith(CONTENT[:FIRST])
        assert (await box.finished()).status == 500
        assert (await box.ask("GET /x HTTP/1.1")).body == b"content"


async def misbehave(box: Box, dice: random.Random) -> None:
    """Ask for something long, then read, talk, half-close, reset or leave, in any order."""
    sock, loop = await dial(box, window=dice.choice([None, 4096, 65536]))
    with sock:
        name = dice.choice(["big", "huge", "padded", "bytes"])
        await loop.sock_sendall(sock, f"GET /{name} HTTP/1.1\r\nRange: bytes={dice.randrange(SIZE)}-\r\n\r\n".encode())
        for _ in range(dice.randrange(1, 12)):
            act = dice.choice(["read", "read", "read", "talk", "junk", "close", "yield"])
            try:
                if act == "read":
                    await asyncio.wait_for(loop.sock_recv(sock, dice.randrange(1, MIB)), 0.2)
                elif act == "talk":
                    await asyncio.wait_for(loop.sock_sendall(sock, GET.encode() * dice.randrange(1, 40)), 0.2)
                elif act == "junk":
                    await asyncio.wait_for(loop.sock_sendall(sock, dice.randbytes(dice.randrange(1, 99999))), 0.2)
                elif act == "close":
                    sock.shutdown(socket.SHUT_WR)
                else:
                    await asyncio.sleep(0)
            except (OSError, TimeoutError):
                return  # the server had enough of it
        if dice.random() < 0.5:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # a reset


async def test_clients_that_misbehave(serve: Serve, tree: Tree, big: Path) -> None:
    """Crowds of them, some on a cold file; whoever behaves gets every byte, and in the end nobody is left."""
    dice = random.Random(77)
    tree.files["padded"] = PaddedImage(FileImage(big), multiple=MIB)
    tree.files["bytes"] = BytesImage(CONTENT)
    async with serve(pumps=2, limits=HttpLimits(connections_per_client=200)) as box:
        with capture_logs() as lines:
            for _ in range(4):
                make_cold(big)
                crowd = asyncio.gather(*(misbehave(box, dice) for _ in range(40)))
                assert (await box.ask("GET /big HTTP/1.1")).body == CONTENT
                await crowd
            while box.server.downloads():
                await box.finished()
        assert (await box.ask("GET /big HTTP/1.1")).body == CONTENT
    assert [line for line in lines if line["log_level"] == "error"] == []
