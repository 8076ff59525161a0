"""The native pump by itself, without asyncio: against its twin, against random bytes, cold, crowded and closing."""

import fcntl
import os
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from errno import EIO
from pathlib import Path

import pytest

from protocols.aoe import wire
from protocols.aoe.limits import AoeLimits
from protocols.aoe.pump import AoePump
from protocols.aoe.pumped import CommandBegan, FrameCame, ImageFailed, PumpEvent
from protocols.aoe.target import Flush, Outcome, Read, Reply, TargetSession, Write, completed
from protocols.aoe.wire import AtaArgument, Header
from protocols.errors import SessionError, WireError
from protocols.ethernet import format_mac, is_station, packet_socket, parse_mac
from storage.image import BytesImage, FileImage, Image, PaddedImage
from storage.trace import Trace
from storage.workers import Workers
from tests.protocols.aoe.lan import CLIENT, CONTENT, OTHER
from tests.protocols.network import cable, fresh_network, ip
from tests.ready import is_readable
from tests.storage.gate import gated_file

pytestmark = pytest.mark.root
OURS = "02:00:00:00:00:99"
SECTORS = len(CONTENT) // 512
PATIENCE = 20.0  # seconds; only a hang reaches it
READ, WRITE, FLUSH, IDENTIFY = 0x24, 0x34, 0xEA, 0xEC


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    """A namespace with one cable."""
    with fresh_network():
        cable("near", "far")
        yield


def frame(
    command: int, lba: int = 0, sectors: int = 1, data: bytes = b"", *, mac: str = CLIENT, tag: int = 7, slot: int = 1
) -> bytes:
    """An ATA command to e0.<slot>."""
    header = Header(parse_mac(OURS), parse_mac(mac), 1, 0, 0, 0, slot, 0, tag)
    return (wire.build_header(header) + wire.build_ata(AtaArgument(0, 0, sectors, command, lba)) + data).ljust(
        60, b"\0"
    )


def query(mac: str = CLIENT) -> bytes:
    """A configuration query to e0.1."""
    header = Header(parse_mac(OURS), parse_mac(mac), 1, 0, 0, 0, 1, 1, 7)
    return (wire.build_header(header) + wire.build_config(wire.ConfigArgument(0, 0, 0, 1, 0, b""))).ljust(60, b"\0")


