"""The native pump by itself, without asyncio: against its twin, against random bytes, cold, crowded and closing."""

import os
import random
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from protocols.nbd.handshake import Agreement, flags_of
from protocols.nbd.limits import NbdLimits
from protocols.nbd.pump import NbdPump
from protocols.nbd.pumped import Closed, PumpEvent
from protocols.nbd.transmission import Answer, Command, Disconnected, Transmission
from storage.image import BytesImage, FileImage, Image, PaddedImage
from storage.trace import Trace
from storage.workers import QUEUE_MOST, THREADS, Workers
from tests.protocols.nbd import peer
from tests.ready import is_readable, poll
from tests.storage.gate import gated_file

READ, WRITE, DISC, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS = range(8)
MIB = 1 << 20
KIB = 1 << 10
SIZE = 4 * MIB
CONTENT = random.Random(3).randbytes(SIZE // 2) + bytes(SIZE // 2)
TASKS_OF_ONE = 32  # of one client among the workers
PATIENCE = 20.0  # seconds; only a hang reaches it


def pair() -> tuple[socket.socket, socket.socket]:
    """A client's and a server's end of one TCP connection; neither blocks."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    client.setblocking(False)
    server.setblocking(False)
    return client, server


class Bench:
    """A pump, its clients, and what it told."""

    def __init__(self, limits: NbdLimits | None = None, workers: Workers | None = None) -> None:
        self.limits = limits or NbdLimits()
        self.workers = workers or Workers()
        self.owns_workers = workers is None
        self.pump = NbdPump(self.limits, workers=self.workers)
        self.is_running = False
        self.events: list[PumpEvent] = []
        self.clients: list[socket.socket] = []

    def join(self, image: Image, *, structured: bool = False, first: bytes = b"") -> socket.socket:
        """A client whose handshake is over."""
        client, server = pair()
        self.clients.append(client)
        self.pump.adopt(server, image, self.agreement(image, structured=structured), first)
        return client

    def agreement(self, image: Image, *, structured: bool = False) -> Agreement:
        """What such a client agreed on."""
        flags = flags_of(writable=image.writable, structured=structured)
        return Agreement("root", image.size, flags, structured, False, 1)

    def run(self) -> None:
        """One batch, by hand."""
        told = self.pump.run(int(PATIENCE * 1000))
        self.events += told

    def start(self) -> None:
        """From now on the pump's own thread."""
        if not self.is_running:
            self.is_running = True
            self.pump.start()

    def take(self, client: socket.socket, length: int, sent: bytes = b"") -> bytes:
        """Send all of `sent` and receive `length` bytes, while the pump's thread serves."""
        self.start()
        got = bytearray()
        while len(got) < length or sent:
            came = poll(client, select.POLLIN | (select.POLLOUT if sent else 0), PATIENCE)
            assert came, f"stuck after {len(got)} of {length} bytes"
            if came & select.POLLOUT:
                sent = sent[client.send(sent) :]
            if came & ~select.POLLOUT:
                piece = client.recv(MIB)
                assert piece, "closed"
                got += piece
        assert len(got) == length
        return bytes(got)

    def closed(self) -> list[str]:
        """Why clients ended, so far."""
        if self.is_running:
            self.events += self.pump.events()
        return [event.reason for event in self.events if isinstance(event, Closed)]

    def run_until_closed(self, count: int) -> None:
        """Until that many have ended."""
        self.start()
        while len(self.closed()) < count:
            assert is_readable(self.pump.fileno(), PATIENCE), "nobody ends"

    def close(self) -> None:
        """The pump, the threads, the clients."""
        self.events += self.pump.close()
        if self.owns_workers:
            self.workers.close()
        for client in self.clients:
            client.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    """An open pump, closed in the end."""
    made = Bench()
    yield made
    made.close()


def receive_slowly(client: socket.socket) -> bytes:
    """What comes next, waited for; nothing at the end of the stream."""
    assert is_readable(client, PATIENCE), "nothing comes"
    return client.recv(64 * KIB)


def replies_of(stream: bytes, lengths: dict[int, int]) -> dict[int, bytes]:
    """Simple replies by cookie, each with its data; the cookie says how much a good one has."""
    found = {}
    at = 0
    while at < len(stream):
        magic, error, cookie = struct.unpack_from(">IIQ", stream, at)
        assert magic == 0x67446698
        end = at + 16 + (0 if error else lengths.get(cookie, 0))
        found[cookie] = stream[at:end]
        at = end
    return found


def by_twin(image: Image, limits: NbdLimits, agreement: Agreement, stream: bytes) -> dict[int, bytes]:
    """What the Python session answers, by cookie."""
    talk = Transmission(agreement, limits)
    talk.receive(stream)
    found: dict[int, bytes] = {}
    while (event := talk.next_event()) is not None and not isinstance(event, Disconnected):
        if isinstance(event, Answer):
            found[int.from_bytes(event.data[8:16], "big")] = event.data
        elif isinstance(event, Command) and event.type == READ:
            data = image.read_at(event.offset, event.length)
            found[event.cookie] = b"".join(talk.answer_read(event, data))
        elif isinstance(event, Command):
            found[event.cookie] = talk.succeed(event)
    return found


def random_request(dice: random.Random, cookie: int) -> bytes:
    """Mostly good, sometimes out of range, with odd flags or of an unknown kind."""
    kind = dice.choice([READ, READ, READ, READ, WRITE, FLUSH, CACHE, TRIM, WRITE_ZEROES, BLOCK_STATUS, 9])
    offset = dice.choice([0, 512, dice.randrange(SIZE), SIZE - 512, SIZE, 1 << 63])
    length = 0 if kind == FLUSH else dice.choice([0, 1, 512, 4096, dice.randrange(100 * KIB), 33 * MIB])
    if kind == WRITE:
        length = min(length, 64 * KIB)
    flags = dice.choice([0, 0, 0, 1, 2, 4, 0x8000])
    data = bytes(length) if kind == WRITE else b""
    offset = 0 if kind == FLUSH else offset
    return peer.request(kind, cookie=cookie, offset=offset, length=length, flags=flags, data=data)


@pytest.mark.parametrize("seed", range(6))
def test_answers_are_those_of_the_twin(bench: Bench, seed: int) -> None:
    """Four hundred requests of every kind in pieces of any size: each gets the twin's answer, in some order."""
    dice = random.Random(seed)
    image = BytesImage(CONTENT)
    requests = [random_request(dice, cookie) for cookie in range(400)]
    stream = b"".join(requests)
    expected = by_twin(image, bench.limits, bench.agreement(image), stream)
    first = dice.randrange(100)
    client = bench.join(image, first=stream[:first])
    got = bench.take(client, sum(map(len, expected.values())), stream[first:])
    lengths = {cookie: len(reply) - 16 for cookie, reply in expected.items()}
    assert replies_of(got, lengths) == expected


def test_random_bytes_end_their_client_only(bench: Bench) -> None:
    """Three hundred clients with noise, half of it behind a good request's first bytes; one reads on meanwhile."""
    dice = random.Random(1)
    good = bench.join(BytesImage(CONTENT))
    for number in range(300):
        head = peer.request(dice.randrange(8), offset=dice.randrange(SIZE), length=dice.randrange(1 << 20))
        noise = head[: dice.randrange(29)] + dice.randbytes(dice.randrange(3000))
        client = bench.join(BytesImage(CONTENT), structured=bool(number % 2), first=noise[: dice.randrange(100)])
        with suppress(OSError):  # what was sent ahead may have ended it already
            client.send(noise)
            if number % 3:
                client.shutdown(socket.SHUT_WR)
        assert bench.take(good, 16 + 512, peer.request(READ, length=512))[16:] == CONTENT[:512]
    assert set(bench.closed()) <= {"malformed", "hung_up", "reset", "disconnected"}
    assert len(bench.closed()) > 200


def test_cold_reads_come_by_way_of_the_workers(bench: Bench, tmp_path: Path) -> None:
    """Pages that the cache does not have; a warm client's reads are answered in between."""
    path = tmp_path / "cold"
    path.write_bytes(CONTENT)
    image = FileImage(path)
    os.fsync(image.fileno())
    os.posix_fadvise(image.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    client = bench.join(image)
    offsets = [at * 64 * KIB for at in range(SIZE // (64 * KIB))]
    random.Random(2).shuffle(offsets)
    reads = b"".join(peer.request(READ, cookie=at, offset=at, length=64 * KIB) for at in offsets)
    got = bench.take(client, len(offsets) * (16 + 64 * KIB), reads)
    found = replies_of(got, dict.fromkeys(offsets, 64 * KIB))
    assert {at: reply[16:] for at, reply in found.items()} == {at: CONTENT[at : at + 64 * KIB] for at in offsets}


def resident() -> int:
    """Bytes of memory that the process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_five_hundred_clients_are_served_in_little_memory(bench: Bench) -> None:
    """Each reads in its turn; afterwards, idle, they cost a few hundred bytes and the test's own sockets."""
    image = BytesImage(CONTENT)
    bench.take(bench.join(image), 16 + 4096, peer.request(READ, length=4096))
    before = resident()
    clients = [bench.join(image) for _ in range(500)]
    for client in clients:
        client.send(peer.request(READ, length=4096) * 4)
    for client in clients:
        assert len(bench.take(client, 4 * (16 + 4096))) == 4 * (16 + 4096)
    assert {sums.requests for seat, sums in bench.pump.connections().items() if seat > 1} == {4}
    assert (resident() - before) / len(clients) < 24 * KIB


def test_a_deep_queue_waits_its_turn(bench: Bench) -> None:
    """One batch answers the client with one request, whoever else has thousands ready, and then is over."""
    image = BytesImage(CONTENT)
    greedy, modest = bench.join(image), bench.join(image)
    greedy.send(peer.request(READ, length=8) * 2000)
    modest.send(peer.request(READ, length=8))
    bench.run()
    first, second = bench.pump.connections().values()
    assert second.requests == 1
    assert 64 <= first.requests <= 1024 + 64
    while bench.pump.connections()[1].requests < 2000:  # the rest needs no word from the client
        bench.run()


def test_a_client_may_leave_while_the_workers_read_for_it(bench: Bench) -> None:
    """Its end is told once, with the reads that were not waited for dropped."""
    for _ in range(50):
        client = bench.join(BytesImage(CONTENT))
        client.send(peer.request(READ, length=2 * MIB) * 8)
        bench.run()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    bench.run_until_closed(50)
    assert bench.pump.connections() == {}


def test_closing_waits_for_the_workers(bench: Bench, tmp_path: Path) -> None:
    """And tells of every client; what was being written is whole or not begun."""
    path = tmp_path / "disk"
    path.write_bytes(bytes(SIZE))
    clients = [bench.join(FileImage(path, writable=True)) for _ in range(4)]
    for number, client in enumerate(clients):
        client.send(peer.request(WRITE, offset=number * KIB, length=KIB, data=bytes([number + 1]) * KIB))
        client.send(peer.request(WRITE_ZEROES, offset=MIB, length=MIB, flags=1))
    bench.run()
    bench.events += bench.pump.close()
    assert bench.closed() == ["stopped"] * 4
    written = path.read_bytes()
    for number in range(4):
        assert set(written[number * KIB : (number + 1) * KIB]) in ({0}, {number + 1})
    with pytest.raises(ValueError, match="closed"):
        bench.pump.run(0)
    assert bench.pump.close() == []


def test_zeroes_are_written_and_caching_is_bounded(bench: Bench, tmp_path: Path) -> None:
    """Both go in steps; a hint over the whole image is answered too."""
    path = tmp_path / "disk"
    path.write_bytes(CONTENT)
    client = bench.join(FileImage(path, writable=True))
    zero = peer.request(WRITE_ZEROES, cookie=1, offset=512, length=3 * MIB // 2, flags=1)
    got = bench.take(client, 32, zero + peer.request(CACHE, cookie=2, length=SIZE))
    assert set(replies_of(got, {})) == {1, 2}
    assert path.read_bytes() == CONTENT[:512] + bytes(3 * MIB // 2) + CONTENT[512 + 3 * MIB // 2 :]


@pytest.mark.parametrize(("flags", "holes"), [(0, [(512 * KIB, True), (512 * KIB, False)]), (2, [(MIB, False)])])
def test_zeroes_make_holes_unless_told_otherwise(
    bench: Bench, tmp_path: Path, flags: int, holes: list[tuple[int, bool]]
) -> None:
    """NO_HOLE wants the room kept."""
    path = tmp_path / "disk"
    path.write_bytes(CONTENT)
    image = FileImage(path, writable=True)
    bench.take(bench.join(image), 16, peer.request(WRITE_ZEROES, length=512 * KIB, flags=flags))
    assert image.read_at(0, MIB) == bytes(512 * KIB) + CONTENT[512 * KIB : MIB]
    assert image.extents(0, MIB) == holes


def test_trimmed_ranges_take_no_room(bench: Bench, tmp_path: Path) -> None:
    """Also with FUA; an image without holes answers a hint it can't follow."""
    path = tmp_path / "disk"
    path.write_bytes(CONTENT)
    image = FileImage(path, writable=True)
    got = bench.take(bench.join(image), 16, peer.request(TRIM, length=MIB, flags=1))
    assert replies_of(got, {0: 0})
    assert image.extents(0, 2 * MIB) == [(MIB, True), (MIB, False)]


@pytest.mark.parametrize("structured", [False, True])
def test_large_reads_come_from_the_page_cache(bench: Bench, tmp_path: Path, structured: bool) -> None:
    """By sendfile, more than the socket takes at once, between small ones; with padding behind the file's end too."""
    path = tmp_path / "root"
    path.write_bytes(CONTENT + b"odd")
    image = PaddedImage(FileImage(path), multiple=512)
    whole = CONTENT + b"odd" + bytes(509)
    client = bench.join(image, structured=structured)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
    sizes = [512, MIB, 40 * KIB, 512, 4 * MIB, 3 * MIB, 64 * KIB, 512]
    ranges = [(len(whole) - size if size % MIB else 0, size) for size in sizes]
    flags = 4 if structured else 0  # DF: one chunk each
    asked = b"".join(
        peer.request(READ, cookie=n, offset=at, length=size, flags=flags) for n, (at, size) in enumerate(ranges)
    )
    head = 28 if structured else 16
    got = bench.take(client, sum(sizes) + head * len(sizes), asked)
    at = 0
    found = {}
    while at < len(got):
        cookie = int.from_bytes(got[at + 8 : at + 16], "big")
        found[cookie] = got[at + head : at + head + sizes[cookie]]
        at += head + sizes[cookie]
    assert found == {n: whole[at : at + size] for n, (at, size) in enumerate(ranges)}


def warm_file(path: Path, content: bytes = CONTENT) -> FileImage:
    """A file in the page cache."""
    path.write_bytes(content)
    return FileImage(path)


@pytest.mark.parametrize("structured", [False, True])
def test_small_reads_are_sent_from_the_file_in_memory(bench: Bench, tmp_path: Path, structured: bool) -> None:
    """More of them than the socket takes, to a client that reads late: each reply whole, in order, with its bytes."""
    image = warm_file(tmp_path / "root")
    dice = random.Random(7)
    wanted = {cookie: (dice.randrange(SIZE - 4096), dice.choice([1, 512, 4095, 4096])) for cookie in range(4000)}
    flags = 4 if structured else 0  # DF: one chunk each
    asked = b"".join(
        peer.request(READ, cookie=cookie, offset=offset, length=length, flags=flags)
        for cookie, (offset, length) in wanted.items()
    )
    client = bench.join(image, structured=structured)
    got = bytearray()
    client.send(asked[: 512 * 28])
    bench.run()
    head = 20 + 8 if structured else 16
    got += bench.take(client, sum(head + length for _, length in wanted.values()), asked[512 * 28 :])
    at = 0
    for cookie, (offset, length) in wanted.items():
        assert int.from_bytes(got[at + 8 : at + 16], "big") == cookie
        assert got[at + head : at + head + length] == CONTENT[offset : offset + length]
        at += head + length


def test_a_file_in_memory_that_is_cut_short_ends_its_client(bench: Bench, tmp_path: Path) -> None:
    """What was in memory is believed to be for a second; then its reader ends, and the next is told of an error."""
    path = tmp_path / "root"
    for _ in range(20):  # on a machine that stops for a second between two reads nothing is believed any more
        image = warm_file(path)
        client, another = bench.join(image), bench.join(image)
        reply = bench.take(client, 16 + 4096, peer.request(READ, cookie=1, offset=MIB, length=4096))
        assert reply[16:] == CONTENT[MIB : MIB + 4096]
        os.truncate(path, 512)
        client.send(peer.request(READ, cookie=2, offset=MIB, length=4096))
        if not receive_slowly(client):
            break
    bench.run_until_closed(1)
    assert bench.closed() == ["image_shortened"]
    got = bench.take(another, 16, peer.request(READ, cookie=3, offset=MIB, length=4096))
    assert int.from_bytes(got[4:8], "big") == 5  # EIO


def test_a_file_that_shrinks_under_a_reply_ends_its_client(bench: Bench, tmp_path: Path) -> None:
    """The header promised bytes that are no more: only the end of the connection says so."""
    path = tmp_path / "root"
    path.write_bytes(CONTENT)
    client = bench.join(FileImage(path))
    client.send(peer.request(READ, length=SIZE) * 4)
    while bench.pump.connections()[1].unsent == 0:  # the socket is full, the rest of a reply waits
        bench.run()
    os.truncate(path, 512)
    received = 0
    bench.start()
    while piece := receive_slowly(client):
        received += len(piece)
    assert received < 4 * (SIZE + 16)
    bench.run_until_closed(1)
    assert bench.closed() == ["image_shortened"]


def test_too_much_sent_ahead_is_not_adopted(bench: Bench) -> None:
    """The socket stays the caller's."""
    client, server = pair()
    image = BytesImage(CONTENT)
    with client, server:
        with pytest.raises(ValueError, match="sent ahead"):
            bench.pump.adopt(server, image, bench.agreement(image), bytes((256 << 10) + 1))
        assert server.fileno() >= 0
    assert bench.pump.connections() == {}


def test_reads_are_noted_in_a_trace_until_it_is_ended(bench: Bench) -> None:
    """Copied or sent from the file, and those only; the pump does not mind its end."""
    client, server = pair()
    bench.clients.append(client)
    image, trace = BytesImage(CONTENT), Trace(8)
    bench.pump.adopt(server, image, bench.agreement(image), b"", trace)
    bench.take(client, 16 + 512, peer.request(READ, offset=8192, length=512))
    bench.take(client, 16, peer.request(FLUSH))
    bench.take(client, 16 + 64 * KIB, peer.request(READ, offset=0, length=64 * KIB))
    assert [(offset, length, reads) for offset, length, _, reads in trace.runs()] == [
        (8192, 512, 1),
        (0, 64 * KIB, 1),
    ]
    trace.end()
    bench.take(client, 16 + 512, peer.request(READ, offset=8192, length=512))
    assert len(trace) == 0


def test_answers_for_those_who_left_are_dropped(bench: Bench) -> None:
    """A seat that is no more, or never was."""
    client = bench.join(BytesImage(CONTENT))
    client.close()
    bench.run_until_closed(1)
    bench.pump.answer(1, b"late")
    bench.pump.answer(99, b"never")


@pytest.mark.root
def test_a_full_queue_is_full_for_a_while_only(bench: Bench, tmp_path: Path) -> None:
    """One pump's cold reads fill the workers' queue; another's client is refused, and served once there is room."""
    other = Bench(workers=bench.workers)
    with gated_file(tmp_path / "cold", SIZE) as gate:
        image = FileImage(gate.path)
        crowd = []
        for _ in range(QUEUE_MOST // TASKS_OF_ONE + 1):
            crowd.append(bench.join(image))
            crowd[-1].send(b"".join(peer.request(READ, cookie=n, length=512) for n in range(TASKS_OF_ONE)))
            bench.run()
            if len(crowd) == 1:
                for _ in range(THREADS):  # each thread has one; from here on tasks only wait
                    gate.wait()
        while sum(sums.requests for sums in bench.pump.connections().values()) < QUEUE_MOST + THREADS:
            bench.run()
        late = other.join(image)
        late.send(peer.request(READ, length=512))
        other.run()
        assert other.pump.connections()[1].requests == 0  # there is no room for it
        other.start()
        gate.open()
        assert len(other.take(late, 16 + 512)) == 16 + 512
        for client in crowd:
            assert len(bench.take(client, TASKS_OF_ONE * (16 + 512))) == TASKS_OF_ONE * (16 + 512)
        other.close()
