"""Clients that do whatever dice say, at a pump in its own thread; a good one among them is served all the while."""

import os
import random
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from protocols.http.pump import HttpPump
from protocols.http.pumped import Ended
from storage.image import BytesImage, FileImage, Image, PaddedImage
from storage.workers import Workers
from tests.ready import is_readable

STEPS = 2000
CROWD = 48  # clients at once
KIB = 1 << 10
SIZE = 2048 * KIB
CONTENT = random.Random(6).randbytes(SIZE)
PADDED = CONTENT[: SIZE - 77] + bytes(77)
PATIENCE = 30.0  # seconds; only a hang reaches it
STALL = 0.2  # seconds; some of those who read slowly will reach it
NO_LINGERING = struct.pack("ii", 1, 0)  # a close is a reset


@dataclass(slots=True)
class Client:
    """One end of a connection, what it is to get, and what it got."""

    sock: socket.socket
    number: int
    expected: bytes
    is_steady: bool  # what sendfile queued of a file that is then cut off may arrive as zeros
    got: bytearray = field(default_factory=bytearray)

    def read(self, most: int) -> None:
        """Some of what has come; it must be the body's next bytes."""
        with suppress(OSError):
            self.got += self.sock.recv(most)
        assert self.expected.startswith(self.got) or not self.is_steady


class Soak:
    """A pump, whoever is connected, and the dice."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.dice = random.Random(seed)
        self.workers = Workers()
        self.pump = HttpPump(workers=self.workers, stall=STALL)
        self.pump.start()
        self.sizes: dict[int, int] = {}  # of every body that began
        self.ended: dict[int, Ended] = {}
        self.clients: list[Client] = []
        self.paths = [folder / name for name in ("warm", "cold", "shrinking")]
        for path in self.paths:
            path.write_bytes(CONTENT)
        warm, cold, shrinking = map(FileImage, self.paths)
        self.images: list[Image] = [
            BytesImage(CONTENT),
            PaddedImage(BytesImage(CONTENT[: SIZE - 77]), multiple=512),
            warm,
            cold,
            PaddedImage(cold, multiple=4096),
            shrinking,
        ]

    def join(self, image: Image, offset: int, length: int) -> Client:
        """Somebody who is to get a range; the server's end is closed at once, for the pump has its own."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            sock = socket.create_connection(listener.getsockname())
            server, _ = listener.accept()
        with server:
            server.setblocking(False)
            number = self.pump.send(server.fileno(), image, offset, length)
        sock.setblocking(False)
        self.sizes[number] = length
        content = PADDED if image is self.images[1] else CONTENT
        return Client(sock, number, content[offset : offset + length], image is not self.images[-1])

    def hear(self, events: list[Ended]) -> None:
        """What the pump tells: every end once."""
        for event in events:
            assert event.number not in self.ended
            assert event.size <= self.sizes[event.number]
            assert (event.size == self.sizes[event.number]) or event.reason != "sent"
            self.ended[event.number] = event

    def watch(self) -> None:
        """One body for somebody who takes it in at once."""
        offset = self.dice.randrange(SIZE - 100 * KIB)
        good = self.join(self.images[2], offset, self.dice.randrange(1, 100 * KIB))
        while len(good.got) < len(good.expected):
            assert is_readable(good.sock, PATIENCE), f"stuck after {len(good.got)} bytes"
            good.read(SIZE)
        good.sock.close()

    def any_client(self) -> Client:
        """One of the crowd."""
        return self.dice.choice(self.clients)

    # What may happen

    def come(self) -> None:
        """Somebody new."""
        image = self.dice.choice(self.images)
        offset = self.dice.choice([0, 1, 4095, SIZE - 1, self.dice.randrange(SIZE)])
        longest = SIZE - offset
        length = self.dice.choice([1, min(longest, 4096), longest, self.dice.randrange(longest) + 1])
        self.clients.append(self.join(image, offset, length))

    def read(self) -> None:
        """A byte, or as much as there is."""
        self.any_client().read(self.dice.choice([1, 1000, SIZE, SIZE]))

    def talk(self) -> None:
        """Bytes that nobody waits for, or the end of them."""
        client = self.any_client()
        with suppress(OSError):
            client.sock.send(self.dice.randbytes(self.dice.randrange(1, 3000)))
            if self.dice.random() < 0.3:
                client.sock.shutdown(socket.SHUT_WR)

    def stop(self) -> None:
        """By Python: bodies under way, over, or never begun."""
        self.pump.stop(self.dice.choice([self.any_client().number, self.dice.randrange(2 * len(self.sizes))]))

    def leave(self) -> None:
        """By a reset half the time."""
        client = self.any_client()
        self.clients.remove(client)
        if self.dice.random() < 0.5:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGERING)
        client.sock.close()

    def forget_pages(self) -> None:
        """The next bytes of a file wait for the disk."""
        with self.dice.choice(self.paths[1:]).open("rb") as file:
            os.fdatasync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def shrink(self) -> None:
        """A file becomes shorter under its readers."""
        os.truncate(self.paths[2], self.dice.choice([0, 5000, SIZE // 2]))
        with self.paths[2].open("r+b") as file:
            file.write(CONTENT[: self.dice.choice([0, SIZE])])

    def look(self) -> None:
        """Python asks how far everybody is."""
        for number, size in self.pump.progress().items():
            assert 0 <= size <= self.sizes[number]

    def step(self) -> None:
        """One of these."""
        if not self.clients:
            return self.come()
        often: list[Callable[[], None]] = [self.read, self.read, self.leave]
        seldom = [self.talk, self.stop, self.forget_pages, self.shrink, self.look]
        newcomers = [self.come] * 8 if len(self.clients) < CROWD else []
        return self.dice.choice(often * 3 + seldom + newcomers)()

    def close(self) -> None:
        """The pump first, whatever is under way."""
        self.hear(self.pump.close())
        self.workers.close()
        for client in self.clients:
            client.sock.close()


@pytest.fixture(params=range(3))
def soak(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Soak]:
    """A pump after all those steps; every tenth a good client comes, and Python listens."""
    made = Soak(request.param, tmp_path)
    try:
        for number in range(STEPS):
            made.step()
            if number % 10 == 0:
                made.watch()
                made.hear(made.pump.events())
        yield made
    finally:
        made.close()


def test_every_body_ends_once(soak: Soak) -> None:
    """When all have left, all are told of."""
    while soak.clients:
        soak.leave()
    while soak.ended.keys() != soak.sizes.keys():
        assert is_readable(soak.pump.fileno(), PATIENCE), "nobody ends"
        soak.hear(soak.pump.events())
    assert soak.pump.progress() == {}
    soak.watch()


def test_closing_in_the_middle_of_it(soak: Soak) -> None:
    """Likewise, by the pump."""
    soak.hear(soak.pump.close())
    assert soak.ended.keys() == soak.sizes.keys()
