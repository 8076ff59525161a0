"""Both ends of a transfer joined by a wire that loses, repeats and reorders; every fate is seeded."""

import random
from collections.abc import Callable
from functools import partial

import pytest

from protocols.tftp.netascii import encode
from protocols.tftp.options import Mode, Terms
from protocols.tftp.transfer import Outcome
from tests.protocols.tftp.peers import (
    Link,
    ReadingClient,
    WritingClient,
    reading_server,
    simulate,
    writing_server,
)

PLAIN = random.Random(2).randbytes(20_000)
TEXT = b"one\r\ntwo\n\rthree\n" * 500
LINKS: dict[str, Callable[[int], Link]] = {
    "clean": Link,
    "loss": partial(Link, loss=0.1),
    "much loss": partial(Link, loss=0.3),
    "duplication": partial(Link, duplication=0.3),
    "reordering": partial(Link, latency=(0.001, 0.02)),
    "everything": partial(Link, loss=0.1, duplication=0.1, latency=(0.001, 0.02)),
}
bad_links = pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
seeds = pytest.mark.parametrize("seed", range(5))
windows = pytest.mark.parametrize("windowsize", [1, 2, 4, 16])


def agree(windowsize: int = 1, *, blksize: int = 512, mode: Mode = Mode.OCTET, timeout: int | None = None) -> Terms:
    """Terms that were asked for, so that there is an OACK."""
    return Terms(mode, blksize, windowsize, timeout, (("blksize", str(blksize)),))


@bad_links
@seeds
@windows
def test_reads_arrive_whole(link: Callable[[int], Link], seed: int, windowsize: int) -> None:
    """Every byte in its place, and the server knows that it is done."""
    terms = agree(windowsize)
    transfer, move = reading_server(PLAIN, terms)
    client = ReadingClient(terms)
    simulate(transfer, move, client, link(seed))
    assert bytes(client.received) == PLAIN
    assert transfer.outcome is Outcome.COMPLETED
    assert transfer.size == len(PLAIN)


@bad_links
@seeds
@windows
def test_writes_arrive_whole(link: Callable[[int], Link], seed: int, windowsize: int) -> None:
    """Every byte in its place, once."""
    terms = agree(windowsize)
    transfer, move, stored = writing_server(terms)
    simulate(transfer, move, WritingClient(terms, PLAIN), link(seed))
    assert bytes(stored) == PLAIN
    assert transfer.outcome is Outcome.COMPLETED


@bad_links
@seeds
def test_netascii_reads_arrive_converted(link: Callable[[int], Link], seed: int) -> None:
    """Line ends that straddle blocks survive resending."""
    terms = agree(blksize=9, mode=Mode.NETASCII)
    transfer, move = reading_server(TEXT, terms)
    client = ReadingClient(terms)
    simulate(transfer, move, client, link(seed))
    assert bytes(client.received) == encode(TEXT)


def test_netascii_writes_are_converted_back() -> None:
    """Line ends that straddle blocks become one byte again."""
    terms = agree(blksize=9, mode=Mode.NETASCII)
    transfer, move, stored = writing_server(terms)
    simulate(transfer, move, WritingClient(terms, encode(TEXT)), Link(1, loss=0.1))
    assert bytes(stored) == TEXT


@pytest.mark.parametrize("blocks", [65_534, 65_535, 65_536, 131_072])
def test_block_numbers_wrap(blocks: int) -> None:
    """Files past 65,535 blocks go on with block 0 (quirk T-9)."""
    plain = b"".join(b"%08d" % n for n in range(blocks))
    terms = agree(16, blksize=8)
    transfer, move = reading_server(plain, terms)
    client = ReadingClient(terms)
    simulate(transfer, move, client, Link(1))
    assert client.blocks == blocks + 1
    assert bytes(client.received) == plain


def test_writes_wrap() -> None:
    """Uploads past 65,535 blocks too."""
    plain = b"".join(b"%08d" % n for n in range(65_600))
    terms = agree(16, blksize=8)
    transfer, move, stored = writing_server(terms)
    simulate(transfer, move, WritingClient(terms, plain), Link(1, loss=0.01))
    assert bytes(stored) == plain


@windows
def test_a_clean_wire_carries_every_block_once(windowsize: int) -> None:
    """Nothing is sent twice where nothing is lost."""
    terms = agree(windowsize)
    transfer, move = reading_server(PLAIN, terms)
    sent = simulate(transfer, move, ReadingClient(terms), Link(1))
    assert sent == 1 + len(PLAIN) // 512 + 1
    assert transfer.resent == 0


def test_duplicated_acks_do_not_multiply() -> None:
    """The sorcerer's apprentice stays out: with every datagram doubled, every block is still sent once (quirk T-8)."""
    terms = agree()
    transfer, move = reading_server(PLAIN, terms)
    sent = simulate(transfer, move, ReadingClient(terms), Link(1, duplication=1.0))
    assert sent == 1 + len(PLAIN) // 512 + 1


def test_loss_costs_little_more_than_what_was_lost() -> None:
    """A tenth lost each way in lock step: far less than two datagrams for one."""
    terms = agree()
    transfer, move = reading_server(PLAIN, terms)
    sent = simulate(transfer, move, ReadingClient(terms), Link(3, loss=0.1))
    assert sent < 1.5 * (len(PLAIN) // 512 + 2)


def test_the_clients_interval_is_kept_on_a_lossy_wire() -> None:
    """The timeout option does not keep a transfer from ending (RFC 2349)."""
    terms = agree(timeout=3)
    transfer, move = reading_server(PLAIN, terms)
    client = ReadingClient(terms)
    simulate(transfer, move, client, Link(4, loss=0.1))
    assert bytes(client.received) == PLAIN
