"""The server on loopback: connections, their bounds, their ends, and what is told of them."""

import asyncio
import errno
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from protocols.nbd.channel import DataPath, Server
from protocols.nbd.endpoint import (
    Connection,
    ExportClosed,
    ExportOpened,
    ExportRefused,
    NbdEvent,
    NbdServer,
    PumpedPath,
)
from protocols.nbd.limits import NbdLimits
from storage.image import BytesImage, FileImage, Image
from storage.trace import Trace
from tests.protocols.nbd import peer
from tests.protocols.nbd.twin import PlainPath

MIB = 1 << 20
CONTENT = random.Random(2).randbytes(4 * MIB)
READ, WRITE, DISC, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS = range(8)
DEADLINE = 20.0  # seconds; only a hang reaches it


class Client:
    """A raw NBD client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @property
    def port(self) -> int:
        """The client's own port, by which the server tells it apart."""
        return int(self.writer.get_extra_info("sockname")[1])

    def send(self, *messages: bytes) -> None:
        """Write, without waiting."""
        self.writer.writelines(messages)

    async def take(self, length: int) -> bytes:
        """Exactly `length` bytes."""
        return await asyncio.wait_for(self.reader.readexactly(length), DEADLINE)

    async def ended(self) -> bytes:
        """What is left until the server closes."""
        try:
            return await asyncio.wait_for(self.reader.read(), DEADLINE)
        except ConnectionResetError:
            return b""

    async def read(self, offset: int, length: int) -> bytes:
        """A simple READ's data."""
        self.send(peer.request(READ, offset=offset, length=length))
        return peer.reply_of(await self.take(16 + length), length).data

    async def error_of(self, message: bytes) -> int:
        """The error of the simple reply to a message."""
        self.send(message)
        return peer.reply_of(await self.take(16)).error


class Lab:
    """A server, its exports, and what it reported."""

    path: Callable[[Server], DataPath] = PumpedPath

    def __init__(self, limits: NbdLimits) -> None:
        self.images: dict[str, Image] = {"root": BytesImage(CONTENT), "": BytesImage(b"default" + bytes(505))}
        self.events: list[NbdEvent] = []
        self.reported = asyncio.Event()
        self.clients: list[Client] = []
        self.traces: dict[tuple[str, str], Trace] = {}
        self.server = NbdServer(
            find=self.find,
            names=lambda client: sorted(self.images),
            report=self.note,
            limits=limits,
            trace_reads=lambda export, client: self.traces.get((export, client)),
            path=type(self).path,
        )

    async def find(self, name: str, client: str) -> Image:
        """The policy: exports by name, one of them secret."""
        if name == "secret":
            raise PermissionError(name)
        if name not in self.images:
            raise FileNotFoundError(name)
        return self.images[name]

    def note(self, event: NbdEvent) -> None:
        """Keep an event."""
        self.events.append(event)
        self.reported.set()

    async def event(self, kind: type[NbdEvent]) -> NbdEvent:
        """The first event of a kind, once there is one."""
        async with asyncio.timeout(DEADLINE):
            while not (found := [event for event in self.events if isinstance(event, kind)]):
                self.reported.clear()
                await self.reported.wait()
        return found[0]

    async def counted(self, name: str, count: int) -> None:
        """Wait until something was counted so often: a pump tells what happened a little after its client knows."""
        async with asyncio.timeout(DEADLINE):
            while self.server.counts[name] != count:  # noqa: ASYNC110 -- nothing else tells of a count
                await asyncio.sleep(0)

    async def dial(self) -> Client:
        """A new connection, greeting not yet read."""
        client = Client(*await asyncio.open_connection("127.0.0.1", self.server.port))
        self.clients.append(client)
        return client

    async def join(self, export: str = "root") -> Client:
        """A connection in transmission, by EXPORT_NAME."""
        client = await self.dial()
        client.send(b"\0\0\0\3", peer.option(1, export.encode()))
        assert (await client.take(28))[:18] == peer.GREETING
        return client


