"""The TFTP server on loopback: requests, refusals, bounds, uploads, disks that are slow or broken."""

import asyncio
import errno
import os
import random
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from protocols.datagram import udp_socket
from protocols.tftp.channel import Owner, ReadChannel
from protocols.tftp.endpoint import (
    Ceilings,
    Download,
    RequestRefused,
    TftpEvent,
    TftpLimits,
    TftpServer,
    TransferFinished,
    TransferStarted,
)
from protocols.tftp.path import PumpedPath, ReadPath
from protocols.tftp.transfer import Outcome
from protocols.tftp.wire import (
    Ack,
    Data,
    Error,
    ErrorCode,
    Opcode,
    OptionAck,
    Options,
    Packet,
    Request,
    build_ack,
    build_data,
    build_error,
    build_request,
    parse_packet,
)
from storage.errors import StorageError
from storage.image import BytesImage, FileImage, Image
from storage.upload import Upload
from tests.protocols.tftp.twin import PlainPath

PATIENCE = 20.0  # seconds until a test gives up waiting for an answer that should be immediate
FILE = random.Random(1).randbytes(5000)
Address = tuple[str, int]


class Tree:
    """Files by name for one test, and what the server reported."""

    path: Callable[[Owner, int], ReadPath] = PumpedPath

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images: dict[str, Image | Exception] = {"file": BytesImage(FILE), "text": BytesImage(b"a\nb\r")}
        self.upload_limit = 10_000
        self.events: list[TftpEvent] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.finished: asyncio.Queue[TransferFinished] = asyncio.Queue()

    async def open_read(self, name: str, client: str) -> Image:
        """As the appliance's."""
        await self.gate.wait()
        found = self.images.get(name, FileNotFoundError(name))
        if isinstance(found, Exception):
            raise found
        return found

    async def open_write(self, name: str, client: str, size: int | None) -> Upload:
        """As the appliance's."""
        if name.startswith("/"):
            raise PermissionError(name)
        if (self.folder / name).exists():
            raise FileExistsError(name)
        if size is not None and size > self.upload_limit:
            raise StorageError("announced too much", errno.EFBIG)
        return Upload(self.folder / name, limit=self.upload_limit)

    def report(self, event: TftpEvent) -> None:
        """As the appliance's."""
        self.events.append(event)
        if isinstance(event, TransferFinished):
            self.finished.put_nowait(event)


class Peer:
    """One client socket."""

    def __init__(self, port: int) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind(("127.0.0.1", 0))
        self.server: Address = ("127.0.0.1", port)
        self.transfer: Address = self.server

    def send(self, datagram: bytes) -> None:
        """To the transfer's port, or where nothing answered yet, to the request port."""
        self.sock.sendto(datagram, self.transfer)

    def ask(self, name: str, *options: tuple[str, str], mode: str = "octet", opcode: Opcode = Opcode.RRQ) -> None:
        """A request to the request port."""
        self.sock.sendto(build_request(Request(opcode, name, mode, options)), self.server)

    async def take(self) -> Packet:
        """The next packet of the server."""
        loop = asyncio.get_running_loop()
        data, self.transfer = await asyncio.wait_for(loop.sock_recvfrom(self.sock, 65536), PATIENCE)
        return parse_packet(data)

    async def fetch(self, name: str, *options: tuple[str, str], mode: str = "octet") -> bytes:
        """A whole file in lock step."""
        self.ask(name, *options, mode=mode)
        received, block, blksize = b"", 0, 512
        while True:
            packet = await self.take()
            if isinstance(packet, OptionAck):
                blksize = int(dict(packet.options).get("blksize", "512"))
                self.send(build_ack(0))
                continue
            assert isinstance(packet, Data), packet
            if packet.block == (block + 1) % 65536:
                block += 1
                received += packet.payload
            self.send(build_ack(block))
            if len(packet.payload) < blksize:
                return received


