"""Machines that do whatever dice say, at a pump in its own thread; a good one among them is served all the while."""

import os
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from protocols.aoe import wire
from protocols.aoe.limits import AoeLimits
from protocols.aoe.pump import AoePump
from protocols.aoe.wire import AtaArgument, AtaFlag, Flag, Header
from protocols.ethernet import packet_socket, parse_mac
from storage.image import BytesImage, FileImage, Image
from storage.workers import Workers
from tests.protocols.network import cable, fresh_network, ip
from tests.ready import is_readable

pytestmark = pytest.mark.root
STEPS = 2000
OURS = "02:00:00:00:00:99"
GOOD = "02:00:00:00:00:01"  # nobody else sends from it
QUIET_SLOT = 200  # of the good machine's target
SECTORS = 1024
CONTENT = random.Random(6).randbytes(512 * SECTORS)
MACS = [f"02:00:00:00:01:{number:02x}" for number in range(40)]
PATIENCE = 30.0  # seconds; only a hang reaches it
AGAIN = 1.0  # seconds; a frame that found the ring full is sent again, as any initiator does
READ, WRITE, FLUSH, IDENTIFY = 0x24, 0x34, 0xEA, 0xEC


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    """A namespace with one cable."""
    with fresh_network():
        cable("near", "far")
        ip("link", "set", "near", "address", OURS)
        yield