@pytest.fixture(autouse=True, params=[PumpedPath, PlainPath], ids=["pump", "plain"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here runs over the native pump and over its twin."""
    monkeypatch.setattr(Lab, "path", request.param)


@asynccontextmanager
async def serving(limits: NbdLimits | None = None) -> AsyncIterator[Lab]:
    """A running server, stopped in the end."""
    lab = Lab(limits or NbdLimits())
    await lab.server.bind("127.0.0.1", 0)
    running = asyncio.create_task(lab.server.run())
    try:
        yield lab
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        for client in lab.clients:
            client.writer.transport.abort()
        assert lab.server.connections() == []


async def test_an_export_is_read() -> None:
    """Handshake, two reads, good-bye."""
    async with serving() as lab:
        client = await lab.join()
        assert await client.read(4096, 512) == CONTENT[4096:4608]
        assert await client.read(0, MIB) == CONTENT[:MIB]
        client.send(peer.request(DISC))
        assert await client.ended() == b""


async def test_reads_are_noted_where_the_policy_says() -> None:
    """Those of one export, in the order of the client's requests; refused ones are none."""
    async with serving() as lab:
        trace = lab.traces["root", "127.0.0.1"] = Trace(16)
        client, other = await lab.join(), await lab.join("")
        await client.read(4096, 512)
        await client.error_of(peer.request(READ, offset=len(CONTENT), length=512))
        await client.read(0, MIB)
        await other.read(0, 512)
        assert [run[:2] for run in trace.runs()] == [(4096, 512), (0, MIB)]


async def test_the_story_of_a_connection() -> None:
    """Opened, a snapshot while it lasts, closed with its sums."""
    async with serving() as lab:
        client = await lab.join()
        await client.read(0, 1024)
        assert await lab.event(ExportOpened) == ExportOpened("127.0.0.1", client.port, "root")
        (seen,) = lab.server.connections()
        assert seen == Connection("127.0.0.1", client.port, "root", 1024, 0, 1, seen.since)
        client.send(peer.request(DISC))
        closed = await lab.event(ExportClosed)
        assert isinstance(closed, ExportClosed)
        assert closed == ExportClosed("127.0.0.1", client.port, "root", 1024, 0, closed.seconds, "disconnected")


async def test_one_line_per_connection() -> None:
    """With export, bytes, seconds and reason."""
    with capture_logs() as lines:
        async with serving() as lab:
            client = await lab.join()
            await client.read(0, 512)
            client.send(peer.request(DISC))
            await lab.event(ExportClosed)
    (line,) = [line for line in lines if line["log_level"] == "info"]
    assert line["event"] == "connection_closed"
    assert (line["export"], line["bytes_read"], line["reason"]) == ("root", 512, "disconnected")


async def test_an_empty_name_asks_for_the_default() -> None:
    """find("") decides."""
    async with serving() as lab:
        assert await (await lab.join("")).read(0, 512) == b"default" + bytes(505)


async def test_names_are_listed() -> None:
    """Those the policy lets this client see."""
    async with serving() as lab:
        client = await lab.dial()
        client.send(b"\0\0\0\3", peer.option(3), peer.option(2))
        replies = peer.option_replies((await client.ended())[18:])
        assert [reply.data for reply in replies] == [peer.text(""), peer.text("root"), b"", b""]


@pytest.mark.parametrize(("name", "message"), [("nothing", "no such export"), ("secret", "export is not allowed")])
async def test_refusals_are_told(name: str, message: str) -> None:
    """To the client and to the timeline; the client may ask on."""
    async with serving() as lab:
        client = await lab.dial()
        client.send(b"\0\0\0\3", peer.go(name), peer.option(2))
        refused, _ = peer.option_replies((await client.ended())[18:])
        assert refused.data.decode() == message
        assert lab.events == [ExportRefused("127.0.0.1", name, message)]
        assert lab.server.counts["refused"] == 1


async def test_a_refused_export_name_closes() -> None:
    """The oldest option has no error reply."""
    async with serving() as lab:
        client = await lab.dial()
        client.send(b"\0\0\0\3", peer.option(1, b"nothing"))
        assert await client.ended() == peer.GREETING


async def test_a_file_that_can_not_be_opened_is_refused() -> None:
    """The system's words, and our paths, stay in the log."""
    async with serving() as lab:

        async def find(name: str, client: str) -> Image:
            raise OSError(errno.EMFILE, "Too many open files", "/secret/path")

        lab.server.find = find
        client = await lab.dial()
        client.send(b"\0\0\0\3", peer.go("root"), peer.option(2))
        assert b"secret" not in await client.ended()


async def test_a_bug_in_the_policy_ends_one_connection_and_is_logged() -> None:
    """With its traceback; the others read on."""
    with capture_logs() as lines:
        async with serving() as lab:
            other = await lab.join()

            async def find(name: str, client: str) -> Image:
                raise TypeError("a bug")

            lab.server.find = find
            client = await lab.dial()
            client.send(b"\0\0\0\3", peer.go("root"))
            await client.ended()
            assert await other.read(0, 512) == CONTENT[:512]
    (line,) = [line for line in lines if line["log_level"] == "error"]
    assert isinstance(line["exc_info"], TypeError)


async def test_requests_sent_ahead_are_served() -> None:
    """A client need not wait for the end of the handshake."""
    async with serving() as lab:
        client = await lab.dial()
        client.send(b"\0\0\0\3", peer.option(1, b"root"), peer.request(READ, length=512), peer.request(DISC))
        assert (await client.ended())[-512:] == CONTENT[:512]


async def test_a_client_that_takes_its_time_with_the_handshake() -> None:
    """Megabytes of names wait for it when transmission begins; they come first, whole, then its read."""
    async with serving() as lab:
        names = [f"{number:04000}" for number in range(700)]
        lab.server.names = lambda client: names
        client = await lab.dial()
        client.send(b"\0\0\0\3", peer.option(3), peer.go("root"), peer.request(READ, length=512))
        listed = 18 + 700 * (20 + 4 + 4000) + 20
        replies = peer.option_replies((await client.take(listed + 20 + 12 + 20))[18:])
        assert [reply.kind for reply in replies] == [2] * 700 + [1, 3, 1]
        assert peer.reply_of(await client.take(16 + 512), 512).data == CONTENT[:512]


async def test_odd_images_are_whole_sectors() -> None:
    """Read-only ones are padded with zeros."""
    async with serving() as lab:
        lab.images["odd"] = BytesImage(b"odd")
        client = await lab.join("odd")
        assert await client.read(0, 512) == b"odd" + bytes(509)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (peer.request(WRITE, length=512, data=bytes(512)), errno.EPERM),
        (peer.request(WRITE, length=40 * MIB, data=bytes(40 * MIB)), errno.EPERM),
        (peer.request(READ, length=33 * MIB), errno.EINVAL),
        (peer.request(READ, offset=4 * MIB, length=512), errno.EINVAL),
        (peer.request(77), errno.EINVAL),
    ],
)
async def test_refused_requests_leave_the_connection(message: bytes, error: int) -> None:
    """The next read is answered."""
    async with serving() as lab:
        client = await lab.join()
        assert await client.error_of(message) == error
        assert await client.read(0, 512) == CONTENT[:512]