@pytest.fixture(autouse=True, params=[PumpedPath, PlainPath], ids=["pump", "plain"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here runs over the native pump and over its twin."""
    monkeypatch.setattr(Tree, "path", request.param)


# What only Python can fake, a pump never asks: test_pump.py has its own.
plain_only = pytest.mark.parametrize("path", [PlainPath], indirect=True, ids=["plain"])


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """The files of one test."""
    return Tree(tmp_path)


@asynccontextmanager
async def serving(
    tree: Tree, limits: TftpLimits | None = None, ceilings: Ceilings | None = None
) -> AsyncIterator[TftpServer]:
    """A server that runs for as long as the block does; `ceilings` are for whoever asks."""
    server = TftpServer(
        open_read=tree.open_read,
        open_write=tree.open_write,
        report=tree.report,
        limits=limits,
        ceilings=None if ceilings is None else lambda client: ceilings,
        pumps=2,
        path=type(tree).path,
    )
    await server.bind("127.0.0.1", 0)
    running = asyncio.create_task(server.run())
    try:
        yield server
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def server(tree: Tree) -> AsyncIterator[TftpServer]:
    """A server with usual limits."""
    async with serving(tree) as running:
        yield running


@pytest.fixture
def client(server: TftpServer) -> Iterator[Peer]:
    """One client of it."""
    peer = Peer(server.port)
    yield peer
    peer.sock.close()


async def ended(tree: Tree) -> TransferFinished:
    """The next transfer's end."""
    return await asyncio.wait_for(tree.finished.get(), PATIENCE)


async def test_a_clients_own_ceilings(tree: Tree) -> None:
    """No more is agreed to with it than they say."""
    async with serving(tree, ceilings=Ceilings(blksize=1024, windowsize=2)) as server:
        client = Peer(server.port)
        with client.sock:
            client.ask("file", ("blksize", "1468"), ("windowsize", "4"))
            assert await client.take() == OptionAck((("blksize", "1024"), ("windowsize", "2")))


async def test_a_client_that_goes_on_with_one(tree: Tree) -> None:
    """A file of more blocks than there are numbers is sent by what can number them so (T-9), a shorter one as ever."""
    tree.images["long"] = BytesImage(bytes(65_536 * 8))
    async with serving(tree) as server:
        for name, is_channel in (("long", True), ("file", tree.path is PlainPath)):
            client = Peer(server.port)
            with client.sock:
                client.ask(name, ("blksize", "8"), ("rollover", "1"))
                assert await client.take() == OptionAck((("blksize", "8"), ("rollover", "1")))
                (transfer,) = server._transfers.values()
                assert isinstance(transfer, ReadChannel) == is_channel
                client.send(build_error(0, "enough"))
                await ended(tree)


async def test_single_port(tree: Tree) -> None:
    """Every packet comes from the port that was asked, and nobody hears what is another's (T-14)."""
    async with serving(tree, ceilings=Ceilings(single_port=True)) as server:
        clients = [Peer(server.port) for _ in range(3)]
        files = await asyncio.gather(*(client.fetch("file", ("blksize", "1000")) for client in clients))
        assert files == [FILE] * 3
        assert [client.transfer for client in clients] == [client.server for client in clients]
        for client in clients:
            client.sock.close()
        with pytest.raises(OSError, match="Address already in use"):
            udp_socket("127.0.0.1", server.port)


@pytest.mark.parametrize("mode", ["octet", "OCTET", "Octet"])
async def test_a_file_is_served(server: TftpServer, client: Peer, tree: Tree, mode: str) -> None:
    """Byte by byte, and told as started and finished."""
    assert await client.fetch("file", mode=mode) == FILE
    port = client.sock.getsockname()[1]
    assert tree.events[0] == TransferStarted("127.0.0.1", port, "file", "read", len(FILE), 512, 1)
    finished = await ended(tree)
    assert (finished.outcome, finished.size, finished.resent) == (Outcome.COMPLETED, len(FILE), 0)
    assert server.counts["completed"] == 1


async def test_netascii_is_converted(client: Peer) -> None:
    """Line ends as netascii has them."""
    assert await client.fetch("text", mode="netascii") == b"a\r\nb\r\0"


async def test_options_are_answered_as_asked(client: Peer) -> None:
    """Only those, in their order, and then served."""
    client.ask("file", ("tsize", "0"), ("multicast", ""), ("blksize", "1468"), ("windowsize", "4"))
    assert await client.take() == OptionAck((("tsize", "5000"), ("blksize", "1468"), ("windowsize", "4")))
    client.send(build_ack(0))
    assert [(await client.take()) for _ in range(4)][-1] == Data(4, memoryview(FILE[3 * 1468 :]))


async def test_the_answer_comes_from_a_fresh_port_of_the_same_address(client: Peer, server: TftpServer) -> None:
    """RFC 1350 §4, quirk T-15."""
    client.ask("file")
    await client.take()
    assert client.transfer[0] == "127.0.0.1"
    assert client.transfer[1] != server.port


async def test_a_missing_file_is_error_one_before_any_oack(client: Peer, tree: Tree) -> None:
    """With exactly the text that KIWI looks for (quirk T-4)."""
    client.ask("nothing", ("tsize", "0"), ("blksize", "1428"))
    assert await client.take() == Error(1, "File not found")
    assert tree.events == [RequestRefused("127.0.0.1", "nothing", 1, "File not found")]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermissionError("no"), ErrorCode.ACCESS_VIOLATION),
        (StorageError("broken", errno.EIO), ErrorCode.NOT_DEFINED),
        (OSError(errno.EMFILE, "too many"), ErrorCode.NOT_DEFINED),
    ],
)
async def test_errors_of_policy_become_tftp_errors(client: Peer, tree: Tree, error: Exception, code: int) -> None:
    """And the server goes on."""
    tree.images["bad"] = error
    client.ask("bad")
    answer = await client.take()
    assert isinstance(answer, Error)
    assert answer.code == code
    assert await client.fetch("file") == FILE


