"""The native pump by itself, without asyncio: against its twin, lossy, random, cold, crowded, clogged and closing."""

import errno
import os
import random
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from protocols.datagram import udp_socket
from protocols.errors import WireError
from protocols.tftp.options import Mode, Terms
from protocols.tftp.pump import TftpPump
from protocols.tftp.pumped import Counted, Ended, PumpEvent
from protocols.tftp.reading import FINAL_RESENDS, ReadTransfer
from protocols.tftp.transfer import Outcome
from protocols.tftp.wire import Opcode, Request, build_ack, build_data, build_error, build_oack, build_request
from storage.image import BytesImage, FileImage, Image
from storage.workers import Workers
from tests.protocols.network import fresh_network, ip
from tests.protocols.tftp.peers import ReadingClient
from tests.protocols.tftp.twin import OctetContent

KIB = 1 << 10
FILE = random.Random(4).randbytes(300_000)
PATIENCE = 20.0  # seconds; only a hang reaches it
GIVE_UP_AFTER = 60.0  # seconds
MOMENT = 10  # milliseconds; a slow link brings something although the pump has nothing to do
STEADY = 255  # seconds; the interval of a client that no timer is to disturb


def agree(windowsize: int = 1, *, blksize: int = 512, timeout: int | None = None, has_oack: bool = True) -> Terms:
    """Terms of a read in octet mode."""
    return Terms(Mode.OCTET, blksize, windowsize, timeout, (("blksize", str(blksize)),) if has_oack else ())


class Client:
    """A client's socket and the port of its transfer."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.sock.bind((address, 0))
        self.transfer = ("127.0.0.1", 0)

    def send(self, datagram: bytes) -> None:
        """To the transfer's port."""
        self.sock.sendto(datagram, self.transfer)

    def taken(self) -> list[bytes]:
        """Every datagram that has come."""
        found = []
        while True:
            try:
                found.append(self.sock.recv(1 << 16))
            except BlockingIOError:
                return found


class Bench:
    """A pump without a thread, its clients, and what it told."""

    def __init__(self) -> None:
        self.workers = Workers()
        self.pump = TftpPump(workers=self.workers)
        self.events: list[PumpEvent] = []
        self.clients: list[Client] = []

    def join(
        self,
        image: Image,
        terms: Terms,
        *,
        address: str = "127.0.0.1",
        room: int = 0,
        give_up_after: float = GIVE_UP_AFTER,
    ) -> Client:
        """A client whose request was agreed to; `room` bounds what its transfer's socket may hold unsent."""
        client = Client(address)
        self.clients.append(client)
        sock = udp_socket("127.0.0.1", 0)
        if room:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
        client.transfer = sock.getsockname()
        self.pump.adopt(sock, client.sock.getsockname(), image, terms, give_up_after)
        return client

    def run(self) -> None:
        """One batch, as soon as there is something to do."""
        self.events += self.pump.run(int(1000 * PATIENCE))

    def sent_to(self, client: Client, datagram: bytes = b"") -> list[bytes]:
        """What one batch sends to a client, after a datagram of its own if there is one."""
        if datagram:
            client.send(datagram)
        self.run()
        return client.taken()

    def ends(self) -> list[Outcome]:
        """How transfers ended, so far."""
        return [event.outcome for event in self.events if isinstance(event, Ended)]

    def counts(self) -> Counter[str]:
        """What was counted, so far."""
        found: Counter[str] = Counter()
        for event in self.events:
            if isinstance(event, Counted):
                found[event.name] += event.number
        return found

    def run_until_ended(self, count: int) -> None:
        """Until that many transfers have."""
        while len(self.ends()) < count:
            self.run()

    def fetch(self, client: Client, terms: Terms, *, loss: float = 0.0, seed: int = 0) -> bytes:
        """A whole file, as RFC 7440 has it; some of what is sent either way is lost."""
        dice = random.Random(seed)
        session = ReadingClient(terms)
        while not session.is_done:
            taken = client.taken()
            if not taken:
                self.events += self.pump.run(MOMENT)
            for datagram in taken:
                answers = session.receive(datagram) if dice.random() >= loss else []
                for answer in answers:
                    if dice.random() >= loss:
                        client.send(answer)
        return bytes(session.received)

    def close(self) -> None:
        """The pump, the threads, the clients."""
        self.events += self.pump.close()
        self.workers.close()
        for client in self.clients:
            client.sock.close()


@contextmanager
def opened() -> Iterator[Bench]:
    """An open pump, closed in the end."""
    made = Bench()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    """The pump of one test."""
    with opened() as made:
        yield made


