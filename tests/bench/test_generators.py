"""The load generators against our own servers: they count what was served, and see a wrong byte."""

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from deploy.benchmark.generators import LoadFailedError, build, run
from protocols.aoe.endpoint import AoeServer, Target
from protocols.http.endpoint import HttpServer
from protocols.http.events import RequestFinished
from protocols.nbd.endpoint import NbdServer
from protocols.nbd.events import ExportClosed
from protocols.tftp.endpoint import TftpServer
from protocols.tftp.events import TransferFinished
from storage.image import BytesImage, FileImage, Image
from tests.protocols.network import cable, fresh_network

CONTENT = random.Random(3).randbytes(300_000 // 512 * 512)
BLOCKS = CONTENT[: 6 * 1428 + 1]  # many times over in SECONDS, on the slowest machine too
SECONDS = 0.3


OpenRead = Callable[[str, str], Awaitable[Image]]


class Server(Protocol):
    """What all servers have."""

    async def run(self) -> None: ...


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the compiled generators."""
    return tmp_path_factory.mktemp("generators")


@pytest.fixture
def same(tmp_path: Path) -> str:
    """The path of a file that is what the servers serve."""
    (tmp_path / "same").write_bytes(CONTENT)
    return str(tmp_path / "same")


@pytest.fixture
def other(tmp_path: Path) -> str:
    """The path of a file that differs from it in the last byte of each 512."""
    (tmp_path / "other").write_bytes(b"".join(CONTENT[at : at + 511] + b"?" for at in range(0, len(CONTENT), 512)))
    return str(tmp_path / "other")


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[None]:
    """The server runs."""
    task = asyncio.create_task(server.run())
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def content(*_: object) -> Image:
    """The image, whoever asks for whatever."""
    return BytesImage(CONTENT)


async def blocks(*_: object) -> Image:
    """A small one."""
    return BytesImage(BLOCKS)


async def refuse(*_: object) -> Any:
    """Nobody writes."""
    raise PermissionError


def free_port() -> int:
    """A UDP port that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Events(list[Any]):
    """What a server reported, to be waited for: it comes a moment after the client has gone."""

    def __init__(self) -> None:
        super().__init__()
        self._news = asyncio.Event()

    def report(self, event: Any) -> None:
        """Take an event of the server's."""
        self.append(event)
        self._news.set()

    async def arrived(self, kind: type[Any], number: int) -> None:
        """Wait for so many events of a kind."""
        async with asyncio.timeout(5):
            while sum(isinstance(event, kind) for event in self) < number:
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def nbd() -> AsyncIterator[tuple[list[str], Events]]:
    """An NBD server: how it is reached, and its events."""
    events = Events()
    server = NbdServer(find=content, names=lambda client: ["disk"], report=events.report)
    await server.bind("127.0.0.1", 0)
    async with serving(server):
        yield ["--port", str(server.port), "--export", "disk"], events


@asynccontextmanager
async def tftp(open_read: OpenRead = content) -> AsyncIterator[tuple[list[str], Events]]:
    """A TFTP server: how it is reached, and its events."""
    events = Events()
    server = TftpServer(open_read=open_read, open_write=refuse, report=events.report)
    await server.bind("127.0.0.1", 0)
    async with serving(server):
        yield ["--port", str(server.port), "--file", "linux", "--blksize", "1428"], events


@asynccontextmanager
async def http() -> AsyncIterator[tuple[list[str], Events]]:
    """An HTTP server: how it is reached, and its events."""
    events = Events()
    server = HttpServer(open_read=content, open_write=refuse, report=events.report)
    await server.bind("127.0.0.1", 0)
    async with serving(server):
        yield ["--port", str(server.port), "--path", "/linux"], events


@pytest.mark.parametrize("shape", ["", "--go", "--size 65536 --sequential", "--go --size 1024 --depth 40"])
async def test_nbd_counts_what_was_served(shape: str, programs: Path, same: str) -> None:
    """Requests times their size is what the server says it sent, to each connection, and every byte is right."""
    async with nbd() as (where, events):
        words = [*where, "--connections", "3", "--depth", "4", *shape.split(), "--compare", same]
        load = await run(build("nbd", programs), words, seconds=SECONDS)
        await events.arrived(ExportClosed, 3)
    size = int(words[words.index("--size") + 1]) if "--size" in words else 4096
    closed = [event for event in events if isinstance(event, ExportClosed)]
    assert load.total is not None
    assert load.total * size == sum(event.bytes_read for event in closed)
    assert all(event.bytes_read for event in closed)
    assert 0 < load.requests <= load.total
    assert load.bytes == load.requests * size


async def test_nbd_without_comparing_counts_the_same(programs: Path) -> None:
    """Payloads dropped in the kernel are counted as those that are read."""
    async with nbd() as (where, events):
        load = await run(build("nbd", programs), [*where, "--size", "65536", "--depth", "3"], seconds=SECONDS)
        await events.arrived(ExportClosed, 1)
    (closed,) = (event for event in events if isinstance(event, ExportClosed))
    assert load.total is not None
    assert load.total * 65536 == closed.bytes_read


@pytest.mark.parametrize("how", ["--compare", "--sample"])
@pytest.mark.parametrize("window", [1, 4, 16])
async def test_tftp_counts_what_was_served(window: int, how: str, programs: Path, same: str) -> None:
    """Whole files arrive, in order and with the right bytes; each client is served."""
    async with tftp(blocks) as (where, events):
        words = [*where, "--clients", "3", "--windowsize", str(window), how, same]
        load = await run(build("tftp", programs), words, seconds=SECONDS)
        await events.arrived(TransferFinished, 1)
    completed = [e for e in events if isinstance(e, TransferFinished) and e.outcome == "completed"]
    assert load.served == 3
    assert completed
    assert {event.size for event in completed} == {len(BLOCKS)}
    assert load.bytes > len(BLOCKS)
    assert load.requests * 1428 // 2 < load.bytes <= load.requests * 1428


@pytest.mark.parametrize("size", [1, 1428 * 3, 1428 * 3 + 1])
async def test_the_floor_of_tftp_serves_whole_files(size: int, programs: Path, tmp_path: Path) -> None:
    """What the table has as a limit is a real server: curl gets the file's very bytes from it."""
    (tmp_path / "file").write_bytes(CONTENT[:size])
    words = ["--address", "127.0.0.1", "--port", str(free_port()), "--file", str(tmp_path / "file")]
    floor = await asyncio.create_subprocess_exec(
        str(build("floor_tftp", programs)), *words, stdout=asyncio.subprocess.PIPE
    )
    assert floor.stdout is not None
    try:
        assert await floor.stdout.readline() == b"start\n"
        url = f"tftp://127.0.0.1:{words[3]}/any"
        command = ("curl", "--silent", "--show-error", "--tftp-blksize", "1428", "--max-time", "60", url)
        curl = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        got, _ = await curl.communicate()
    finally:
        floor.terminate()
        await floor.wait()
    assert curl.returncode == 0
    assert got == CONTENT[:size]


async def test_the_floor_of_nbd_serves_the_file(programs: Path, same: str, tmp_path: Path) -> None:
    """nbdcopy, and our own load by small reads and by such as sendfile sends, get the file's very bytes from it."""
    where = ["--address", "127.0.0.1", "--port", str(free_port())]
    program = str(build("floor_nbd", programs))
    floor = await asyncio.create_subprocess_exec(program, *where, "--file", same, stdout=asyncio.subprocess.PIPE)
    assert floor.stdout is not None
    try:
        assert await floor.stdout.readline() == b"start\n"
        copied = tmp_path / "copied"
        nbdcopy = await asyncio.create_subprocess_exec("nbdcopy", f"nbd://127.0.0.1:{where[3]}", str(copied))
        assert await nbdcopy.wait() == 0
        for size in ("4096", "65536"):
            words = [*where, "--connections", "3", "--depth", "4", "--size", size, "--compare", same]
            assert (await run(build("nbd", programs), words, seconds=SECONDS)).requests > 3
    finally:
        floor.terminate()
        await floor.wait()
    assert copied.read_bytes() == CONTENT


async def test_http_counts_what_was_served(programs: Path, same: str) -> None:
    """Whole files over kept connections, with the right bytes."""
    async with http() as (where, events):
        load = await run(build("http", programs), [*where, "--clients", "3", "--compare", same], seconds=SECONDS)
    finished = [event for event in events if isinstance(event, RequestFinished) and event.status == 200]
    assert len(finished) >= load.requests > 3
    assert load.bytes >= (load.requests - 3) * len(CONTENT)


@asynccontextmanager
async def aoe() -> AsyncIterator[tuple[list[str], AoeServer]]:
    """An AoE server at the other end of a cable: how it is reached, and itself."""
    with fresh_network():
        cable("near", "far", mtu=9000)
        server = AoeServer(report=lambda event: None)
        server.add(Target(0, 1, BytesImage(CONTENT), "disk"))
        await server.bind("near")
        async with serving(server):
            yield ["--interface", "far", "--sectors", "16", "--depth", "8"], server


@pytest.mark.root
@pytest.mark.parametrize("how", ["--compare", "--sample", ""])
async def test_aoe_counts_what_was_served(how: str, programs: Path, same: str) -> None:
    """Requests times sectors is what the server sent, with the right bytes where they are looked at."""
    async with aoe() as (where, server):
        words = [*where, *((how, same) if how else ())]
        load = await run(build("aoe", programs), words, seconds=SECONDS)
        (initiator,) = server.initiators()
    assert load.total is not None
    assert load.resent == 0
    assert 0 < load.waited_seconds <= SECONDS
    assert load.total * 16 * 512 == initiator.bytes_read
    assert load.bytes == load.requests * 16 * 512


@pytest.mark.parametrize("kind", [nbd, tftp, http])
async def test_a_wrong_byte_is_seen(kind: Callable[[], Any], programs: Path, other: str) -> None:
    """With --compare the generator fails, and says where."""
    async with kind() as (where, _):
        with pytest.raises(LoadFailedError, match=r"the bytes at offset [0-9]+ are not the file's"):
            await run(build(kind.__name__, programs), [*where, "--compare", other], seconds=SECONDS)


@pytest.mark.root
async def test_loads_of_aoe_at_one_interface_are_machines_of_their_own(programs: Path, same: str) -> None:
    """Each hears its own answers only, of sizes of its own."""
    async with aoe() as (where, server):
        words = [[*where, "--compare", same], [*where, "--sectors", "2", "--compare", same]]
        loads = await asyncio.gather(*(run(build("aoe", programs), some, seconds=SECONDS) for some in words))
        read = {initiator.mac: initiator.bytes_read for initiator in server.initiators()}
    totals = [load.total * sectors * 512 for load, sectors in zip(loads, (16, 2), strict=True) if load.total]
    assert sorted(read.values()) == sorted(totals)
    assert [load.resent for load in loads] == [0, 0]


@pytest.mark.root
@pytest.mark.parametrize("how", ["--compare", "--sample"])
async def test_a_wrong_byte_of_aoe_is_seen(how: str, programs: Path, other: str) -> None:
    """In any answer, or in one of those that are looked at."""
    async with aoe() as (where, _):
        with pytest.raises(LoadFailedError, match=r"the bytes at offset [0-9]+ are not the file's"):
            await run(build("aoe", programs), [*where, how, other], seconds=SECONDS)


async def test_a_wrong_byte_in_a_sample_of_tftp_is_seen(programs: Path, other: str) -> None:
    """In one of the blocks that are looked at."""
    async with tftp() as (where, _):
        with pytest.raises(LoadFailedError, match=r"the bytes at offset [0-9]+ are not the file's"):
            await run(build("tftp", programs), [*where, "--sample", other], seconds=SECONDS)


@pytest.mark.parametrize("kind", [nbd, tftp, http])
async def test_a_load_looks_before_it_sleeps(kind: Callable[[], Any], programs: Path) -> None:
    """What that took is told; with --no-look it sleeps at once."""
    async with kind() as (where, _):
        looking = await run(build(kind.__name__, programs), where, seconds=SECONDS)
        sleeping = await run(build(kind.__name__, programs), [*where, "--no-look"], seconds=SECONDS)
    assert 0 < looking.waited_seconds <= SECONDS
    assert sleeping.waited_seconds == 0
    assert sleeping.requests > 0


async def test_a_server_that_is_not_there_is_said(programs: Path) -> None:
    """A refused connection is one line and status 1."""
    with pytest.raises(LoadFailedError, match=r"^nbd: connecting: Connection refused$"):
        await run(build("nbd", programs), ["--port", "1"], seconds=SECONDS)


async def test_an_export_that_is_not_there_is_said(programs: Path) -> None:
    """A refusal of GO is one line with its code."""

    async def absent(export: str, client: str) -> Image:
        raise FileNotFoundError(export)

    server = NbdServer(find=absent, names=lambda client: [], report=lambda event: None)
    await server.bind("127.0.0.1", 0)
    async with serving(server):
        with pytest.raises(LoadFailedError, match=r"^nbd: export 'x' was refused: 0x80000006$"):
            await run(build("nbd", programs), ["--port", str(server.port), "--export", "x", "--go"], seconds=SECONDS)


WRONG = [
    ("nbd", "--depth 0"), ("nbd", "--size 100"), ("nbd", "--port x"), ("nbd", "--sideways"), ("nbd", "more"),
    ("nbd", "--seconds 0"), ("nbd", "--address nowhere"), ("nbd", "--compare /nonexistent"), ("tftp", "--blksize 7"),
    ("tftp", "--windowsize 0"), ("tftp", "--clients many"), ("http", "--path linux"), ("http", "--clients -1"),
    ("nbd", "--evict /nonexistent"), ("aoe", ""), ("aoe", "--depth 65"), ("aoe", "--sectors 18"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "words"), WRONG)
async def test_a_wrong_argument_is_one_line_and_status_2(name: str, words: str, programs: Path) -> None:
    """The line names the generator; nothing goes to standard output."""
    process = await asyncio.create_subprocess_exec(
        build(name, programs), *words.split(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, said = await process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert said.startswith(f"{name}: ".encode())
    assert said.count(b"\n") == 1


async def test_counting_starts_once_and_with_the_clients_connected(programs: Path) -> None:
    """The driver is told, so that handshakes are not measured."""
    started: list[None] = []
    async with nbd() as (where, events):
        await run(
            build("nbd", programs), [*where, "--connections", "2"], seconds=SECONDS,
            on_start=lambda: started.append(None),
        )  # fmt: skip
        await events.arrived(ExportClosed, 2)
    assert started == [None]


async def test_a_mute_client_asks_and_never_reads(programs: Path) -> None:
    """It says how much it asked for and counts no answer; the server has it until it goes."""
    async with nbd() as (where, events):
        words = [*where, "--mute", "--connections", "2", "--depth", "4", "--size", "65536"]
        load = await run(build("nbd", programs), words, seconds=SECONDS)
        await events.arrived(ExportClosed, 2)
    assert load.total is not None
    assert load.total > 0
    assert (load.requests, load.bytes) == (0, 0)


@pytest.mark.parametrize("kind", [tftp, http])
async def test_mute_clients_of_the_others_count_nothing_either(kind: Callable[[], Any], programs: Path) -> None:
    """They ask for files and leave them at the server."""
    async with kind() as (where, _):
        load = await run(build(kind.__name__, programs), [*where, "--mute", "--clients", "3"], seconds=SECONDS)
    assert (load.requests, load.bytes) == (0, 0)


@pytest.mark.parametrize("kind", [nbd, tftp, http])
async def test_latencies_are_in_order(kind: Callable[[], Any], programs: Path) -> None:
    """Half of them, nearly all of them, the longest: up to the histogram's step of 1.6 %."""
    async with kind() as (where, _):
        load = await run(build(kind.__name__, programs), where, seconds=SECONDS)
    assert load.p50_us is not None and load.p99_us is not None and load.max_us is not None  # noqa: PT018  # for mypy
    assert 0 < load.p50_us <= load.p99_us <= load.max_us * 1.016


async def test_a_file_s_pages_are_dropped_while_it_is_read(tmp_path: Path, programs: Path) -> None:
    """Once everything is on the disk; a folder in memory has no pages to drop."""
    path = tmp_path / "cold"
    with path.open("wb") as file:
        file.write(CONTENT)
        file.flush()
        os.fsync(file.fileno())
    image = FileImage(path)
    os.posix_fadvise(image.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if image.is_cached(0, len(CONTENT)):
        pytest.skip(f"the file system of {tmp_path} does not drop pages")
    image.read_at(0, len(CONTENT))
    assert image.is_cached(0, len(CONTENT))
    async with nbd() as (where, _):
        await run(build("nbd", programs), [*where, "--evict", str(path)], seconds=SECONDS)
    assert not image.is_cached(0, len(CONTENT))