async def test_mail_is_refused(client: Peer) -> None:
    """Quirk T-20."""
    client.ask("file", mode="mail")
    answer = await client.take()
    assert isinstance(answer, Error)
    assert answer.code == ErrorCode.ILLEGAL_OPERATION


async def test_a_size_probe_is_no_failure(client: Peer, tree: Tree) -> None:
    """OACK, ERROR 8, and then the real request from the same port (quirk T-1)."""
    client.ask("file", ("tsize", "0"))
    await client.take()
    client.send(build_error(8, "User aborted the transfer"))
    assert (await ended(tree)).outcome is Outcome.PROBED
    assert await client.fetch("file", ("blksize", "1468")) == FILE


async def test_an_abort_in_the_middle(client: Peer, tree: Tree) -> None:
    """ERROR ends it at once."""
    client.ask("file")
    await client.take()
    client.send(build_error(0, "enough"))
    assert (await ended(tree)).outcome is Outcome.ABORTED


async def test_a_stranger_gets_error_five_and_the_transfer_goes_on(client: Peer, server: TftpServer) -> None:
    """Quirk T-13; and an ERROR of a stranger is not answered."""
    client.ask("file")
    first = await client.take()
    stranger = Peer(server.port)
    stranger.transfer = client.transfer
    stranger.send(build_error(0, "who is there"))
    stranger.send(build_ack(1))
    answer = await stranger.take()
    stranger.sock.close()
    assert isinstance(answer, Error)
    assert answer.code == ErrorCode.UNKNOWN_TID
    assert first == Data(1, memoryview(FILE[:512]))
    client.send(build_ack(1))
    assert await client.take() == Data(2, memoryview(FILE[512:1024]))
    assert server.counts["unknown_tid"] == 2


async def test_a_repeated_request_opens_no_second_transfer(client: Peer, server: TftpServer) -> None:
    """The same OACK from the same port (quirk T-8)."""
    client.ask("file", ("blksize", "1024"))
    first = await client.take()
    port = client.transfer
    client.ask("file", ("blksize", "1024"))
    assert await client.take() == first
    assert client.transfer == port
    assert (server.counts["started"], server.counts["repeated"]) == (1, 1)


