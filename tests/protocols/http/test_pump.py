"""The native pump by itself, without asyncio: cold files, full sockets, the silent, the gone, the stopped."""

import contextlib
import os
import random
import socket
import time
from collections.abc import Iterator
from errno import EBADF, ECONNRESET, EIO, EPIPE
from pathlib import Path

import pytest

from protocols.http.pump import HttpPump
from protocols.http.pumped import Ended
from storage.image import BytesImage, FileImage, Image, PaddedImage
from storage.workers import Workers

MIB = 1 << 20
SIZE = 3 * MIB + 77
CONTENT = random.Random(5).randbytes(SIZE)
PATIENCE = 20.0  # seconds; only a hang reaches it
STALL = 0.3  # seconds


class Bench:
    """A pump, its clients' ends, and what it told."""

    def __init__(self, stall: float = PATIENCE) -> None:
        self.workers = Workers()
        self.pump = HttpPump(workers=self.workers, stall=stall)
        self.ended: dict[int, Ended] = {}
        self.sockets: list[socket.socket] = []

    def join(self, rcvbuf: int = 0) -> tuple[socket.socket, socket.socket]:
        """A client's and a server's end of one TCP connection; neither blocks. `rcvbuf` in bytes, 0: the kernel's."""
        client = socket.socket()
        if rcvbuf:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client.connect(listener.getsockname())
            server, _ = listener.accept()
        for end in (client, server):
            end.setblocking(False)
            self.sockets.append(end)
        return client, server

    def run(self, milliseconds: int = 0) -> None:
        """One batch."""
        for event in self.pump.run(milliseconds):
            assert event.number not in self.ended
            self.ended[event.number] = event

    def until_ended(self, number: int) -> Ended:
        """Run until a body's end is told."""
        deadline = time.monotonic() + PATIENCE
        while number not in self.ended:
            assert time.monotonic() < deadline
            self.run(50)
        return self.ended[number]

    def fetch(self, image: Image, offset: int, length: int) -> bytes:
        """All that a client gets of one body that goes well."""
        client, server = self.join()
        number = self.pump.send(server.fileno(), image, offset, length)
        got = bytearray()
        deadline = time.monotonic() + PATIENCE
        while len(got) < length:
            assert time.monotonic() < deadline
            self.run(1)
            got += drain(client)
        assert self.until_ended(number) == Ended(number, length, "sent", 0)
        assert drain(client) == b""
        return bytes(got)

    def close(self) -> None:
        """Everything ends."""
        self.pump.close()
        self.workers.close()
        for end in self.sockets:
            end.close()


def drain(client: socket.socket) -> bytes:
    """What waits for a client."""
    got = bytearray()
    while True:
        try:
            data = client.recv(MIB)
        except BlockingIOError:
            return bytes(got)
        if not data:
            return bytes(got)
        got += data


def take(client: socket.socket, length: int) -> bytes:
    """So many bytes, or all up to the end: what a socket took may still be on its way."""
    client.settimeout(PATIENCE)
    got = bytearray()
    while len(got) < length and (data := client.recv(min(MIB, length - len(got)))):
        got += data
    return bytes(got)


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A pump with all the patience there is."""
    made = Bench()
    yield made
    made.close()


@pytest.fixture
def hasty() -> Iterator[Bench]:
    """A pump that soon gives up."""
    made = Bench(stall=STALL)
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with bytes in it."""
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def huge(tmp_path: Path) -> FileImage:
    """More than any socket holds."""
    with (tmp_path / "huge").open("wb") as hollow:
        hollow.truncate(1 << 30)
    return FileImage(tmp_path / "huge")