@pytest.mark.parametrize("message", [b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\3" + bytes(16)])
async def test_a_malformed_handshake_closes_that_connection_only(message: bytes) -> None:
    """Counted; the other client reads on."""
    async with serving() as lab:
        other, client = await lab.join(), await lab.dial()
        client.send(message)
        await client.ended()
        await lab.counted("malformed", 1)
        assert await other.read(0, 512) == CONTENT[:512]


async def test_a_malformed_request_closes_that_connection_only() -> None:
    """There is no way to find its next request."""
    async with serving() as lab:
        other, client = await lab.join(), await lab.join()
        client.send(bytes(28))
        assert await client.ended() == b""
        closed = await lab.event(ExportClosed)
        assert isinstance(closed, ExportClosed)
        assert closed.reason == "malformed"
        assert await other.read(0, 512) == CONTENT[:512]


async def test_random_bytes_in_both_phases() -> None:
    """Whatever comes, the server serves afterwards."""
    dice = random.Random(7)
    async with serving() as lab:
        for _ in range(30):
            client = await lab.dial()
            client.send(b"\0\0\0\3", dice.randbytes(dice.randrange(200)))
            client.writer.write_eof()
            await client.ended()
            client = await lab.join()
            client.send(struct.pack(">IHHQQI", 0x25609513, dice.randrange(32), dice.randrange(9), 7, 0, 512))
            client.send(dice.randbytes(dice.randrange(2000)))
            with suppress(OSError):  # the server may have ended it already
                client.writer.write_eof()
            await client.ended()
        assert await (await lab.join()).read(0, 512) == CONTENT[:512]


async def test_a_slow_handshake_is_ended() -> None:
    """One byte and then nothing (slow-loris)."""
    async with serving(NbdLimits(handshake_seconds=0.05)) as lab:
        client = await lab.dial()
        client.send(b"\0")
        assert await client.ended() == peer.GREETING
        assert lab.server.counts["handshake_timed_out"] == 1


async def test_the_handshake_deadline_ends_with_the_handshake() -> None:
    """An idle root stays: it may be idle for hours (quirks N-7)."""
    async with serving(NbdLimits(handshake_seconds=0.05)) as lab:
        idle, slow = await lab.join(), await lab.dial()
        await slow.ended()  # its deadline came after the idle one's would have
        assert await idle.read(0, 512) == CONTENT[:512]


async def test_connections_are_bounded() -> None:
    """The newest is turned away, and gets in once another left."""
    async with serving(NbdLimits(connections=2)) as lab:
        first, _ = await lab.join(), await lab.join()
        assert await (await lab.dial()).ended() == b""
        assert lab.server.counts["turned_away"] == 1
        first.send(peer.request(DISC))
        await lab.event(ExportClosed)
        assert await (await lab.join()).read(0, 512) == CONTENT[:512]


async def test_connections_per_client_are_bounded() -> None:
    """Another address is let in."""
    async with serving(NbdLimits(connections_per_client=1)) as lab:
        await lab.join()
        assert await (await lab.dial()).ended() == b""
        streams = await asyncio.open_connection("127.0.0.1", lab.server.port, local_addr=("127.0.0.2", 0))
        lab.clients.append(Client(*streams))
        assert await lab.clients[-1].take(18) == peer.GREETING


async def test_a_client_that_hangs_up_is_forgotten() -> None:
    """Without good-bye: normal at power-off (quirks N-9)."""
    async with serving() as lab:
        client = await lab.join()
        await client.read(0, 512)
        client.writer.close()
        closed = await lab.event(ExportClosed)
        assert isinstance(closed, ExportClosed)
        assert closed.reason == "hung_up"


async def test_a_client_that_resets_is_forgotten() -> None:
    """A reset is a reason of its own."""
    async with serving() as lab:
        client = await lab.join()
        linger = struct.pack("ii", 1, 0)
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        client.writer.transport.abort()
        closed = await lab.event(ExportClosed)
        assert isinstance(closed, ExportClosed)
        assert closed.reason == "reset"


@pytest.fixture
def disk(tmp_path: Path) -> FileImage:
    """A writable file of 4 MiB."""
    path = tmp_path / "disk"
    path.write_bytes(CONTENT)
    return FileImage(path, writable=True)


async def test_writes_are_written_and_counted(disk: FileImage) -> None:
    """Write, zero, flush, read back."""
    async with serving() as lab:
        lab.images["disk"] = disk
        client = await lab.join("disk")
        data = b"new!" * (MIB // 4)
        assert await client.error_of(peer.request(WRITE, offset=512, length=MIB, flags=1, data=data)) == 0
        assert await client.error_of(peer.request(WRITE_ZEROES, offset=1024, length=2 * MIB)) == 0
        assert await client.error_of(peer.request(FLUSH)) == 0
        assert await client.error_of(peer.request(CACHE, length=4 * MIB)) == 0
        assert await client.read(0, 4 * MIB) == CONTENT[:512] + data[:512] + bytes(2 * MIB) + CONTENT[1024 + 2 * MIB :]
        assert [seen.bytes_written for seen in lab.server.connections()] == [MIB]


async def test_failed_reads_are_errors_of_the_request(disk: FileImage) -> None:
    """A file that became shorter: EIO, and what is left of it is still served."""
    async with serving() as lab:
        lab.images["disk"] = disk
        client = await lab.join("disk")
        with open(disk.path, "r+b") as file:  # noqa: ASYNC230, PTH123 -- a test's own short file
            file.truncate(MIB)
        assert await client.error_of(peer.request(READ, offset=MIB, length=512)) == errno.EIO
        assert await client.error_of(peer.request(READ, offset=0, length=3 * MIB)) == errno.EIO
        await lab.counted("commands_failed", 2)
        assert await client.read(0, 512) == CONTENT[:512]


async def structured(lab: Lab, export: str) -> Client:
    """A connection with structured replies and block status."""
    client = await lab.dial()
    client.send(b"\0\0\0\3", peer.option(8), peer.meta(export, "base:allocation"), peer.go(export, 3))
    await client.take(18 + 20 + 20 + 19 + 20 + 20 + 12 + 20 + 14 + 20)
    return client


async def test_structured_reads_and_block_status(tmp_path: Path) -> None:
    """Holes of a sparse file, told in both ways."""
    (tmp_path / "sparse").write_bytes(CONTENT[:MIB])
    with (tmp_path / "sparse").open("r+b") as file:
        file.truncate(2 * MIB)
    async with serving() as lab:
        lab.images["sparse"] = FileImage(tmp_path / "sparse")
        client = await structured(lab, "sparse")
        client.send(peer.request(READ, length=2 * MIB))
        chunks = peer.chunks_of(await client.take(28 + MIB + 32))
        assert [chunk.kind for chunk in chunks] == [1, 2]
        assert peer.assemble(chunks, 0, 2 * MIB) == CONTENT[:MIB] + bytes(MIB)
        client.send(peer.request(BLOCK_STATUS, length=2 * MIB))
        (chunk,) = peer.chunks_of(await client.take(20 + 4 + 16))
        assert chunk.data == struct.pack(">IIIII", 1, MIB, 0, MIB, 3)


async def test_everything_in_flight_is_answered_before_good_bye(disk: FileImage) -> None:
    """DISC waits for what the pool still does, also when the client shuts its side."""
    async with serving() as lab:
        lab.images["disk"] = disk
        client = await lab.join("disk")
        reads = [peer.request(READ, cookie=n, length=2 * MIB) for n in range(4)]
        client.send(*reads, peer.request(DISC))
        client.writer.write_eof()
        assert len(await client.ended()) == 4 * (16 + 2 * MIB)


def held_for_clients(server: NbdServer) -> int:
    """Bytes of replies that wait for clients to read."""
    if isinstance(server.path, PumpedPath):
        return server.path.unsent()
    return sum(found.transport.get_write_buffer_size() for found in server._peers)


async def park(lab: Lab, client: Client, reads: int, length: int) -> Connection:
    """Send reads and take nothing; the server's view once it has taken all it will."""
    client.send(*[peer.request(READ, cookie=n, length=length) for n in range(reads)])
    before = -1
    settled = 0
    async with asyncio.timeout(DEADLINE):
        while settled < 200:
            await asyncio.sleep(0)
            (seen,) = [seen for seen in lab.server.connections() if seen.port == client.port]
            has_stopped = held_for_clients(lab.server) > 0 and seen.bytes_read == before
            settled = settled + 1 if has_stopped else 0
            before = seen.bytes_read
    return seen


async def test_a_client_that_does_not_read_is_parked() -> None:
    """Its replies stop at the bound, the others are served, and it gets the rest when it reads again."""
    limits = NbdLimits(unsent=256 << 10)
    async with serving(limits) as lab:
        slow, other = await lab.join(), await lab.join()
        slow.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        parked = await park(lab, slow, 400, MIB)
        assert parked.requests < 50  # of 400: what the kernels' socket buffers hold, and the bound
        assert await other.read(0, MIB) == CONTENT[:MIB]
        for _ in range(400):
            assert len(await slow.take(16 + MIB)) == 16 + MIB


@pytest.mark.parametrize(("length", "pooled"), [(64 << 10, 0), (2 * MIB, 4 * MIB)])
async def test_a_parked_client_holds_bounded_memory(length: int, pooled: int) -> None:
    """What waits for it: the bound, one more batch, and what the pool was already at."""
    limits = NbdLimits(unsent=256 << 10, bytes_in_flight=4 * MIB)
    async with serving(limits) as lab:
        slow = await lab.join()
        await park(lab, slow, 400, length)
        assert 0 < held_for_clients(lab.server) <= 2 * limits.unsent + (64 << 10) + pooled


async def test_many_small_requests_do_not_keep_the_loop() -> None:
    """A flood is served in turns: another's read is answered before it ends."""
    async with serving() as lab:
        flood, other = await lab.join(), await lab.join()
        flood.send(*[peer.request(READ, cookie=n, length=512) for n in range(4000)])
        assert await other.read(0, 512) == CONTENT[:512]
        assert len(await flood.take(4000 * 528)) == 4000 * 528


async def test_replies_may_overtake() -> None:
    """A read for the pool does not hold up one from memory."""
    async with serving() as lab:
        client = await lab.join()
        client.send(peer.request(READ, cookie=1, length=2 * MIB), peer.request(READ, cookie=2, length=512))
        assert struct.unpack_from(">Q", await client.take(16 + 512), 8) == (2,)
        assert struct.unpack_from(">Q", await client.take(16 + 2 * MIB), 8) == (1,)


async def test_stopping_closes_every_connection() -> None:
    """And says why."""
    async with serving() as lab:
        client = await lab.join()
        await client.read(0, 512)
    assert await client.ended() == b""
    assert [event.reason for event in lab.events if isinstance(event, ExportClosed)] == ["stopped"]


async def test_a_port_in_use_is_told_at_bind() -> None:
    """Before anything runs."""
    async with serving() as lab:
        await lab.join()
        second = NbdServer(find=lab.find, names=lambda client: [], report=lab.note)
        with pytest.raises(OSError) as caught:
            await second.bind("127.0.0.1", lab.server.port)
        assert caught.value.errno == errno.EADDRINUSE


async def test_an_owner_that_never_runs_closes() -> None:
    """The port is free again; closing what was never bound is nothing."""
    first, second = (
        NbdServer(find=Lab(NbdLimits()).find, names=lambda client: [], report=lambda event: None) for _ in range(2)
    )
    second.close()
    await first.bind("127.0.0.1", 0)
    first.close()
    await second.bind("127.0.0.1", first.port)
    second.close()


async def test_run_without_bind_is_our_bug() -> None:
    """Nothing would be served."""
    with pytest.raises(RuntimeError, match="bind comes before run"):
        await NbdServer(find=Lab(NbdLimits()).find, names=lambda client: [], report=lambda event: None).run()


async def test_sockets_are_tuned() -> None:
    """No delay for small replies; dead peers are found, idle ones kept (quirks N-7)."""
    async with serving() as lab:
        await (await lab.dial()).take(18)  # the socket's own, whoever serves it later
        (found,) = lab.server._peers
        sock = found.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 600_000