class Soak:
    """A pump on one end of the cable, all machines on the other, and the dice."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.dice = random.Random(seed)
        self.workers = Workers()
        self.pump = AoePump(AoeLimits(), workers=self.workers)
        self.far = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        self.far.bind(("far", wire.ETHERTYPE))
        self.tag = 0
        self.counts = 0
        self.paths = [folder / name for name in ("cold", "writable", "shrinking")]
        for path in self.paths:
            path.write_bytes(CONTENT)
        cold, writable, shrinking = self.paths
        self.images: list[Image] = [
            BytesImage(CONTENT),
            FileImage(cold),
            FileImage(writable, writable=True),
            FileImage(shrinking, writable=True),
        ]
        self.slots: dict[int, Image] = {}
        self.pump.fit(parse_mac(OURS), 2)
        self.pump.add(0, QUIET_SLOT, self.images[0], SECTORS)
        self.listen_anew()
        self.pump.start()

    def ata(self, mac: str, slot: int, argument: AtaArgument, tag: int, data: bytes = b"") -> bytes:
        """An ATA command."""
        header = Header(parse_mac(OURS), parse_mac(mac), 1, Flag(0), 0, 0, slot, 0, tag)
        return (wire.build_header(header) + wire.build_ata(argument) + data).ljust(60, b"\0")

    def answer(self, tag: int) -> bytes | None:
        """The good machine's answer with that tag, if it comes before long."""
        while is_readable(self.far, AGAIN):
            with suppress(BlockingIOError):
                frame = self.far.recv(65536)
                if frame[:6] == parse_mac(GOOD) and frame[20:24] == tag.to_bytes(4, "big"):
                    return frame
        return None

    def watch(self) -> None:
        """One read of the good machine."""
        self.tag += 1
        lba = self.dice.randrange(SECTORS - 1)
        asked = self.ata(GOOD, QUIET_SLOT, AtaArgument(AtaFlag(0), 0, 2, READ, lba), self.tag)
        for _ in range(int(PATIENCE / AGAIN)):
            self.far.send(asked)
            if (answer := self.answer(self.tag)) is not None:
                assert answer[36:] == CONTENT[lba * 512 : lba * 512 + 1024]
                return
        pytest.fail("the good machine is not answered")

    def send(self, frame: bytes) -> None:
        """A frame, unless the cable's queue is full."""
        with suppress(BlockingIOError, OSError):
            self.far.send(frame[:1514])

    def command(self) -> bytes:
        """Of any machine, to any target, possible or not."""
        kind = self.dice.choice([READ, READ, READ, WRITE, WRITE, FLUSH, IDENTIFY, 0x20, 0x30])
        sectors = self.dice.choice([1, 1, 2, 2, 0, 3, 255])
        lba = self.dice.choice([0, self.dice.randrange(SECTORS), SECTORS - 1, SECTORS, (1 << 48) - 1])
        flags = AtaFlag(self.dice.choice([0, 0, 1, 2, 3, 0x40, 0x53]) & 0x53)
        data = self.dice.randbytes(self.dice.choice([0, 512, 1024, 1000])) if kind == WRITE else b""
        argument = AtaArgument(flags, 0, sectors, kind, lba)
        return self.ata(self.dice.choice(MACS), self.dice.randrange(1, 9), argument, self.dice.getrandbits(31), data)

    # What may happen

    def ask(self) -> None:
        """A burst of commands."""
        for _ in range(self.dice.randrange(1, 60)):
            self.send(self.command())

    def ask_wrongly(self) -> None:
        """Commands with some bytes changed, cut off, or with something behind; never as the good machine."""
        for _ in range(self.dice.randrange(1, 30)):
            wrong = bytearray(self.command())
            for _ in range(self.dice.randrange(1, 5)):
                wrong[self.dice.randrange(14, len(wrong))] = self.dice.randrange(256)
            self.send(bytes(wrong[: self.dice.choice([len(wrong), self.dice.randrange(14, len(wrong))])]))

    def make_noise(self) -> None:
        """Random bytes behind an Ethernet header."""
        start = parse_mac(OURS) + parse_mac(self.dice.choice(MACS)) + b"\x88\xa2"
        for _ in range(self.dice.randrange(1, 30)):
            self.send(start + self.dice.randbytes(self.dice.randrange(1500)))

    def read(self) -> None:
        """Take in what has come; mostly nobody does."""
        with suppress(BlockingIOError):
            while True:
                self.far.recv(65536)

    def add(self) -> None:
        """A target more."""
        slot = self.dice.randrange(1, 9)
        if slot not in self.slots:
            self.slots[slot] = self.dice.choice(self.images)
            self.pump.add(0, slot, self.slots[slot], SECTORS)

    def remove(self) -> None:
        """A target less, whatever is under way there."""
        if self.slots:
            slot = self.dice.choice(list(self.slots))
            del self.slots[slot]
            self.pump.remove(0, slot)

    def admit(self) -> None:
        """Some machines only, or all again."""
        if self.slots:
            macs = [parse_mac(mac) for mac in self.dice.sample(MACS, self.dice.randrange(10))]
            cut = self.dice.randrange(len(macs) + 1)
            self.pump.admit(0, self.dice.choice(list(self.slots)), macs[:cut], macs[cut:])

    def listen_anew(self) -> None:
        """By other sockets, frames in the ring or not."""
        self.pump.listen(packet_socket("near", wire.ETHERTYPE), packet_socket("near", 0))

    def forget_pages(self) -> None:
        """The next reads of a file wait for the disk."""
        with self.dice.choice(self.paths).open("rb") as file:
            os.fdatasync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def shrink(self) -> None:
        """A file becomes shorter under its readers, or what it was."""
        os.truncate(self.paths[2], self.dice.choice([0, 5000, len(CONTENT)]))

    def look(self) -> None:
        """Python asks for accounts and counts, and waits for somebody's next command."""
        assert len(self.pump.initiators()) <= AoeLimits().initiators
        self.counts += sum(self.pump.counts().values())
        self.pump.await_command(self.dice.choice(MACS))
        self.pump.note_query(self.dice.choice(MACS), 0, self.dice.randrange(1, 9))
        self.pump.note_identify(self.dice.choice(MACS), 0, self.dice.randrange(1, 9))

    def step(self) -> None:
        """One of these."""
        often: list[Callable[[], None]] = [self.ask, self.ask, self.ask_wrongly, self.make_noise]
        seldom = [self.read, self.add, self.remove, self.admit, self.forget_pages, self.shrink, self.look]
        self.dice.choice(often * 6 + seldom * 2 + [self.add, self.listen_anew])()

    def close(self) -> None:
        """The pump first, whatever is under way."""
        self.pump.close()
        self.workers.close()
        self.far.close()


@pytest.mark.parametrize("seed", range(3))
def test_whatever_comes_the_good_machine_is_answered(seed: int, tmp_path: Path) -> None:
    """Every tenth step it reads, and Python listens; in the end the pump closes in the middle of it."""
    soak = Soak(seed, tmp_path)
    try:
        for number in range(STEPS):
            soak.step()
            if number % 10 == 0:
                soak.watch()
                assert len(soak.pump.events()) < 1000
        soak.look()
        assert soak.counts > 0
    finally:
        soak.close()