def make_cold(path: Path) -> None:
    """Have the kernel forget what it has of a file in memory."""
    with path.open("rb") as found:
        os.fsync(found.fileno())
        os.posix_fadvise(found.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.mark.parametrize(("offset", "length"), [(0, SIZE), (1, 1), (4095, 2), (MIB - 1, MIB + 2), (SIZE - 1, 1)])
@pytest.mark.parametrize("is_cold", [False, True])
def test_any_range_of_any_image(bench: Bench, file: Path, offset: int, length: int, is_cold: bool) -> None:
    """By sendfile, by copying, and over the seam between a file and its padding; warm and cold."""
    for image in (FileImage(file), BytesImage(CONTENT), PaddedImage(FileImage(file), multiple=MIB)):
        if is_cold:
            make_cold(file)
        assert bench.fetch(image, offset, length) == CONTENT[offset : offset + length]


def test_the_cold_end_of_a_padded_file(bench: Bench, file: Path) -> None:
    """What sendfile can't take and memory has not is read by the workers."""
    image = PaddedImage(FileImage(file), multiple=MIB)
    make_cold(file)
    assert bench.fetch(image, SIZE - 50, image.size - SIZE + 50) == CONTENT[-50:] + bytes(image.size - SIZE)


def test_the_caller_keeps_its_socket(bench: Bench, file: Path) -> None:
    """The pump lets go of its own descriptor only."""
    client, server = bench.join()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        number = bench.pump.send(server.fileno(), FileImage(file), 0, 1000)
        assert bench.until_ended(number).size == 1000
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    server.send(b"more")
    assert take(client, 3004) == CONTENT[:1000] * 3 + b"more"


def test_a_full_socket_parks_its_body_only(bench: Bench, file: Path, huge: FileImage) -> None:
    """Others go on meanwhile, and it goes on when there is room."""
    client, server = bench.join()
    number = bench.pump.send(server.fileno(), huge, 0, huge.size)
    deadline = time.monotonic() + PATIENCE
    while bench.pump.progress()[number] == 0:
        assert time.monotonic() < deadline
        bench.run(10)
    assert bench.fetch(FileImage(file), 0, SIZE) == CONTENT
    held = bench.pump.progress()[number]
    assert held < huge.size
    got = 0
    while got <= held:  # the last of it was sent after it was parked
        assert time.monotonic() < deadline
        bench.run(10)
        got += len(drain(client))


def test_turns(bench: Bench, file: Path) -> None:
    """A small body gets its turn before a large one that came first is over."""
    clients = [bench.join() for _ in range(20)]
    bodies = [bench.pump.send(server.fileno(), FileImage(file), 0, SIZE) for _, server in clients]
    small = bench.join()
    number = bench.pump.send(small[1].fileno(), FileImage(file), 7, 100)
    bench.until_ended(number)
    assert next(iter(bench.ended)) == number
    assert take(small[0], 100) == CONTENT[7:107]
    while not bench.ended.keys() >= set(bodies):
        bench.run(1)
        for client, _ in clients:
            drain(client)
    assert {bench.ended[body].reason for body in bodies} == {"sent"}


def test_who_takes_nothing_in_is_ended(hasty: Bench, huge: FileImage, file: Path) -> None:
    """After its time, and with what the socket took; who reads meanwhile is not."""
    _, server = hasty.join()
    number = hasty.pump.send(server.fileno(), huge, 0, huge.size)
    while number not in hasty.ended:
        assert hasty.fetch(FileImage(file), 0, SIZE) == CONTENT
    ended = hasty.ended[number]
    assert (ended.reason, ended.errno) == ("stalled", 0)
    assert 0 < ended.size < huge.size


def test_who_reads_slowly_is_not_ended(hasty: Bench, huge: FileImage) -> None:
    """A socket may empty itself for long before the kernel finds it worth telling: that is progress too.

    Its receive buffer is small, so that the kernel takes each read as room: there is always one since the last look,
    however long either was kept from running.
    """
    client, server = hasty.join(rcvbuf=4096)
    number = hasty.pump.send(server.fileno(), huge, 0, huge.size)
    deadline = time.monotonic() + 6 * STALL
    while time.monotonic() < deadline:
        hasty.run(30)
        with contextlib.suppress(BlockingIOError):
            client.recv(MIB)
    assert hasty.ended == {}
    hasty.pump.stop(number)
    assert hasty.until_ended(number).reason == "stopped"


@pytest.mark.parametrize("is_cold", [False, True])
def test_who_leaves(bench: Bench, huge: FileImage, is_cold: bool) -> None:
    """By a reset, noticed without asking."""
    if is_cold:
        make_cold(Path(huge.path))
    client, server = bench.join()
    number = bench.pump.send(server.fileno(), huge, 0, huge.size)
    bench.run(100)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    client.close()
    ended = bench.until_ended(number)
    assert (ended.reason, ended.errno in (EPIPE, ECONNRESET)) == ("left", True)


def test_a_half_closed_client_gets_its_body(bench: Bench, file: Path) -> None:
    """It may still read."""
    client, server = bench.join()
    client.shutdown(socket.SHUT_WR)
    number = bench.pump.send(server.fileno(), FileImage(file), 0, SIZE)
    got = bytearray()
    while number not in bench.ended:
        bench.run(1)
        got += drain(client)
    assert got + take(client, SIZE - len(got)) == CONTENT


@pytest.mark.parametrize("is_cold", [False, True])
def test_a_file_that_became_shorter(bench: Bench, file: Path, is_cold: bool) -> None:
    """It fails with what went out before."""
    image = FileImage(file)
    os.truncate(file, 5000)
    if is_cold:
        make_cold(file)
    client, server = bench.join()
    number = bench.pump.send(server.fileno(), image, 0, SIZE)
    ended = bench.until_ended(number)
    assert (ended.reason, ended.errno) == ("failed", EIO)
    assert ended.size == len(take(client, ended.size)) <= 5000


def test_stopped(bench: Bench, huge: FileImage) -> None:
    """Nothing is sent after `stop`, and the end is told once; a second call is nothing."""
    client, server = bench.join()
    number = bench.pump.send(server.fileno(), huge, 0, huge.size)
    bench.run(100)
    bench.pump.stop(number)
    bench.pump.stop(number)
    size = bench.pump.progress()[number]
    assert bench.until_ended(number) == Ended(number, size, "stopped", 0)
    bench.pump.stop(number)
    assert bench.pump.progress() == {}
    server.shutdown(socket.SHUT_WR)
    assert len(take(client, huge.size)) == size


@pytest.mark.parametrize("batches", [0, 1, 2])
def test_stopped_while_a_disk_is_cold(bench: Bench, huge: FileImage, batches: int) -> None:
    """Before its first turn, and with the workers at it."""
    make_cold(Path(huge.path))
    _, server = bench.join()
    number = bench.pump.send(server.fileno(), huge, 0, huge.size)
    for _ in range(batches):
        bench.run(1)
    bench.pump.stop(number)
    assert bench.until_ended(number).reason == "stopped"


def test_closed_with_bodies_under_way(huge: FileImage, file: Path) -> None:
    """In line, parked, with the workers, stopped: each is told of once."""
    bench = Bench()
    make_cold(file)
    numbers = []
    for image in (huge, FileImage(file), huge, FileImage(file)):
        numbers.append(bench.pump.send(bench.join()[1].fileno(), image, 0, image.size))
        bench.run(1)
    numbers.append(bench.pump.send(bench.join()[1].fileno(), huge, 0, huge.size))
    bench.pump.stop(numbers[0])
    told = {event.number: event.reason for event in bench.pump.close()}
    told |= {number: event.reason for number, event in bench.ended.items()}
    assert sorted(told) == numbers
    assert bench.pump.close() == []
    bench.close()


def test_forgotten_with_bodies_under_way(huge: FileImage) -> None:
    """A pump nobody closed ends with its last reference."""
    bench = Bench()
    bench.pump.send(bench.join()[1].fileno(), huge, 0, huge.size)
    bench.run()
    del bench.pump
    bench.workers.close()
    for end in bench.sockets:
        end.close()


def test_in_a_thread_of_its_own(huge: FileImage, file: Path) -> None:
    """Callers come in between batches."""
    bench = Bench()
    bench.pump.start()
    number = bench.pump.send(bench.join()[1].fileno(), huge, 0, huge.size)
    clients = [bench.join() for _ in range(8)]
    wanted = {bench.pump.send(server.fileno(), FileImage(file), 0, SIZE): client for client, server in clients}
    got = dict.fromkeys(wanted, b"")
    deadline = time.monotonic() + PATIENCE
    while not bench.ended.keys() >= wanted.keys():
        assert time.monotonic() < deadline
        bench.ended |= {event.number: event for event in bench.pump.events()}
        for body, client in wanted.items():
            got[body] += drain(client)
    assert all(got[body] + take(client, SIZE - len(got[body])) == CONTENT for body, client in wanted.items())
    assert [event.number for event in bench.pump.close()] == [number]
    bench.close()


@pytest.mark.parametrize(("offset", "length"), [(0, 0), (0, SIZE + 1), (SIZE, 1), (SIZE + 1, 0), (1, 2**64 - 1)])
def test_ranges_that_are_none(bench: Bench, offset: int, length: int) -> None:
    """Nothing is begun."""
    with pytest.raises(ValueError, match="no part"):
        bench.pump.send(bench.join()[1].fileno(), BytesImage(CONTENT), offset, length)


def test_sockets_that_are_none(bench: Bench) -> None:
    """One that blocks would hold up everybody; one that is closed is told as the system does."""
    _, server = bench.join()
    server.setblocking(True)
    with pytest.raises(ValueError, match="blocks"):
        bench.pump.send(server.fileno(), BytesImage(CONTENT), 0, 1)
    gone = server.fileno()
    server.close()
    with pytest.raises(OSError, match="Bad file") as caught:
        bench.pump.send(gone, BytesImage(CONTENT), 0, 1)
    assert caught.value.errno == EBADF


@pytest.mark.parametrize("stall", [0.0, -1.0, float("nan"), 1e12])
def test_patience_that_is_none(stall: float) -> None:
    """Refused."""
    workers = Workers()
    with pytest.raises(ValueError, match="nobody"):
        HttpPump(workers=workers, stall=stall)
    workers.close()


def test_closed(bench: Bench) -> None:
    """Nothing more is taken."""
    bench.pump.close()
    with pytest.raises(ValueError, match="closed"):
        bench.pump.send(0, BytesImage(CONTENT), 0, 1)
    with pytest.raises(ValueError, match="closed"):
        bench.pump.stop(1)
    with pytest.raises(ValueError, match="closed"):
        bench.pump.progress()
