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

from protocols.datagram import udp_socket
from protocols.tftp.options import MAX_BLKSIZE, MAX_WINDOWSIZE, MIN_BLKSIZE, Mode, Terms
from protocols.tftp.pump import TftpPump
from protocols.tftp.pumped import Ended, PumpEvent
from storage.image import BytesImage, FileImage, Image, PaddedImage
from storage.workers import Workers
from tests.protocols.tftp.peers import ReadingClient
from tests.ready import is_readable

STEPS = 4000
CROWD = 64  # clients at once
KIB = 1 << 10
CONTENT = random.Random(6).randbytes(200 * KIB)
PATIENCE = 30.0  # seconds; only a hang reaches it
GIVE_UP_AFTER = 0.3  # seconds, three for who asks for an interval; the silent are given up while others go on


@dataclass(slots=True)
class Client:
    """A client's socket, the port and the seat of its transfer, and what it fetched; it behaves when it answers."""

    sock: socket.socket
    port: tuple[str, int]
    seat: int
    session: ReadingClient
    is_steady: bool
    answers: list[bytes] = field(default_factory=list)

    def listen(self) -> None:
        """Take what has come; it must be the file's next bytes."""
        with suppress(OSError):
            while True:
                datagram, source = self.sock.recvfrom(1 << 16)
                if source == self.port:  # else it is noise for a port that somebody had before
                    self.answers += self.session.receive(datagram)
        assert CONTENT.startswith(self.session.received) or not self.is_steady

    def send(self, datagram: bytes) -> None:
        """To the transfer's port, which may be gone."""
        with suppress(OSError):
            self.sock.sendto(datagram, self.port)


