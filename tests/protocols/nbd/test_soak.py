"""Clients that do whatever dice say, at a pump in its own thread; a good one among them is served all the while."""

import os
import random
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from protocols.nbd.handshake import Agreement, flags_of
from protocols.nbd.limits import NbdLimits
from protocols.nbd.pump import NbdPump
from protocols.nbd.pumped import Closed, PumpEvent, StatusAsked
from storage.image import BytesImage, FileImage, Image, PaddedImage
from storage.workers import Workers
from tests.protocols.nbd import peer
from tests.ready import is_readable

STEPS = 4000
CROWD = 48  # clients at once
KIB = 1 << 10
SIZE = 2048 * KIB
CONTENT = random.Random(6).randbytes(SIZE // 2) + bytes(SIZE // 2)
PATIENCE = 30.0  # seconds; only a hang reaches it
NO_LINGERING = struct.pack("ii", 1, 0)  # a close is a reset


class Soak:
    """A pump, whoever is connected, and the dice."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.dice = random.Random(seed)
        self.workers = Workers()
        self.pump = NbdPump(NbdLimits(), workers=self.workers)
        self.pump.start()
        self.seats: list[int] = []
        self.closed: list[int] = []
        self.clients: list[socket.socket] = []
        self.paths = [folder / name for name in ("warm", "cold", "writable", "shrinking")]
        for path in self.paths:
            path.write_bytes(CONTENT)
        warm, cold, writable, shrinking = self.paths
        self.images: list[Image] = [
            BytesImage(CONTENT),
            PaddedImage(BytesImage(CONTENT[:-77]), multiple=4096),
            FileImage(warm),
            FileImage(cold),
            FileImage(writable, writable=True),
            FileImage(shrinking),
        ]
        self.witness = self.join(self.images[0])

    def join(
        self, image: Image, *, structured: bool = False, minimum_block: int = 1, first: bytes = b""
    ) -> socket.socket:
        """A client whose handshake is over."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            server, _ = listener.accept()
        client.setblocking(False)
        server.setblocking(False)
        flags = flags_of(writable=image.writable, structured=structured)
        agreement = Agreement("root", image.size, flags, structured, structured, minimum_block)
        self.seats.append(self.pump.adopt(server, image, agreement, first))
        return client

    def hear(self, events: list[PumpEvent]) -> None:
        """What the pump tells, each end once, and an error for who asks for extents."""
        for event in events:
            if isinstance(event, Closed):
                self.closed.append(event.seat)
            elif isinstance(event, StatusAsked):
                self.pump.answer(event.seat, struct.pack(">IIQ", 0x67446698, 22, event.cookie))

    def watch(self) -> None:
        """One read of the good client."""
        at = self.dice.randrange(SIZE - 4096)
        self.witness.send(peer.request(0, cookie=at, offset=at, length=4096))
        got = bytearray()
        while len(got) < 16 + 4096:
            assert is_readable(self.witness, PATIENCE), f"stuck after {len(got)} bytes"
            got += self.witness.recv(16 + 4096 - len(got))
        assert got == struct.pack(">IIQ", 0x67446698, 0, at) + CONTENT[at : at + 4096]

    def request(self) -> bytes:
        """Of any kind and size, possible or not; of a write sometimes only some data."""
        kind = self.dice.choice([0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 9])
        length = self.dice.choice(
            [0, 1, 512, 4096, 4096, self.dice.randrange(100 * KIB), self.dice.choice([SIZE, 1 << 31])]
        )
        offset = self.dice.choice([0, 512, SIZE - 512, SIZE, self.dice.randrange(SIZE), (1 << 64) - 1])
        data = self.dice.randbytes(min(length, self.dice.randrange(100 * KIB))) if kind == 1 else b""
        return peer.request(
            kind,
            cookie=self.dice.getrandbits(64),
            offset=offset,
            length=length,
            flags=self.dice.choice([0, 0, 1, 2, 4, 0xFFFF]),
            data=data,
        )

    def any_client(self) -> socket.socket:
        """One of the crowd."""
        return self.dice.choice(self.clients)

    def send(self, data: bytes) -> None:
        """As much of it as somebody's socket takes, if it still does."""
        with suppress(OSError):
            self.any_client().send(data)

    # What may happen

    def come(self) -> None:
        """Somebody new, with or without bytes sent ahead."""
        first = self.request()[: self.dice.randrange(200)] if self.dice.random() < 0.3 else b""
        image, structured, minimum_block = (
            self.dice.choice(self.images),
            self.dice.random() < 0.5,
            self.dice.choice([1, 512]),
        )
        self.clients.append(self.join(image, structured=structured, minimum_block=minimum_block, first=first))

    def ask(self) -> None:
        """Some requests at once."""
        self.send(b"".join(self.request() for _ in range(self.dice.randrange(1, 12))))

    def ask_in_part(self) -> None:
        """A request's beginning."""
        self.send(self.request()[: self.dice.randrange(1, 28)])

    def ask_wrongly(self) -> None:
        """A request with some of its bytes changed."""
        wrong = bytearray(self.request()[:28])
        for _ in range(self.dice.randrange(1, 5)):
            wrong[self.dice.randrange(4, 28)] = self.dice.randrange(256)
        self.send(bytes(wrong))

    def make_noise(self) -> None:
        """Random bytes."""
        self.send(self.dice.randbytes(self.dice.randrange(1, 3000)))

    def read(self) -> None:
        """A byte, or as much as there is."""
        with suppress(OSError):
            self.any_client().recv(self.dice.choice([1, 1000, 1 << 20]))

    def say_no_more(self) -> None:
        """A half of the connection closes."""
        with suppress(OSError):
            self.any_client().shutdown(self.dice.choice([socket.SHUT_WR, socket.SHUT_RD]))

    def leave(self) -> None:
        """By a reset half the time."""
        client = self.any_client()
        self.clients.remove(client)
        if self.dice.random() < 0.5:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGERING)
        client.close()

    def forget_pages(self) -> None:
        """The next reads of a file wait for the disk."""
        with self.dice.choice(self.paths).open("rb") as file:
            os.fdatasync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def shrink(self) -> None:
        """A file becomes shorter under its readers, or what it was."""
        os.truncate(self.paths[3], self.dice.choice([0, 5000, SIZE]))

    def look(self) -> None:
        """Python asks for the sums, and answers those who are gone or never were there."""
        assert self.seats[0] in self.pump.connections()
        for seat in (*self.closed[-3:], 1 << 40):
            self.pump.answer(seat, b"late")

    def step(self) -> None:
        """One of these."""
        if not self.clients:
            return self.come()
        often: list[Callable[[], None]] = [self.ask, self.read, self.ask_wrongly]
        seldom = [self.ask_in_part, self.make_noise, self.say_no_more, self.leave, self.leave]
        rare = [self.forget_pages, self.shrink, self.look]
        newcomers = [self.come] * 4 if len(self.clients) < CROWD else []
        return self.dice.choice(often * 3 + seldom + rare + newcomers)()

    def close(self) -> None:
        """The pump first, whatever is under way."""
        self.hear(self.pump.close())
        self.workers.close()
        for client in (self.witness, *self.clients):
            client.close()


@pytest.fixture(params=range(3))
def soak(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Soak]:
    """A pump after all those steps; every tenth the good client reads, and Python listens."""
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


def test_every_client_ends_once(soak: Soak) -> None:
    """When all have left, all are told of, and the good one is still served."""
    while soak.clients:
        soak.leave()
    while len(soak.closed) < len(soak.seats) - 1:
        assert is_readable(soak.pump.fileno(), PATIENCE), "nobody ends"
        soak.hear(soak.pump.events())
    assert sorted(soak.closed) == soak.seats[1:]
    soak.watch()
    assert list(soak.pump.connections()) == soak.seats[:1]


def test_closing_in_the_middle_of_it(soak: Soak) -> None:
    """Likewise, by the pump."""
    soak.hear(soak.pump.close())
    assert sorted(soak.closed) == soak.seats
