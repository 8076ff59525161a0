"""TFTP against clients that others wrote: curl, tftp-hpa, atftp, busybox; over loopback, clean and lossy."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import pytest

from protocols.datagram import udp_socket
from protocols.tftp.endpoint import RequestRefused, TftpEvent, TftpLimits, TftpServer, TransferFinished, TransferStarted
from protocols.tftp.netascii import encode
from storage.image import BytesImage, Image
from storage.upload import Upload

TOO_LONG = 240.0  # seconds; a client that hangs fails its test instead of the whole run
LOSS = 0.1
Tool = Callable[[str], str]
Command = Callable[[int, str, Path], list[str]]  # (port, remote name, local file) to what is run after the tool's name


class Box:
    """A running server, its files, and what it reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, bytes] = {"file": random.Random(5).randbytes(300_001), "empty": b""}
        self.events: list[TftpEvent] = []
        self.port = 0

    async def open_read(self, name: str, client: str) -> Image:
        """As the appliance's."""
        if name not in self.files:
            raise FileNotFoundError(name)
        return BytesImage(self.files[name])

    async def open_write(self, name: str, client: str, size: int | None) -> Upload:
        """As the appliance's."""
        return Upload(self.folder / name, limit=1 << 20)

    def started(self) -> TransferStarted:
        """The last transfer, as agreed."""
        return [event for event in self.events if isinstance(event, TransferStarted)][-1]

    def finished(self) -> list[TransferFinished]:
        """Every transfer that ended."""
        return [event for event in self.events if isinstance(event, TransferFinished)]


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    """A server on loopback."""
    made = Box(tmp_path / "box")
    made.folder.mkdir()
    server = TftpServer(
        open_read=made.open_read, open_write=made.open_write, report=made.events.append, limits=TftpLimits()
    )
    await server.bind("127.0.0.1", 0)
    made.port = server.port
    running = asyncio.create_task(server.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def run(*command: str) -> tuple[int, str]:
    """Exit status and all that a program said."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, stdin=asyncio.subprocess.DEVNULL
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), TOO_LONG)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, said.decode(errors="replace")


def content(local: Path) -> bytes | None:
    """What a client stored, if it did."""
    return local.read_bytes() if local.exists() else None


def curl(*options: str) -> Command:
    """curl's command line for a download."""
    return lambda port, name, local: [*options, "-sS", "-o", str(local), f"tftp://127.0.0.1:{port}/{name}"]


def atftp(*options: str) -> Command:
    """atftp's: options as `blksize 1428`."""
    asked = [word for option in options for word in ("--option", option)]
    return lambda port, name, local: [*asked, "-g", "-r", name, "-l", str(local), "127.0.0.1", str(port)]


def busybox(blksize: int) -> Command:
    """busybox tftp's."""
    return lambda port, name, local: [
        *("tftp", "-g", "-b", str(blksize), "-r", name, "-l", str(local), "127.0.0.1", str(port))
    ]


def hpa(mode: str = "binary") -> Command:
    """tftp-hpa's, which knows no options."""
    return lambda port, name, local: ["-m", mode, "127.0.0.1", str(port), "-c", "get", name, str(local)]


# tool, command line, blksize and windowsize that must come of it
DOWNLOADS: dict[str, tuple[str, Command, int, int]] = {
    "curl": ("curl", curl(), 512, 1),
    "curl, no options": ("curl", curl("--tftp-no-options"), 512, 1),
    "curl, smallest blocks": ("curl", curl("--tftp-blksize", "8"), 8, 1),
    "curl, 1428": ("curl", curl("--tftp-blksize", "1428"), 1428, 1),
    "curl, largest blocks": ("curl", curl("--tftp-blksize", "65464"), 65464, 1),
    "tftp-hpa": ("tftp", hpa(), 512, 1),
    "atftp": ("atftp", atftp(), 512, 1),
    "atftp, 512": ("atftp", atftp("blksize 512"), 512, 1),
    "atftp, as KIWI": ("atftp", atftp("blksize 32768", "multicast"), 32768, 1),
    "atftp, tsize and timeout": ("atftp", atftp("tsize", "timeout 2", "blksize 1428"), 1428, 1),
    "atftp, largest blocks": ("atftp", atftp("blksize 65464"), 65464, 1),
    "atftp, window 4": ("atftp", atftp("blksize 1428", "windowsize 4"), 1428, 4),
    "atftp, window 16": ("atftp", atftp("blksize 1428", "windowsize 16"), 1428, 16),
    "atftp, window too large": ("atftp", atftp("windowsize 1000"), 512, 64),
    "busybox": ("busybox", busybox(512), 512, 1),
    "busybox, 1432": ("busybox", busybox(1432), 1432, 1),
    "busybox, largest blocks": ("busybox", busybox(65464), 65464, 1),
}


@pytest.mark.parametrize(("program", "command", "blksize", "windowsize"), DOWNLOADS.values(), ids=DOWNLOADS)
async def test_downloads(
    box: Box, tool: Tool, tmp_path: Path, program: str, command: Command, blksize: int, windowsize: int
) -> None:
    """The bytes arrive, under the terms that the client asked for, each block sent once."""
    local = tmp_path / "got"
    status, said = await run(tool(program), *command(box.port, "file", local))
    assert (status, content(local) == box.files["file"]) == (0, True), said
    assert (box.started().blksize, box.started().windowsize) == (blksize, windowsize)


@pytest.mark.parametrize(
    ("program", "command"),
    [("curl", curl()), ("tftp", hpa()), ("atftp", atftp("tsize")), ("busybox", busybox(1432))],
    ids=["curl", "tftp-hpa", "atftp", "busybox"],
)
async def test_empty_files(box: Box, tool: Tool, tmp_path: Path, program: str, command: Command) -> None:
    """One empty block, and no size of 0 that curl would refuse (quirk T-3)."""
    local = tmp_path / "got"
    status, said = await run(tool(program), *command(box.port, "empty", local))
    assert status == 0, said
    assert content(local) in (b"", None)  # curl makes no file for nothing


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "command", "blksize"),
    [
        ("curl", curl("--tftp-blksize", "8"), 8),
        ("tftp", hpa(), 512),
        ("atftp", atftp("blksize 512", "windowsize 16"), 512),
        ("busybox", busybox(64), 64),  # with less, its request does not fit its own buffer
    ],
    ids=["curl", "tftp-hpa", "atftp", "busybox"],
)
async def test_more_than_65535_blocks(
    box: Box, tool: Tool, tmp_path: Path, program: str, command: Command, blksize: int
) -> None:
    """Block numbers go on with 0 (quirk T-9)."""
    box.files["long"] = random.Random(6).randbytes(65_600 * blksize + 3)
    local = tmp_path / "got"
    status, said = await run(tool(program), *command(box.port, "long", local))
    assert (status, content(local) == box.files["long"]) == (0, True), said