async def test_a_request_repeated_while_its_file_is_opened_is_answered_once(
    client: Peer, server: TftpServer, tree: Tree
) -> None:
    """The policy may take its time."""
    tree.gate.clear()
    client.ask("file", ("blksize", "1024"))
    client.ask("file", ("blksize", "1024"))
    await until(lambda: server.counts["repeated"] == 1)
    tree.gate.set()
    await client.take()
    assert server.counts["started"] == 1


async def test_a_late_duplicate_of_a_request_changes_nothing(client: Peer, server: TftpServer) -> None:
    """Blocks flow already: it is the network's doing."""
    client.ask("file")
    await client.take()
    client.send(build_ack(1))
    await client.take()
    client.ask("file")
    await until(lambda: server.counts["repeated"] == 1)
    client.send(build_ack(2))
    assert await client.take() == Data(3, memoryview(FILE[1024:1536]))


async def test_another_request_of_the_same_port_replaces_the_first(client: Peer, tree: Tree) -> None:
    """A ROM with a fixed port began anew."""
    client.ask("file")
    await client.take()
    assert await client.fetch("text") == b"a\nb\r"
    assert (await ended(tree)).outcome is Outcome.ABORTED


async def test_a_lost_answer_is_sent_again(client: Peer, tree: Tree) -> None:
    """By the timer; the transfer says how many times."""
    client.ask("file", ("timeout", "1"))
    await client.take()
    assert await client.take() == OptionAck((("timeout", "1"),))
    client.send(build_error(0, "enough"))
    assert (await ended(tree)).resent == 1


async def test_a_silent_client_is_given_up(tree: Tree) -> None:
    """And its place is free again."""
    async with serving(tree, TftpLimits(give_up_after=0.1, transfers=1)) as server:
        peer = Peer(server.port)
        peer.ask("file")
        assert (await ended(tree)).outcome is Outcome.TIMED_OUT
        other = Peer(server.port)
        assert await other.fetch("file") == FILE
        peer.sock.close()
        other.sock.close()


@pytest.mark.parametrize("limits", [TftpLimits(transfers=2), TftpLimits(transfers_per_client=2)])
async def test_too_many_transfers_are_told_to_try_again(tree: Tree, limits: TftpLimits) -> None:
    """Counted, refused, and served once there is room."""
    async with serving(tree, limits) as server:
        peers = [Peer(server.port) for _ in range(3)]
        for peer in peers[:2]:
            peer.ask("file")
            await peer.take()
        peers[2].ask("file")
        assert await peers[2].take() == Error(0, "busy, try again")
        assert server.counts["busy"] == 1
        peers[0].send(build_error(0, ""))
        await ended(tree)
        assert await peers[2].fetch("file") == FILE
        for peer in peers:
            peer.sock.close()


