"""The native pump by itself, without asyncio: against its twin, against random bytes, crowded and closing."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocols.datagram import udp_socket
from protocols.errors import WireError
from protocols.tftp.content import OctetContent
from protocols.tftp.options import Terms
from protocols.tftp.pumped import Ended
from protocols.tftp.reading import FINAL_RESENDS, ReadTransfer
from protocols.tftp.transfer import Outcome
from protocols.tftp.wire import Opcode, Request, build_ack, build_data, build_error, build_oack, build_request
from storage.image import BytesImage
from tests.protocols.tftp.bench import FILE, GIVE_UP_AFTER, KIB, STEADY, Bench, Client, agree, opened


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


def test_closing_tells_every_client(bench: Bench) -> None:
    """And a closed pump takes nobody."""
    clients = [bench.join(BytesImage(FILE), agree(has_oack=False)) for _ in range(2)]
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