class Twin:
    """The sans-IO state machine with its bytes at hand, and time that stands still."""

    def __init__(self, plain: bytes, terms: Terms) -> None:
        self.plain = plain
        self.malformed = 0
        self.transfer = ReadTransfer(terms, OctetContent(len(plain), terms.blksize), 0.0)

    def sent(self, datagram: bytes = b"") -> list[bytes]:
        """What it sends, after a datagram of the client's if there is one."""
        if datagram:
            try:
                self.transfer.receive(datagram, 0.0)
            except WireError:
                self.malformed += 1
        while (wanted := self.transfer.wants()) is not None:
            self.transfer.supply(wanted[0], self.plain[wanted[0] :][: wanted[1]], 0.0)
        self.transfer.advance(0.0)
        return self.transfer.take_datagrams()


def random_datagram(dice: random.Random, got: int, window: int) -> bytes:
    """Mostly an ACK near the block that came last, sometimes nonsense."""
    kind = dice.random()
    if kind < 0.05:
        return dice.choice([b"\0", b"\0\4\1", b"\0\x09zz", build_data(3, b"x"), build_oack((("a", "b"),))])
    if kind < 0.06:
        return build_request(Request(Opcode.RRQ, "file", "octet"))
    if kind < 0.25:
        return build_ack(max(0, got - dice.randrange(2 * window + 2)))
    if kind < 0.30:
        return build_ack(got + dice.randrange(1, 40_000))
    return build_ack(got)