async def test_running_out_of_descriptors_is_a_refusal(
    client: Peer, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EMFILE ends no service, and an upload's file does not stay behind."""

    def no_socket(address: str, port: int, *, interface: str | None = None) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("protocols.tftp.endpoint.udp_socket", no_socket)
        client.ask("file")
        assert await client.take() == Error(0, "busy, try again")
        client.ask("up", opcode=Opcode.WRQ)
        assert await client.take() == Error(0, "busy, try again")
    assert list(tree.folder.iterdir()) == []
    assert await client.fetch("file") == FILE


class ColdImage(Image):
    """An image whose every read must wait for the disk, for as long as the test says."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.is_broken = False
        self.reads = 0
        self.gate = threading.Event()
        self.gate.set()

    @property
    def size(self) -> int:
        """As `Image.size`."""
        return len(self.content)

    def read_at_now(self, offset: int, length: int) -> bytes | None:
        """Never in memory."""
        return None

    def read_at(self, offset: int, length: int) -> bytes:
        """On a pool thread."""
        self.reads += 1
        assert self.gate.wait(PATIENCE)
        if self.is_broken:
            raise StorageError("the disk broke", errno.EIO)
        return self.content[offset : offset + length]


@plain_only
async def test_cold_files_are_read_on_threads(client: Peer, tree: Tree) -> None:
    """Whole, ahead of need."""
    cold = ColdImage(FILE * 40)
    tree.images["cold"] = cold
    assert await client.fetch("cold", ("blksize", "1428")) == FILE * 40
    assert 1 < cold.reads < 8


@plain_only
async def test_a_broken_disk_ends_only_its_own_transfer(client: Peer, tree: Tree) -> None:
    """With an ERROR for the client."""
    cold = ColdImage(FILE)
    cold.is_broken = True
    tree.images["cold"] = cold
    client.ask("cold")
    answer = await client.take()
    assert isinstance(answer, Error)
    assert (await ended(tree)).outcome is Outcome.FAILED
    assert await client.fetch("file") == FILE


async def test_a_truncated_file_ends_only_its_own_transfer(client: Peer, tree: Tree, tmp_path: Path) -> None:
    """Found without a thread; the client is told, and so is the operator."""
    (tmp_path / "short").write_bytes(FILE)
    tree.images["short"] = FileImage(tmp_path / "short")
    os.truncate(tmp_path / "short", 100)
    client.ask("short")
    with capture_logs() as lines:
        assert isinstance(await client.take(), Error)
        assert (await ended(tree)).outcome is Outcome.FAILED
    assert [line["name"] for line in lines if line["event"] == "storage_failed"] == ["short"]
    assert await client.fetch("file") == FILE


async def test_downloads_tell_how_far_each_is(client: Peer, server: TftpServer) -> None:
    """By what the client acknowledged."""
    client.ask("file", ("windowsize", "2"))
    assert isinstance(await client.take(), OptionAck)
    client.send(build_ack(0))
    assert [await client.take() for _ in range(2)] == [
        Data(1, memoryview(FILE[:512])),
        Data(2, memoryview(FILE[512:1024])),
    ]
    assert server.downloads() == [Download("127.0.0.1", "file", 0)]
    client.send(build_ack(2))
    await client.take()
    assert server.downloads() == [Download("127.0.0.1", "file", 1024)]


@plain_only
@pytest.mark.parametrize("is_broken", [False, True])
async def test_a_disk_read_that_ends_after_its_transfer_does_no_harm(client: Peer, tree: Tree, is_broken: bool) -> None:
    """The client aborts while the disk is slow; others are served meanwhile."""
    cold = ColdImage(FILE)
    cold.is_broken = is_broken
    tree.images["cold"] = cold
    cold.gate.clear()
    client.ask("cold", ("tsize", "0"))
    await client.take()
    client.send(build_ack(0))
    await until(lambda: cold.reads == 1)
    client.send(build_error(0, "enough"))
    assert (await ended(tree)).outcome is Outcome.ABORTED
    assert await client.fetch("file") == FILE
    cold.gate.set()
    assert await client.fetch("file") == FILE


@plain_only
async def test_a_network_that_refuses_to_send_is_a_lossy_one(
    client: Peer, server: TftpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENETUNREACH for one packet: counted, and sent again by the timer."""
    errors = iter([OSError(errno.ENETUNREACH, "Network is unreachable")])
    patch_transfer_sockets(monkeypatch, errors)
    assert await client.fetch("file") == FILE
    assert server.counts["send_failed"] == 1


async def send_file(client: Peer, plain: bytes, blksize: int = 512) -> Packet:
    """All blocks in lock step after the first answer; the last answer."""
    answer = await client.take()
    for block in range(1, len(plain) // blksize + 2):
        if isinstance(answer, Error):
            break
        client.send(build_data(block, plain[(block - 1) * blksize : block * blksize]))
        answer = await client.take()
    return answer


async def test_an_upload_as_kiwi_sends_it(client: Peer, tree: Tree) -> None:
    """No options, 512-byte blocks, in place once acknowledged (quirk T-18)."""
    client.ask("client.52:54:00:77:00:01", opcode=Opcode.WRQ)
    assert await send_file(client, FILE) == Ack(10)
    assert (tree.folder / "client.52:54:00:77:00:01").read_bytes() == FILE
    finished = await ended(tree)
    assert (finished.direction, finished.outcome, finished.size) == ("write", Outcome.COMPLETED, len(FILE))


async def test_an_upload_with_options_is_answered_by_an_oack(client: Peer, tree: Tree) -> None:
    """Not by ACK 0; a repeated last block is acknowledged again."""
    client.ask("up", ("blksize", "1000"), ("tsize", "5000"), opcode=Opcode.WRQ)
    assert await client.take() == OptionAck((("blksize", "1000"), ("tsize", "5000")))
    for block in range(1, 7):
        client.send(build_data(block, FILE[(block - 1) * 1000 : block * 1000]))
        assert await client.take() == Ack(block)
    client.send(build_data(6, b""))
    assert await client.take() == Ack(6)
    assert (tree.folder / "up").read_bytes() == FILE


async def test_the_next_upload_of_the_same_port_need_not_wait(client: Peer, tree: Tree) -> None:
    """The one before still listens for a lost ACK, and makes way."""
    for name in ("one", "two"):
        client.ask(name, opcode=Opcode.WRQ)
        assert await send_file(client, b"x") == Ack(1)
    assert (tree.folder / "two").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("name", "options", "code"),
    [
        ("/etc/passwd", (), ErrorCode.ACCESS_VIOLATION),
        ("there", (), ErrorCode.FILE_EXISTS),
        ("big", (("tsize", "99999999"),), ErrorCode.DISK_FULL),
    ],
)
async def test_uploads_that_policy_forbids(
    client: Peer, tree: Tree, name: str, options: Options, code: ErrorCode
) -> None:
    """ERROR 2, 6 and 3."""
    (tree.folder / "there").write_bytes(b"")
    client.ask(name, *options, opcode=Opcode.WRQ)
    answer = await client.take()
    assert isinstance(answer, Error)
    assert answer.code == code


async def test_an_upload_past_its_limit_is_stopped(client: Peer, tree: Tree) -> None:
    """ERROR 3 in the middle, and nothing stays."""
    tree.upload_limit = 1000
    client.ask("big", opcode=Opcode.WRQ)
    answer = await send_file(client, FILE)
    assert isinstance(answer, Error)
    assert answer.code == ErrorCode.DISK_FULL
    assert (await ended(tree)).outcome is Outcome.FAILED
    assert list(tree.folder.iterdir()) == []


async def test_an_aborted_upload_leaves_nothing(client: Peer, tree: Tree) -> None:
    """Half a file is no file."""
    client.ask("up", opcode=Opcode.WRQ)
    await client.take()
    client.send(build_data(1, bytes(512)))
    await client.take()
    client.send(build_error(0, "no"))
    assert (await ended(tree)).outcome is Outcome.ABORTED
    assert list(tree.folder.iterdir()) == []


async def test_stray_and_malformed_packets_are_counted(client: Peer, server: TftpServer) -> None:
    """Never answered, never fatal."""
    for datagram in (b"", b"\0", b"\0\1x\0", b"\0\x09zz", build_ack(1), build_data(1, b"x"), build_error(0, "x")):
        client.sock.sendto(datagram, client.server)
    await until(lambda: server.counts["malformed"] == 4 and server.counts["stray"] == 3)
    client.ask("file")
    await client.take()
    client.send(b"\0\4\0")
    await until(lambda: server.counts["malformed"] == 5)


async def test_random_bytes_do_no_harm(client: Peer, server: TftpServer, tree: Tree) -> None:
    """On the request port and on a transfer's; afterwards everybody is served."""
    dice = random.Random(7)
    client.ask("file", ("blksize", "8"))
    await client.take()
    noise = Peer(server.port)
    for number in range(2000):
        opcode = dice.choice([b"", b"\0\1", b"\0\2", b"\0\3", b"\0\4", b"\0\6"])
        datagram = opcode + dice.randbytes(dice.randrange(60))
        (noise if number % 2 else client).send(datagram)
        if number % 50 == 0:
            await until(lambda: True)
    other = Peer(server.port)
    assert await other.fetch("file") == FILE
    noise.sock.close()
    other.sock.close()


async def test_the_end_of_the_server_is_told_to_its_clients(tree: Tree) -> None:
    """ERROR instead of silence, uploads dropped, ports free again."""
    async with serving(tree) as server:
        reader, writer = Peer(server.port), Peer(server.port)
        port = server.port
        reader.ask("file")
        await reader.take()
        writer.ask("up", opcode=Opcode.WRQ)
        await writer.take()
    assert isinstance(await reader.take(), Error)
    assert isinstance(await writer.take(), Error)
    assert [event.outcome for event in tree.events if isinstance(event, TransferFinished)] == [Outcome.FAILED] * 2
    assert list(tree.folder.iterdir()) == []
    reader.sock.close()
    writer.sock.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.1", port))


async def test_a_port_in_use_is_told_as_it_is(server: TftpServer, tree: Tree) -> None:
    """EADDRINUSE, untouched."""
    second = TftpServer(open_read=tree.open_read, open_write=tree.open_write, report=tree.report)
    with pytest.raises(OSError) as caught:
        await second.bind("127.0.0.1", server.port)
    assert caught.value.errno == errno.EADDRINUSE


@plain_only
async def test_a_full_socket_delays_but_does_not_lose(
    client: Peer, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the kernel does not take at once goes out when it will."""
    patch_transfer_sockets(monkeypatch, iter([BlockingIOError(), BlockingIOError(), None, BlockingIOError()]))
    assert await client.fetch("file") == FILE
    assert (await ended(tree)).resent == 0


async def test_a_thousand_transfers_at_once(tree: Tree) -> None:
    """All open at the same time, all whole, none refused."""
    count = 1000
    async with serving(tree, TftpLimits(transfers=count, transfers_per_client=count)) as server:
        peers = [Peer(server.port) for _ in range(count)]
        for start in range(0, count, 100):
            batch = peers[start : start + 100]
            for peer in batch:
                peer.ask("file", ("blksize", "1428"))
            await asyncio.gather(*(peer.take() for peer in batch))
        assert (server.counts["started"], server.counts["completed"]) == (count, 0)
        for peer in peers:
            peer.send(build_ack(0))
        files = await asyncio.gather(*(finish(peer) for peer in peers))
        assert all(received == FILE for received in files)
        await until(lambda: server.counts["completed"] == count)
        for peer in peers:
            peer.sock.close()


def patch_transfer_sockets(monkeypatch: pytest.MonkeyPatch, fates: Iterator[OSError | None]) -> None:
    """Give transfers sockets whose first sends meet `fates`."""

    class Fated(socket.socket):
        def sendto(self, data: bytes, target: Address) -> int:  # type: ignore[override]  # the one form used here
            if fate := next(fates, None):
                raise fate
            return super().sendto(data, target)

    def fated_socket(address: str, port: int, *, interface: str | None = None) -> socket.socket:
        return Fated(fileno=udp_socket(address, port, interface=interface).detach())

    monkeypatch.setattr("protocols.tftp.endpoint.udp_socket", fated_socket)


async def finish(peer: Peer) -> bytes:
    """The rest of a transfer with blksize 1428 whose OACK was answered; duplicates are answered and dropped."""
    received, block = b"", 0
    while True:
        packet = await peer.take()
        assert isinstance(packet, Data | OptionAck)
        if isinstance(packet, OptionAck):
            peer.send(build_ack(0))
            continue
        if packet.block == block + 1:
            block += 1
            received += packet.payload
        peer.send(build_ack(block))
        if block and len(packet.payload) < 1428:
            return received


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something holds."""
    async with asyncio.timeout(PATIENCE):
        while True:
            await asyncio.sleep(0)
            if condition():
                return