TEXT = b"one\r\ntwo\n\rthree\n" * 500


async def test_netascii_download_by_tftp_hpa(box: Box, tool: Tool, tmp_path: Path) -> None:
    """Converted twice, it is the same text."""
    box.files["text"] = TEXT
    local = tmp_path / "got"
    status, said = await run(tool("tftp"), *hpa("ascii")(box.port, "text", local))
    assert (status, content(local)) == (0, TEXT), said


async def test_netascii_download_by_curl(box: Box, tool: Tool, tmp_path: Path) -> None:
    """curl keeps the text as it travels."""
    box.files["text"] = TEXT
    local = tmp_path / "got"
    status, said = await run(tool("curl"), *curl()(box.port, "text;mode=netascii", local))
    assert (status, content(local)) == (0, encode(TEXT)), said


async def test_netascii_upload_by_tftp_hpa(box: Box, tool: Tool, tmp_path: Path) -> None:
    """Converted twice, it is the same text."""
    (tmp_path / "text").write_bytes(TEXT)
    put = ["-m", "ascii", "127.0.0.1", str(box.port), "-c", "put", str(tmp_path / "text"), "up"]
    status, said = await run(tool("tftp"), *put)
    assert (status, (box.folder / "up").read_bytes()) == (0, TEXT), said