@pytest.mark.parametrize(
    ("blksize", "window"), [(8, 1), (8, 66), (512, 4), (1428, 16), (1428, 1), (30_000, 5), (65_464, 2)]
)
@pytest.mark.parametrize("has_oack", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_sent_is_what_the_twin_sends(
    bench: Bench, blksize: int, window: int, has_oack: bool, seed: int
) -> None:
    """For late, repeated, early and senseless datagrams of a client, to the end or to its ERROR."""
    dice = random.Random(seed)
    plain = random.Random(seed).randbytes(
        blksize * dice.randrange(window, 4 * window) + dice.choice([0, 1, blksize - 1])
    )
    terms = agree(window, blksize=blksize, timeout=STEADY, has_oack=has_oack)
    client, twin = bench.join(BytesImage(plain), terms), Twin(plain, terms)
    got = 0
    answers = bench.sent_to(client)
    assert answers == twin.sent()
    while not twin.transfer.is_closed:
        got = max([got, *(int.from_bytes(each[2:4], "big") for each in answers if each[:2] == b"\0\3")])
        datagram = random_datagram(dice, got, window) if dice.random() < 0.995 else build_error(0, "enough")
        answers = bench.sent_to(client, datagram)
        assert answers == twin.sent(datagram)
    (told,) = (event for event in bench.events if isinstance(event, Ended))
    end = twin.transfer
    assert (told.outcome, told.size, told.resent, told.errno) == (end.outcome, end.size, end.resent, 0)
    assert bench.counts()["malformed"] == twin.malformed


@pytest.mark.parametrize("window", [1, 4, 16])
@pytest.mark.parametrize("seed", range(3))
def test_files_arrive_whole_over_a_lossy_wire(bench: Bench, window: int, seed: int) -> None:
    """A tenth is lost each way; timers bring it back."""
    terms = agree(window, blksize=1428)
    client = bench.join(BytesImage(FILE[:60_000]), terms)
    assert bench.fetch(client, terms, loss=0.1, seed=seed) == FILE[:60_000]
    bench.run_until_ended(1)
    assert bench.ends() == [Outcome.COMPLETED]


@pytest.mark.parametrize("blocks", [65_535, 65_536, 131_073])
def test_block_numbers_wrap(bench: Bench, blocks: int) -> None:
    """Files past 65,535 blocks go on with block 0 (quirk T-9)."""
    terms = agree(64, blksize=8, timeout=STEADY)
    plain = b"".join(b"%08d" % n for n in range(blocks))
    assert bench.fetch(bench.join(BytesImage(plain), terms), terms) == plain


def test_a_missing_last_ack_is_a_success(bench: Bench) -> None:
    """After the last window was sent again for FINAL_RESENDS times (quirk T-11)."""
    client = bench.join(BytesImage(b"abc"), agree())
    bench.sent_to(client)
    client.send(build_ack(0))
    bench.run_until_ended(1)
    assert bench.events == [Ended(1, Outcome.COMPLETED, 3, FINAL_RESENDS, 0)]
    assert client.taken() == [build_data(1, b"abc")] * (1 + FINAL_RESENDS)


@pytest.mark.parametrize(("has_oack", "outcome"), [(True, Outcome.PROBED), (False, Outcome.TIMED_OUT)])
def test_a_client_that_was_never_heard_is_given_up(bench: Bench, has_oack: bool, outcome: Outcome) -> None:
    """After an OACK it wanted to know the size (quirk T-24), else it is gone."""
    client = bench.join(BytesImage(FILE), agree(has_oack=has_oack), give_up_after=0.5)
    bench.run_until_ended(1)
    assert bench.ends() == [outcome]
    assert len(client.taken()) == 1


def test_the_first_answer_is_repeated_on_demand(bench: Bench) -> None:
    """The OACK, and not again once blocks flow: then it is a late duplicate."""
    client = bench.join(BytesImage(FILE), agree(timeout=STEADY))
    first = bench.sent_to(client)
    assert bench.pump.repeat(1)
    assert bench.sent_to(client) == first
    bench.sent_to(client, build_ack(0))
    assert bench.pump.repeat(1)
    assert bench.sent_to(client, build_ack(1)) == [build_data(2, FILE[512:1024])]
    bench.sent_to(client, build_error(0, "enough"))
    assert not bench.pump.repeat(1)
    assert not bench.pump.repeat(99)


def test_a_client_that_began_something_else_hears_no_more(bench: Bench) -> None:
    """Its transfer ends without a word, which is told once."""
    client = bench.join(BytesImage(FILE), agree())
    bench.sent_to(client)
    assert bench.pump.abandon(1) == Ended(1, Outcome.ABORTED, 0, 0, 0)
    assert bench.pump.abandon(1) is None
    assert bench.sent_to(client) == []
    assert bench.ends() == []
    assert bench.pump.sizes() == {}


def test_random_bytes_do_no_harm(bench: Bench) -> None:
    """Of the client and of strangers, on a transfer's port; another goes on meanwhile."""
    dice = random.Random(7)
    terms = agree(blksize=512, timeout=STEADY)
    noisy, good = bench.join(BytesImage(FILE), terms), bench.join(BytesImage(FILE), terms)
    stranger = Client()
    bench.clients.append(stranger)
    stranger.transfer = noisy.transfer
    for number in range(3000):
        opcode = dice.choice([b"", b"\0\1", b"\0\2", b"\0\3", b"\0\4", b"\0\6"])
        source = stranger if number % 2 else noisy
        bench.sent_to(source, (opcode + dice.randbytes(dice.randrange(60))) or b"?")
    assert bench.counts()["unknown_tid"] == 1500
    assert bench.counts()["malformed"] > 200
    assert bench.ends() == []
    assert bench.fetch(good, terms) == FILE


def cold(path: Path) -> FileImage:
    """A file that the page cache has nothing of."""
    path.write_bytes(FILE)
    image = FileImage(path)
    os.fsync(image.fileno())
    os.posix_fadvise(image.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return image


@pytest.mark.parametrize("window", [1, 16, 64])
def test_cold_files_come_by_way_of_the_workers(bench: Bench, tmp_path: Path, window: int) -> None:
    """Whole, whatever the window."""
    terms = agree(window, blksize=1428)
    assert bench.fetch(bench.join(cold(tmp_path / "cold"), terms), terms) == FILE


def test_a_client_may_leave_while_the_workers_read_for_it(bench: Bench, tmp_path: Path) -> None:
    """Its end is told once, and nobody else waits for the disk."""
    for number in range(50):
        client = bench.join(cold(tmp_path / f"cold{number % 5}"), agree(has_oack=False))
        client.send(build_error(0, "enough"))
    bench.run_until_ended(50)
    assert bench.ends() == [Outcome.ABORTED] * 50
    assert bench.fetch(bench.join(BytesImage(FILE), agree(16)), agree(16)) == FILE


def test_a_disk_that_fails_a_worker_ends_its_transfer(bench: Bench) -> None:
    """sysfs knows no reads that don't wait, and its files hold less than they say."""
    client = bench.join(FileImage("/sys/kernel/mm/transparent_hugepage/enabled"), agree(has_oack=False))
    bench.run_until_ended(1)
    assert [event.errno for event in bench.events if isinstance(event, Ended)] == [errno.EIO]
    assert client.taken() == [build_error(0, "the server could not read or store the file")]


def resident() -> int:
    """Bytes of memory that the process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_thousand_transfers_take_little_memory(bench: Bench) -> None:
    """All under way at once, the clients' sockets included; all arrive whole."""
    terms = agree(16, blksize=1428, timeout=STEADY)
    image = BytesImage(FILE[:30_000])
    bench.fetch(bench.join(image, terms), terms)
    before = resident()
    clients = [bench.join(image, terms) for _ in range(1000)]
    pieces = [bench.fetch(client, terms) for client in clients[1:]]
    assert (resident() - before - sum(map(len, pieces))) / len(clients) < 24 * KIB
    assert bench.fetch(clients[0], terms) == FILE[:30_000]
    assert set(pieces) == {FILE[:30_000]}


def test_silent_clients_cost_the_others_nothing(bench: Bench) -> None:
    """Two hundred that never answer; one gets its file in one batch for each window."""
    terms = agree(16, blksize=1428, timeout=STEADY)
    for _ in range(200):
        bench.join(BytesImage(FILE), terms)
    client = bench.join(BytesImage(FILE), terms)
    while not (first := client.taken()):
        bench.run()
    assert first == [build_oack(terms.answer)]
    for window in range(len(FILE) // 1428 // 16):
        assert len(bench.sent_to(client, build_ack(16 * window))) == 16


@pytest.mark.root
@pytest.mark.parametrize(("blksize", "window"), [(1428, 16), (4096, 4), (1480, 8)])
def test_blocks_larger_than_the_interface_takes_go_as_fragments(blksize: int, window: int) -> None:
    """On an MTU of 1500, where a window's segments must fit into packets."""
    with fresh_network(), opened() as bench:
        ip("link", "set", "lo", "up", "mtu", "1500")
        terms = agree(window, blksize=blksize, timeout=STEADY)
        assert bench.fetch(bench.join(BytesImage(FILE), terms), terms) == FILE
        assert bench.counts() == Counter()


@pytest.mark.root
def test_a_full_socket_delays_but_does_not_lose() -> None:
    """On a slow link, with little room for what waits for it."""
    with fresh_network(), opened() as bench:
        ip("link", "set", "lo", "up", "mtu", "1500")
        slow = ("root", "tbf", "rate", "20mbit", "burst", "4kb", "limit", "1mb")
        subprocess.run(["tc", "qdisc", "add", "dev", "lo", *slow], check=True)
        terms = agree(64, blksize=4096, timeout=STEADY)
        assert bench.fetch(bench.join(BytesImage(FILE), terms, room=4608), terms) == FILE
        bench.run_until_ended(1)
        assert bench.events == [Ended(1, Outcome.COMPLETED, len(FILE), 0, 0)]


@pytest.mark.root
def test_a_network_that_refuses_to_send_is_a_lossy_one() -> None:
    """ENETUNREACH for one packet: counted, and sent again by the timer."""
    with fresh_network(), opened() as bench:
        ip("link", "set", "lo", "up")
        ip("address", "add", "192.0.2.1/32", "dev", "lo")
        client = bench.join(BytesImage(b"abc"), agree(has_oack=False), address="192.0.2.1")
        ip("address", "del", "192.0.2.1/32", "dev", "lo")
        bench.run()
        assert bench.counts() == {"send_failed": 1}
        ip("address", "add", "192.0.2.1/32", "dev", "lo")
        assert bench.sent_to(client) == [build_data(1, b"abc")]


def test_closing_tells_every_client(bench: Bench, tmp_path: Path) -> None:
    """Also those for which the workers read; a closed pump takes nobody."""
    clients = [
        bench.join(BytesImage(FILE), agree(has_oack=False)),
        bench.join(cold(tmp_path / "cold"), agree(has_oack=False)),
    ]
    bench.run()
    bench.events += bench.pump.close()
    assert bench.ends() == [Outcome.FAILED] * 2
    assert [client.taken()[-1] for client in clients] == [build_error(0, "the server stops")] * 2
    with udp_socket("127.0.0.1", 0) as sock, pytest.raises(ValueError, match="closed"):
        bench.pump.adopt(sock, ("127.0.0.1", 1), BytesImage(FILE), agree(), GIVE_UP_AFTER)
    assert bench.pump.close() == []


@pytest.mark.parametrize(("blksize", "windowsize"), [(0, 1), (65_465, 1), (512, 0), (512, 1 << 15)])
def test_impossible_terms_are_not_adopted(bench: Bench, blksize: int, windowsize: int) -> None:
    """The socket stays the caller's."""
    with udp_socket("127.0.0.1", 0) as sock:
        with pytest.raises(ValueError, match="no terms"):
            bench.pump.adopt(
                sock, ("127.0.0.1", 1), BytesImage(FILE), agree(windowsize, blksize=blksize), GIVE_UP_AFTER
            )
        assert sock.fileno() >= 0
    assert bench.pump.sizes() == {}