class Soak:
    """A pump, whoever fetches, and the dice."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.dice = random.Random(seed)
        self.workers = Workers()
        self.pump = TftpPump(workers=self.workers)
        self.pump.start()
        self.seats: list[int] = []
        self.ended: list[int] = []
        self.clients: list[Client] = []
        self.paths = [folder / name for name in ("warm", "cold", "shrinking")]
        for path in self.paths:
            path.write_bytes(CONTENT)
        warm, cold, shrinking = map(FileImage, self.paths)
        padded = PaddedImage(BytesImage(CONTENT), multiple=512)
        self.images: list[Image] = [BytesImage(CONTENT), warm, cold, padded, shrinking]

    def join(self, image: Image, terms: Terms, give_up_after: float) -> Client:
        """Somebody whose request was agreed to."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.bind(("127.0.0.1", 0))
        transfer = udp_socket("127.0.0.1", 0)
        port = transfer.getsockname()
        seat = self.pump.adopt(transfer, sock.getsockname(), image, terms, give_up_after)
        self.seats.append(seat)
        return Client(sock, port, seat, ReadingClient(terms), image is not self.images[-1])

    def hear(self, events: list[PumpEvent]) -> None:
        """What the pump tells."""
        self.ended += [event.seat for event in events if isinstance(event, Ended)]

    def watch(self) -> None:
        """A whole file for somebody who takes it in at once."""
        terms = Terms(Mode.OCTET, 1428, 16, 255, (("blksize", "1428"),))
        good = self.join(self.images[1], terms, PATIENCE)
        while not good.session.is_done:
            assert is_readable(good.sock, PATIENCE), f"stuck after {len(good.session.received)} bytes"
            good.listen()
            while good.answers:
                good.send(good.answers.pop())
        assert good.session.received == CONTENT
        good.sock.close()

    def any_client(self) -> Client:
        """One of the crowd."""
        return self.dice.choice(self.clients)

    # What may happen

    def come(self) -> None:
        """Somebody new, with any terms that there are."""
        blksize = self.dice.choice([MIN_BLKSIZE, 512, 1428, MAX_BLKSIZE, self.dice.randrange(8, 3000)])
        windowsize = self.dice.choice([1, 1, 4, 16, MAX_WINDOWSIZE])
        answer = (("blksize", str(blksize)),) if self.dice.random() < 0.7 else ()
        terms = Terms(Mode.OCTET, blksize, windowsize, self.dice.choice([None, 1]), answer)
        self.clients.append(self.join(self.dice.choice(self.images), terms, GIVE_UP_AFTER))

    def fetch(self) -> None:
        """As a client should, for a few windows."""
        client = self.any_client()
        for _ in range(self.dice.randrange(1, 20)):
            client.listen()
            while client.answers:
                client.send(client.answers.pop(0))

    def acknowledge(self) -> None:
        """Any block: late, early, again."""
        client = self.any_client()
        near = client.session.blocks + self.dice.randrange(-3, 70)
        block = self.dice.choice([near, near, 0, 65535, self.dice.getrandbits(16)]) & 65535
        client.send(struct.pack(">HH", 4, block))

    def make_noise(self) -> None:
        """Random bytes behind any opcode or none; half the time from a stranger's port."""
        opcode = self.dice.choice([b"", b"\0\1", b"\0\2", b"\0\3", b"\0\4", b"\0\5", b"\0\6"])
        noise = opcode + self.dice.randbytes(self.dice.choice([0, 1, 2, 3, self.dice.randrange(1500)]))
        client = self.any_client()
        if self.dice.random() < 0.5:
            return client.send(noise)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(noise, client.port)
        return None

    def leave(self) -> None:
        """By a word, or by an ICMP message for whatever comes next."""
        client = self.any_client()
        self.clients.remove(client)
        if self.dice.random() < 0.3:
            client.send(b"\0\5\0\0bye\0")
        client.sock.close()

    def begin_anew(self) -> None:
        """The request came again: from somebody here, gone, or never seen."""
        seat = self.dice.choice([self.any_client().seat, self.dice.choice(self.seats), 1 << 40])
        if self.dice.random() < 0.5:
            self.pump.repeat(seat)
        elif (end := self.pump.abandon(seat)) is not None:
            self.hear([end])

    def forget_pages(self) -> None:
        """The next bytes of a file wait for the disk."""
        with self.dice.choice(self.paths[1:]).open("rb") as file:
            os.fdatasync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def shrink(self) -> None:
        """A file becomes shorter under its readers, or what it was."""
        os.truncate(self.paths[2], self.dice.choice([0, 5000, len(CONTENT)]))

    def look(self) -> None:
        """Python asks how far everybody is."""
        for size in self.pump.sizes().values():
            assert 0 <= size <= len(CONTENT) + 512

    def step(self) -> None:
        """One of these."""
        if not self.clients:
            return self.come()
        often: list[Callable[[], None]] = [self.fetch, self.fetch, self.acknowledge, self.make_noise]
        seldom = [self.leave, self.leave, self.begin_anew, self.forget_pages, self.shrink, self.look]
        newcomers = [self.come] * 4 if len(self.clients) < CROWD else []
        return self.dice.choice(often * 3 + seldom + newcomers)()

    def close(self) -> None:
        """The pump first, whatever is under way."""
        self.hear(self.pump.close())
        self.workers.close()
        for client in self.clients:
            client.sock.close()


@pytest.fixture(params=range(3))
def soak(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Soak]:
    """A pump after all those steps; every twentieth a good client fetches, and Python listens."""
    made = Soak(request.param, tmp_path)
    try:
        for number in range(STEPS):
            made.step()
            if number % 20 == 0:
                made.watch()
                made.hear(made.pump.events())
        yield made
    finally:
        made.close()


def test_every_transfer_ends_once(soak: Soak) -> None:
    """By what its client did, by its silence, or because Python gives it up; all are told of."""
    for seat in soak.seats:
        if (end := soak.pump.abandon(seat)) is not None:
            soak.hear([end])
    soak.hear(soak.pump.events())
    assert sorted(soak.ended) == soak.seats
    assert soak.pump.sizes() == {}
    soak.watch()


def test_closing_in_the_middle_of_it(soak: Soak) -> None:
    """Likewise, by the pump."""
    soak.hear(soak.pump.close())
    assert sorted(soak.ended) == soak.seats