UPLOADS: dict[str, tuple[str, Command]] = {
    "atftp, as KIWI": ("atftp", lambda p, n, f: ["-p", "-r", n, "-l", str(f), "127.0.0.1", str(p)]),
    "atftp, window 8": (
        "atftp",
        lambda p, n, f: [
            *("--option", "blksize 1428", "--option", "windowsize 8", "--option", "tsize"),
            *("-p", "-r", n, "-l", str(f), "127.0.0.1", str(p)),
        ],
    ),
    "curl": ("curl", lambda p, n, f: ["-sS", "-T", str(f), f"tftp://127.0.0.1:{p}/{n}"]),
    "busybox": ("busybox", lambda p, n, f: ["tftp", "-p", "-r", n, "-l", str(f), "127.0.0.1", str(p)]),
    "busybox, large blocks": (
        "busybox",
        lambda p, n, f: ["tftp", "-p", "-b", "8192", "-r", n, "-l", str(f), "127.0.0.1", str(p)],
    ),
    "tftp-hpa": ("tftp", lambda p, n, f: ["-m", "binary", "127.0.0.1", str(p), "-c", "put", str(f), n]),
}


@pytest.mark.parametrize(("program", "command"), UPLOADS.values(), ids=UPLOADS)
async def test_uploads(box: Box, tool: Tool, tmp_path: Path, program: str, command: Command) -> None:
    """The file is in its place when the client is done."""
    name = "client.52-54-00-77-00-01" if program == "tftp" else "client.52:54:00:77:00:01"  # tftp-hpa: host:file
    plain = random.Random(8).randbytes(200_000)
    (tmp_path / "mine").write_bytes(plain)
    status, said = await run(tool(program), *command(box.port, name, tmp_path / "mine"))
    assert status == 0, said
    assert (box.folder / name).read_bytes() == plain


async def test_an_upload_too_large(box: Box, tool: Tool, tmp_path: Path) -> None:
    """The client is told, and nothing stays."""
    (tmp_path / "mine").write_bytes(bytes((1 << 20) + 1))
    status, said = await run(tool("atftp"), *UPLOADS["atftp, as KIWI"][1](box.port, "up", tmp_path / "mine"))
    assert "Disk full or allocation exceeded" in said, said
    assert status != 0
    assert list(box.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("program", "command", "text"),
    [
        ("curl", curl(), "(68)"),  # "TFTP: File Not Found" in curl's list of exit statuses
        ("tftp", hpa(), "File not found"),
        ("atftp", atftp("blksize 512"), "File not found"),
        ("busybox", busybox(512), "File not found"),
    ],
    ids=["curl", "tftp-hpa", "atftp", "busybox"],
)
async def test_missing_files(box: Box, tool: Tool, tmp_path: Path, program: str, command: Command, text: str) -> None:
    """The client says what KIWI looks for, and no transfer was ever opened (quirk T-4)."""
    _, said = await run(tool(program), *command(box.port, "nothing", tmp_path / "got"))
    assert text in said
    assert box.events == [RequestRefused("127.0.0.1", "nothing", 1, "File not found")]


async def test_many_at_once(box: Box, tool: Tool, tmp_path: Path) -> None:
    """Forty downloads of three programs, all whole."""
    commands = [("curl", curl("--tftp-blksize", "1428")), ("atftp", atftp("blksize 1428", "windowsize 4")),
                ("busybox", busybox(1432)), ("curl", curl())]  # fmt: skip
    programs = {name: tool(name) for name, _ in commands}
    results = await asyncio.gather(
        *(
            run(programs[name], *command(box.port, "file", tmp_path / f"got{n}"))
            for n, (name, command) in enumerate(commands * 10)
        )
    )
    assert [status for status, _ in results] == [0] * 40, results
    assert all((tmp_path / f"got{n}").read_bytes() == box.files["file"] for n in range(40))