class Bench:
    """A pump on `near` that runs when told, what it told, and the far end of its cable."""

    def __init__(self, limits: AoeLimits | None = None) -> None:
        self.workers = Workers()
        self.pump = AoePump(limits or AoeLimits(), workers=self.workers)
        self.events: list[PumpEvent] = []
        self.far = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        self.far.bind(("far", wire.ETHERTYPE))
        self.pump.fit(parse_mac(OURS), 2)
        ip("link", "set", "near", "address", OURS)
        self.listen("near")

    def listen(self, interface: str) -> None:
        """Serve on an interface."""
        self.pump.listen(packet_socket(interface, wire.ETHERTYPE), packet_socket(interface, 0))

    def add(self, image: Image, slot: int = 1) -> None:
        """A target e0.<slot>."""
        self.pump.add(0, slot, image, image.size // 512)

    def run(self) -> None:
        """One batch, if there is anything to do at once."""
        self.events += self.pump.run(0)

    def replies(self, count: int) -> list[bytes]:
        """So many frames from the pump, which runs until they came."""
        got: list[bytes] = []
        while len(got) < count:
            self.run()
            if is_readable(self.far, 0):
                got.append(self.far.recv(65536))
            else:
                self.events += self.pump.run(round(1000 * PATIENCE))
        return got

    def ask(self, *frames: bytes) -> list[bytes]:
        """Send frames, each of which is answered; the answers."""
        for sent in frames:
            self.far.send(sent)
        return self.replies(len(frames))

    def is_silent(self) -> bool:
        """Whether the pump, having done what there is, said nothing."""
        self.run()
        with suppress(BlockingIOError):
            self.far.recv(65536)
            return False
        return True

    def close(self) -> None:
        """The pump, the threads, the socket."""
        self.events += self.pump.close()
        self.workers.close()
        self.far.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    """An open pump, closed in the end."""
    made = Bench()
    yield made
    made.close()


def data_of(reply: bytes) -> bytes:
    """What a good answer to a read of one sector brings."""
    assert (reply[14], reply[25:28]) == (0x18, b"\0\0\x40")
    return reply[36:548]


# Against the twin


class Model:
    """What target.py says of a frame, as bytes: the answer, or None where it is Python's to give."""

    def __init__(self, images: dict[int, bytearray], sessions: dict[int, TargetSession]) -> None:
        self.images, self.sessions = images, sessions

    def answer(self, sent: bytes) -> bytes | None:
        """The reply, which a write changes an image before."""
        try:
            header = wire.parse_header(sent)
            command = wire.parse_ata(sent[24:]).command
        except WireError:
            return None
        session = self.sessions.get(header.slot) if header.shelf == 0 else None
        is_request = not header.flags & 8 and is_station(header.source) and header.version == 1
        if session is None or not is_request or header.command or command == IDENTIFY:
            return None
        mac = format_mac(header.source)
        if not session.admits(mac):
            return None
        try:
            outcome = session.answer(mac, header, sent[24:])
        except SessionError as refusal:
            return self.build(header, 12, refusal.reply_code, [sent[24:36]])
        return self.build(header, 8, 0, self.carry_out(header.slot, outcome))

    def carry_out(self, slot: int, outcome: Outcome) -> list[bytes]:
        """The parts of a reply."""
        image = self.images[slot]
        reply = outcome
        if isinstance(outcome, Read):
            reply = completed(outcome.ata, bytes(image[outcome.offset : outcome.offset + outcome.length]))
        elif isinstance(outcome, Write):
            image[outcome.offset : outcome.offset + len(outcome.data)] = outcome.data
            reply = completed(outcome.ata)
        elif isinstance(outcome, Flush):
            reply = completed(outcome.ata)
        assert isinstance(reply, Reply)
        return [bytes(part) for part in reply.parts]

    def build(self, header: Header, flags: int, error: int, parts: list[bytes]) -> bytes:
        """The whole frame."""
        answer = Header(header.source, parse_mac(OURS), 1, flags, error, 0, header.slot, 0, header.tag)
        return (wire.build_header(answer) + b"".join(parts)).ljust(60, b"\0")


def random_frame(dice: random.Random, tag: int) -> bytes:
    """Mostly good; sometimes out of range, cut short, of another command, version, kind or sender."""
    command = dice.choice([0x20, READ, READ, READ, 0x30, WRITE, WRITE, 0xE7, FLUSH, IDENTIFY, 0xB0])
    lba = dice.choice([0, dice.randrange(SECTORS), SECTORS - 1, SECTORS, 1 << 47, 0xE0000000 | dice.randrange(SECTORS)])
    sectors = dice.choice([0, 1, 2, 2, 3, 255])
    mac = dice.choice([CLIENT, CLIENT, OTHER, "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"])
    data = dice.randbytes(min(sectors, 2) * 512 - dice.choice([0, 0, 0, 1])) if sectors and command & 0x10 else b""
    made = bytearray(frame(command, lba, sectors, data, mac=mac, tag=tag, slot=dice.choice([1, 1, 2, 3, 9, 255])))
    made[24], made[25], made[34] = dice.randrange(256), dice.randrange(256), dice.randrange(256)
    if dice.randrange(8) == 0:
        at = dice.choice([12, 13, 14, 14, 14, 15, 16, 17, 18, 19])
        made[at] = dice.randrange(256)
    return bytes(made[: dice.randrange(14, len(made))]) if dice.randrange(12) == 0 else bytes(made)


@pytest.mark.parametrize("seed", range(4))
def test_answers_are_those_of_the_twin(bench: Bench, tmp_path: Path, seed: int) -> None:
    """A thousand frames, one by one: each gets the twin's answer, or reaches Python as it came."""
    dice = random.Random(seed)
    for name in ("disk", "other"):
        (tmp_path / name).write_bytes(CONTENT)
    facts = {"label": "x", "buffers": 16, "mtu": 1500, "sectors": SECTORS}
    sessions = {slot: TargetSession(0, slot, writable=slot == 1, **facts) for slot in (1, 2, 3)}  # type: ignore[arg-type]
    model = Model({slot: bytearray(CONTENT) for slot in sessions}, sessions)
    bench.add(FileImage(tmp_path / "disk", writable=True), 1)
    bench.add(FileImage(tmp_path / "other"), 2)
    bench.add(BytesImage(CONTENT), 3)
    mask = wire.build_mask(wire.MaskArgument(1, 0, [wire.Directive(1, parse_mac(OTHER))]))
    reserve = wire.build_reserve(wire.ReserveArgument(1, [parse_mac(OTHER)]))
    sessions[2].answer(CLIENT, Header(b"", b"", 1, 0, 0, 0, 2, 3, 0), reserve)
    sessions[3].answer(CLIENT, Header(b"", b"", 1, 0, 0, 0, 3, 2, 0), mask)
    bench.pump.admit(0, 2, [], [parse_mac(OTHER)])
    bench.pump.admit(0, 3, [parse_mac(OTHER)], [])
    for tag in range(1000):
        sent = random_frame(dice, tag)
        bench.events.clear()
        expected = model.answer(sent)
        if expected is not None:
            assert bench.ask(sent) == [expected], sent
        elif sent[12:14] == b"\x88\xa2":
            bench.far.send(sent)
            bench.events += bench.pump.run(round(1000 * PATIENCE))
            assert [event.frame for event in bench.events if isinstance(event, FrameCame)] == [sent]
    assert (tmp_path / "disk").read_bytes() == bytes(model.images[1])


def test_random_bytes_change_nothing_for_others(bench: Bench) -> None:
    """Twenty thousand frames of noise, most with a plausible start, of any length; one machine reads on meanwhile."""
    dice = random.Random(4)
    bench.add(BytesImage(CONTENT))
    for number in range(20_000):
        start = parse_mac(OURS) + bytes([2]) + dice.randbytes(5) + b"\x88\xa2"
        if number % 4:
            start += bytes([0x10, 0, 0, 0, 1, dice.choice([0, 0, 0, dice.randrange(256)])]) + dice.randbytes(4)
        if number % 4 == 3:
            start += bytes([dice.randrange(256), 0, dice.randrange(4), dice.choice([READ, WRITE, FLUSH, 0x20, 0x30])])
        bench.far.send(start + dice.randbytes(dice.randrange(1515 - len(start))))
        if number % 50 == 0:
            bench.far.send(frame(READ, 5, tag=0xC0FFEE))
            while (answer := bench.replies(1)[0])[20:24] != b"\x00\xc0\xff\xee":
                pass
            assert data_of(answer) == CONTENT[5 * 512 : 6 * 512]


# What Python hears of


def test_what_is_rare_waits_for_python_in_a_bounded_line(bench: Bench) -> None:
    """What finds no room there is counted."""
    macs = [f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}" for number in range(300)]
    for mac in macs:
        bench.far.send(query(mac))
    told = [event.frame for _ in range(5) for event in bench.pump.run(0) if isinstance(event, FrameCame)]
    assert len(set(told)) == len(told) == 256
    assert set(told) <= {query(mac) for mac in macs}
    assert bench.pump.counts() == {"dropped_rare": 300 - 256}
    assert bench.pump.counts() == {}


def test_one_machine_has_its_part_of_what_waits_for_python(bench: Bench) -> None:
    """One that floods leaves room for the others."""
    for _ in range(100):
        bench.far.send(query())
    for number in range(16):
        bench.far.send(query(f"02:00:00:00:00:{number:02x}"))
    told = [event.frame for _ in range(5) for event in bench.pump.run(0) if isinstance(event, FrameCame)]
    assert told.count(query()) == 32
    assert len(told) == 32 + 16
    assert bench.pump.counts() == {"dropped_rare": 100 - 32}


def test_machines_take_turns(bench: Bench) -> None:
    """Who asks for one sector does not wait for all that another asked before."""
    others = [f"02:00:00:00:00:{number:02x}" for number in range(16)]
    bench.add(BytesImage(CONTENT))
    sent = [frame(READ, sectors=2) for _ in range(32)] + [frame(READ, mac=mac) for mac in others]
    answered = [format_mac(answer[:6]) for answer in bench.ask(*sent)]
    assert Counter(answered) == Counter({CLIENT: 32} | dict.fromkeys(others, 1))
    first = answered[: 8 + 16]
    # By chance one in 256 shares the line of the one that asks for much; not half of them.
    assert sum(mac in first for mac in others) >= 8


def test_large_frames_wait_for_python_up_to_a_megabyte(bench: Bench) -> None:
    """Of many machines, so that none floods."""
    for number in range(256):
        bench.far.send(query(f"02:00:00:00:00:{number:02x}").ljust(1514, b"x"))
        if number % 64 == 63:
            bench.run()
    assert sum(isinstance(event, FrameCame) for event in bench.events) == 256
    assert bench.pump.counts() == {}


def test_python_hears_of_a_first_command_once(bench: Bench) -> None:
    """For each target; and again after it asked to."""
    bench.add(BytesImage(CONTENT), 1)
    bench.add(BytesImage(CONTENT), 2)
    bench.ask(frame(READ), frame(READ), frame(READ, slot=2), frame(READ))
    assert bench.events == [CommandBegan(CLIENT, 0, 1), CommandBegan(CLIENT, 0, 2)]
    bench.pump.await_command(CLIENT)
    bench.events.clear()
    bench.ask(frame(READ), frame(READ))
    assert bench.events == [CommandBegan(CLIENT, 0, 1)]


def test_python_is_heard_while_frames_keep_coming(bench: Bench) -> None:
    """A thread that never runs out of requests: calls return, and what there is to tell is told."""
    bench.add(BytesImage(CONTENT))
    bench.pump.start()
    is_over = threading.Event()

    def flood() -> None:
        while not is_over.is_set():
            bench.far.send(frame(READ))

    sender = threading.Thread(target=flood)
    sender.start()
    while len(bench.events) < 10:
        assert is_readable(bench.pump.fileno(), PATIENCE)
        bench.events += bench.pump.events()
        bench.pump.await_command(CLIENT)
    is_over.set()
    sender.join()
    assert set(bench.events) == {CommandBegan(CLIENT, 0, 1)}
    assert bench.pump.initiators()[0].commands >= 10


def test_accounts_are_kept(bench: Bench) -> None:
    """Whether the command succeeds or not; a removed target takes its own along."""
    bench.add(BytesImage(CONTENT), 1)
    bench.add(BytesImage(CONTENT), 2)
    assert bench.pump.note_identify(CLIENT, 0, 1)
    assert not bench.pump.note_identify(CLIENT, 0, 1)
    bench.ask(frame(READ), frame(READ, SECTORS), frame(FLUSH), frame(0xB0), frame(READ, 0, 3), frame(READ, slot=2))
    bench.pump.note_query(OTHER, 0, 1)
    found = {(one.mac, one.slot): (one.bytes_read, one.commands) for one in bench.pump.initiators()}
    assert found == {(CLIENT, 1): (512, 6), (CLIENT, 2): (512, 1)}
    assert bench.pump.note_identify(CLIENT, 0, 1)
    bench.pump.remove(0, 1)
    assert [one.slot for one in bench.pump.initiators()] == [2]


def test_reads_are_noted_until_the_trace_is_ended_or_the_account_forgotten() -> None:
    """A machine that takes another's place in the table has none of its own."""
    bench = Bench(AoeLimits(initiators=1))
    bench.add(BytesImage(CONTENT), 1)
    bench.add(BytesImage(CONTENT), 2)
    trace, second = Trace(8), Trace(8)
    bench.pump.trace(CLIENT, 0, 1, trace)
    bench.ask(frame(READ, 4), frame(READ, SECTORS), frame(FLUSH))
    assert [run[:2] for run in trace.runs()] == [(4 * 512, 512)]
    bench.ask(frame(READ, slot=2))
    bench.ask(frame(READ))
    assert len(trace) == 1
    trace.end()
    bench.pump.trace(CLIENT, 0, 1, second)
    bench.ask(frame(READ))
    assert (len(trace), len(second)) == (0, 1)
    bench.close()


# Images that wait or fail


def test_one_machines_cold_reads_leave_the_others_alone(tmp_path: Path) -> None:
    """At its bound it is dropped; another's wait too, and a third's warm reads are answered meanwhile."""
    bench = Bench(AoeLimits(in_flight=3, in_flight_per_initiator=2))
    with gated_file(tmp_path / "cold", SECTORS * 512) as gate:
        bench.add(FileImage(gate.path), 1)
        bench.add(BytesImage(CONTENT), 2)
        for tag, mac in enumerate([CLIENT, CLIENT, CLIENT, OTHER, OURS]):
            bench.far.send(frame(READ, mac=mac, tag=tag))
        assert data_of(bench.ask(frame(READ, slot=2))[0]) == CONTENT[:512]
        assert bench.pump.counts()["dropped_in_flight"] == 2
        gate.open()
        answers = bench.replies(3)
        assert sorted(answer[23] for answer in answers) == [0, 1, 3]
        assert {data_of(answer) for answer in answers} == {bytes(512)}
        assert data_of(bench.ask(frame(READ))[0]) == bytes(512)
        bench.close()


def test_a_target_may_go_while_its_image_is_read(bench: Bench, tmp_path: Path) -> None:
    """The answer comes all the same, and its address is free."""
    with gated_file(tmp_path / "cold", SECTORS * 512) as gate:
        bench.add(FileImage(gate.path))
        bench.far.send(frame(READ))
        bench.run()
        gate.wait()
        bench.pump.remove(0, 1)
        bench.add(BytesImage(CONTENT))
        assert data_of(bench.ask(frame(READ))[0]) == CONTENT[:512]
        gate.open()
        assert data_of(bench.replies(1)[0]) == bytes(512)


def test_a_pump_may_close_while_images_are_read_and_written(tmp_path: Path) -> None:
    """Nothing is answered any more."""
    bench = Bench()
    with gated_file(tmp_path / "cold", SECTORS * 512) as gate:
        bench.add(FileImage(gate.path, writable=True))
        bench.far.send(frame(READ))
        bench.far.send(frame(WRITE, data=bytes(512)))
        bench.run()
        gate.wait()
        gate.open()
        bench.close()
    with pytest.raises(ValueError, match="closed"):
        bench.pump.initiators()


def test_a_write_that_is_sent_again_is_done_once(bench: Bench, tmp_path: Path) -> None:
    """A thread that came late with the second would put back what is old; the answer is under the newest tag."""
    with gated_file(tmp_path / "cold", SECTORS * 512) as gate:
        bench.add(FileImage(gate.path, writable=True))
        for tag in (1, 2, 3):
            bench.far.send(frame(WRITE, 4, 2, bytes(1024), tag=tag))
            bench.run()
        assert bench.pump.counts() == {"repeated": 2}
        gate.open()
        [answer] = bench.replies(1)
        assert (answer[23], answer[25:28]) == (3, b"\0\0\x40")
        assert bench.is_silent()
        [again] = bench.ask(frame(WRITE, 4, 2, bytes(1024), tag=4))
        assert (again[23], again[25:28]) == (4, b"\0\0\x40")


@pytest.mark.parametrize(
    ("lba", "sectors", "mac", "fill", "is_dropped"),
    [
        pytest.param(4, 2, CLIENT, 1, True, id="other bytes"),
        pytest.param(4, 2, OTHER, 0, True, id="another machine"),
        pytest.param(4, 1, CLIENT, 0, True, id="the beginning"),
        pytest.param(5, 1, CLIENT, 0, True, id="the end"),
        pytest.param(3, 2, CLIENT, 0, True, id="across the beginning"),
        pytest.param(5, 2, CLIENT, 0, True, id="across the end"),
        pytest.param(6, 2, CLIENT, 0, False, id="behind"),
        pytest.param(2, 2, CLIENT, 0, False, id="before"),
    ],
)
def test_writes_to_the_same_sectors_come_one_after_the_other(
    bench: Bench, tmp_path: Path, lba: int, sectors: int, mac: str, fill: int, is_dropped: bool
) -> None:
    """In the order of the wire: another one is dropped, and taken when it comes again."""
    with gated_file(tmp_path / "cold", SECTORS * 512) as gate:
        bench.add(FileImage(gate.path, writable=True))
        bench.far.send(frame(WRITE, 4, 2, bytes(1024), tag=1))
        bench.run()
        other = frame(WRITE, lba, sectors, bytes([fill]) * sectors * 512, mac=mac, tag=2)
        bench.far.send(other)
        bench.run()
        assert bench.pump.counts() == ({"dropped_overlapping": 1} if is_dropped else {})
        gate.open()
        answers = bench.replies(1) + bench.ask(other) if is_dropped else bench.replies(2)
        assert sorted(answer[23] for answer in answers) == [1, 2]
        assert {answer[25:28] for answer in answers} == {b"\0\0\x40"}


def test_a_broken_image_is_told_once(bench: Bench, tmp_path: Path) -> None:
    """And counted each time."""
    with gated_file(tmp_path / "broken", SECTORS * 512, EIO) as gate:
        bench.add(FileImage(gate.path))
        assert {answer[25:28] for answer in bench.ask(*[frame(READ)] * 3)} == {b"\x40\x01\x41"}
    assert [event for event in bench.events if isinstance(event, ImageFailed)] == [ImageFailed(0, 1, EIO)]
    assert bench.pump.counts()["image_errors"] == 3


# Files in memory


def is_mapped(path: Path) -> bool:
    """Whether this process has the file in its memory."""
    return str(path) in Path("/proc/self/maps").read_text()


def read_until_answered(bench: Bench) -> tuple[bytes, int]:
    """Ask for a sector as an initiator does; the answer, and how often it was asked for."""
    for asked in range(1, 3):
        bench.far.send(frame(READ))
        bench.run()
        if is_readable(bench.far, 0) or not bench.pump.counts().get("unsent_efault"):
            return bench.replies(1)[0], asked
    raise AssertionError("no answer")


def test_a_file_is_mapped_and_the_whole_of_it_read(bench: Bench, tmp_path: Path) -> None:
    """Padded to whole sectors as well; the pump lets go of it with its target."""
    content = (4 * CONTENT)[:-100]
    (tmp_path / "disk").write_bytes(content)
    bench.add(PaddedImage(FileImage(tmp_path / "disk"), multiple=512))
    got = b"".join(data_of(answer) for lba in range(4 * SECTORS) for answer in bench.ask(frame(READ, lba)))
    assert got == content + bytes(100)
    bench.ask(frame(READ, 1, sectors=2), frame(READ, 1, sectors=0))
    assert is_mapped(tmp_path / "disk")
    bench.pump.remove(0, 1)
    bench.run()
    bench.pump.events()
    assert not is_mapped(tmp_path / "disk")


def test_a_file_that_is_written_is_not_mapped(bench: Bench, tmp_path: Path) -> None:
    """Nor bytes of our own."""
    (tmp_path / "disk").write_bytes(CONTENT)
    bench.add(FileImage(tmp_path / "disk", writable=True))
    bench.add(BytesImage(CONTENT), 2)
    bench.ask(frame(READ), frame(READ, slot=2))
    assert not is_mapped(tmp_path / "disk")


def test_a_mapped_file_may_be_cut_short(bench: Bench, tmp_path: Path) -> None:
    """What could not be sent is counted and asked for again, and then the initiator hears of an error."""
    (tmp_path / "disk").write_bytes(CONTENT)
    bench.add(FileImage(tmp_path / "disk"))
    assert data_of(bench.ask(frame(READ))[0]) == CONTENT[:512]
    os.truncate(tmp_path / "disk", 0)
    answer, _ = read_until_answered(bench)
    assert answer[25:28] == b"\x40\x01\x41"
    assert ImageFailed(0, 1, EIO) in bench.events


def test_after_waiting_for_a_disk_nothing_is_sent_from_a_mapping(bench: Bench, tmp_path: Path) -> None:
    """Pages that were there have gone: the kernel has to make them again, which counts as waiting."""
    (tmp_path / "disk").write_bytes(CONTENT)
    bench.add(FileImage(tmp_path / "disk"))
    assert data_of(bench.ask(frame(READ))[0]) == CONTENT[:512]
    os.truncate(tmp_path / "disk", 0)
    os.truncate(tmp_path / "disk", len(CONTENT))
    assert {data_of(bench.ask(frame(READ, lba))[0]) for lba in range(SECTORS)} == {bytes(512)}
    os.truncate(tmp_path / "disk", 0)
    answer, asked = read_until_answered(bench)
    assert (answer[25:28], asked) == (b"\x40\x01\x41", 1)


# Sockets


def test_a_new_socket_takes_over(bench: Bench) -> None:
    """On another interface; the one before falls silent."""
    cable("near2", "far2")
    bench.add(BytesImage(CONTENT))
    bench.ask(frame(READ))
    bench.listen("near2")
    bench.far.send(frame(READ))
    assert bench.is_silent()
    old, bench.far = bench.far, socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    old.close()
    bench.far.bind(("far2", wire.ETHERTYPE))
    ip("link", "set", "near2", "address", OURS)
    assert data_of(bench.ask(frame(READ))[0]) == CONTENT[:512]


def test_a_link_that_goes_down_is_counted(bench: Bench, tmp_path: Path) -> None:
    """On the socket, and for the answer that does not get out any more."""
    counts: Counter[str] = Counter()
    with gated_file(tmp_path / "cold", SECTORS * 512) as gate:
        bench.add(FileImage(gate.path))
        bench.far.send(frame(READ))
        bench.run()
        gate.wait()
        ip("link", "set", "near", "down")
        bench.run()
        gate.open()
        while not counts["unsent_enetdown"]:
            bench.pump.run(round(1000 * PATIENCE))
            counts.update(bench.pump.counts())
    assert counts == {"link_down": 1, "unsent_enetdown": 1}


def test_frames_that_find_the_ring_full_are_counted(bench: Bench) -> None:
    """Five thousand come while the pump does not look; what it has is answered."""
    bench.add(BytesImage(CONTENT))
    for _ in range(5000):
        bench.far.send(frame(FLUSH))
    assert bench.pump.counts()["missed"] == 5000 - 4096
    bench.ask(frame(READ))


def tap(name: str) -> int:
    """A virtual card that is up and whose frames nobody fetches: its queue of one frame is full at once."""
    device = os.open(Path("/dev/net/tun"), os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    tap_without_header = 0x1002
    fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", name.encode(), tap_without_header))
    ip("link", "set", name, "txqueuelen", "1", "address", OURS, "up")
    return device


def test_a_card_whose_queue_is_full_gets_its_frames_by_the_kernels_own(bench: Bench) -> None:
    """Counted; the pump neither stops nor fails."""
    bench.add(BytesImage(CONTENT))
    device = tap("card")
    bench.listen("card")
    for tag in range(20):
        os.write(device, frame(READ, tag=tag))
    bench.run()
    counts = bench.pump.counts()
    assert counts["replies"] == 20
    assert counts["detours"] > 0
    os.close(device)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda pump: pump.fit(b"short", 2),
        lambda pump: pump.add(0, 1, BytesImage(CONTENT), SECTORS + 1),
        lambda pump: pump.add(0, 2, BytesImage(CONTENT), SECTORS),
        lambda pump: pump.admit(0, 2, [bytes(6)] * 256, []),
        lambda pump: pump.note_query("nobody", 0, 1),
        lambda pump: AoePump(AoeLimits(initiators=0), workers=Workers()),
    ],
)
def test_what_cannot_be_is_refused(bench: Bench, wrong: Callable[[AoePump], None]) -> None:
    """A ValueError, and the pump goes on."""
    bench.add(BytesImage(CONTENT), 2)
    with pytest.raises(ValueError):
        wrong(bench.pump)
    bench.ask(frame(READ, slot=2))


def test_a_socket_of_another_kind_stays_the_callers(bench: Bench) -> None:
    """It has no ring."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        with pytest.raises(OSError, match="rotocol"):
            bench.pump.listen(other, other)
        assert other.fileno() >= 0
    with pytest.raises(KeyError):
        bench.pump.remove(0, 1)
