"""The native pump and its disk: files that are cold, slow, broken or became shorter."""

import os
from collections.abc import Iterator
from errno import EIO, ENODEV
from pathlib import Path

import pytest

from protocols.tftp.pumped import Ended
from protocols.tftp.transfer import Outcome
from protocols.tftp.wire import build_ack, build_error
from storage.image import BytesImage, FileImage
from tests.protocols.tftp.bench import FILE, KIB, STEADY, Bench, agree, opened
from tests.storage.gate import gated_file


@pytest.fixture
def bench() -> Iterator[Bench]:
    """The pump of one test."""
    with opened() as made:
        yield made


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


@pytest.mark.root
def test_a_disk_that_fails_ends_its_transfer(bench: Bench, tmp_path: Path) -> None:
    """Its client is told, and Python is told why."""
    with gated_file(tmp_path / "broken", 100 * KIB, ENODEV) as gate:
        client = bench.join(FileImage(gate.path), agree(has_oack=False))
        bench.run_until_ended(1)
    assert [event.errno for event in bench.events if isinstance(event, Ended)] == [ENODEV]
    assert client.taken() == [build_error(0, "the server could not read or store the file")]


def test_a_file_that_became_shorter_ends_its_transfer(bench: Bench, tmp_path: Path) -> None:
    """Found at once, where memory has it."""
    path = tmp_path / "short"
    path.write_bytes(FILE)
    client = bench.join(FileImage(path), agree(has_oack=False))
    os.truncate(path, 100)
    assert bench.sent_to(client) == [build_error(0, "the server could not read or store the file")]
    assert [event.errno for event in bench.events if isinstance(event, Ended)] == [EIO]


@pytest.mark.root
def test_a_disk_that_takes_its_time_delays_nobody_else(bench: Bench, tmp_path: Path) -> None:
    """One waits, whatever it says meanwhile; another gets its file; then the first gets all of its own."""
    terms = agree(4, blksize=1428, timeout=STEADY, has_oack=False)
    with gated_file(tmp_path / "slow", len(FILE)) as gate:
        slow = bench.join(FileImage(gate.path), terms)
        bench.run()
        gate.wait()
        assert bench.sent_to(slow, build_ack(0)) == []
        assert bench.pump.repeat(1)
        assert bench.sent_to(slow) == []
        assert bench.fetch(bench.join(BytesImage(FILE), terms), terms) == FILE
        gate.open()
        assert bench.fetch(slow, terms) == bytes(len(FILE))


@pytest.mark.root
def test_closing_waits_for_the_workers(bench: Bench, tmp_path: Path) -> None:
    """What they read for is ended first, and told."""
    with gated_file(tmp_path / "slow", len(FILE)) as gate:
        client = bench.join(FileImage(gate.path), agree(has_oack=False))
        bench.run()
        gate.wait()
        gate.open()
        bench.events += bench.pump.close()
    assert bench.ends() == [Outcome.FAILED]
    assert client.taken() == [build_error(0, "the server stops")]