class Leg(asyncio.DatagramProtocol):
    """One socket of the relay; what it receives goes to a function."""

    def __init__(self, on_datagram: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._on_datagram = on_datagram
        self.transport: asyncio.DatagramTransport | None = None
        self.is_closed = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        """As asyncio's."""
        self.is_closed.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As asyncio's."""
        self.transport = cast(asyncio.DatagramTransport, transport)  # asyncio's own is no subclass of it

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """As asyncio's."""
        self._on_datagram(data, addr)

    def send(self, data: bytes, target: tuple[str, int]) -> None:
        """To anyone."""
        assert self.transport is not None
        self.transport.sendto(data, target)


class Relay:
    """Loses datagrams between clients and a server; each client is answered from a fresh port, as TFTP wants."""

    def __init__(self, server: tuple[str, int], seed: int) -> None:
        self._server = server
        self._dice = random.Random(seed)
        self._legs: list[Leg] = []
        self._paths: dict[tuple[str, int], Callable[[bytes], None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.lost = 0

    async def open(self) -> None:
        """Open the port that clients take for the server's."""
        leg = await self._leg(self._on_request)
        assert leg.transport is not None
        self.port = leg.transport.get_extra_info("sockname")[1]

    async def close(self) -> None:
        """Close everything."""
        for task in self._tasks:
            task.cancel()
        for leg in self._legs:
            assert leg.transport is not None
            leg.transport.close()
            await leg.is_closed.wait()

    async def _leg(self, on_datagram: Callable[[bytes, tuple[str, int]], None]) -> Leg:
        loop = asyncio.get_running_loop()
        _, leg = await loop.create_datagram_endpoint(lambda: Leg(on_datagram), sock=udp_socket("127.0.0.1", 0))
        self._legs.append(leg)
        return leg

    def _is_lost(self) -> bool:
        is_lost = self._dice.random() < LOSS
        self.lost += is_lost
        return is_lost

    def _on_request(self, data: bytes, client: tuple[str, int]) -> None:
        task = asyncio.get_running_loop().create_task(self._pass_request(data, client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass_request(self, data: bytes, client: tuple[str, int]) -> None:
        if client not in self._paths:
            self._paths[client] = await self._make_path(client)
        if not self._is_lost():
            self._paths[client](data)

    async def _make_path(self, client: tuple[str, int]) -> Callable[[bytes], None]:
        """Two sockets for one client: `near` is the server to it, `far` is it to the server."""
        target = self._server

        def from_client(data: bytes, _: tuple[str, int]) -> None:
            if not self._is_lost():
                far.send(data, target)

        def from_server(data: bytes, source: tuple[str, int]) -> None:
            nonlocal target
            target = source  # the transfer's own port from now on
            if not self._is_lost():
                near.send(data, client)

        near = await self._leg(from_client)
        far = await self._leg(from_server)
        return lambda request: far.send(request, self._server)


@pytest.fixture
async def relay(box: Box) -> AsyncIterator[Relay]:
    """A lossy link to the server."""
    made = Relay(("127.0.0.1", box.port), seed=11)
    await made.open()
    yield made
    await made.close()


LOSSY: dict[str, tuple[str, Command, int]] = {
    "curl, no options": ("curl", curl("--tftp-no-options"), 512),
    "curl, large blocks": ("curl", curl("--tftp-blksize", "65464"), 65464),
    "tftp-hpa": ("tftp", hpa(), 512),
    "atftp": ("atftp", atftp("blksize 1428"), 1428),
    "atftp, window 4": ("atftp", atftp("blksize 1428", "windowsize 4"), 1428),
    "atftp, window 16": ("atftp", atftp("blksize 512", "windowsize 16"), 512),
    "busybox": ("busybox", busybox(1432), 1432),
}


@pytest.mark.slow
@pytest.mark.parametrize(("program", "command", "blksize"), LOSSY.values(), ids=LOSSY)
async def test_a_lossy_link(
    box: Box, relay: Relay, tool: Tool, tmp_path: Path, program: str, command: Command, blksize: int
) -> None:
    """A tenth of all datagrams lost each way: the bytes arrive, because the server sends again."""
    box.files["file"] = box.files["file"][: max(100_000, 5 * blksize)]
    local = tmp_path / "got"
    status, said = await run(tool(program), *command(relay.port, "file", local))
    assert (status, content(local) == box.files["file"]) == (0, True), said
    assert relay.lost > 0
    assert box.started().blksize == blksize
