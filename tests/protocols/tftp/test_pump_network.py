"""The native pump and its network: lossy, with small packets, clogged, or gone for a moment."""

import subprocess
from collections import Counter
from collections.abc import Iterator

import pytest

from protocols.tftp.pumped import Ended
from protocols.tftp.transfer import Outcome
from protocols.tftp.wire import build_data
from storage.image import BytesImage
from tests.protocols.network import fresh_network, ip
from tests.protocols.tftp.bench import FILE, STEADY, Bench, agree, opened


@pytest.fixture
def bench() -> Iterator[Bench]:
    """The pump of one test."""
    with opened() as made:
        yield made


@pytest.mark.parametrize("window", [1, 4, 16])
@pytest.mark.parametrize("seed", range(3))
def test_files_arrive_whole_over_a_lossy_wire(bench: Bench, window: int, seed: int) -> None:
    """A tenth is lost each way; timers bring it back."""
    terms = agree(window, blksize=1428)
    client = bench.join(BytesImage(FILE[:60_000]), terms)
    assert bench.fetch(client, terms, loss=0.1, seed=seed) == FILE[:60_000]
    bench.run_until_ended(1)
    assert bench.ends() == [Outcome.COMPLETED]


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
