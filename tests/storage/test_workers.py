"""The native threads: reads that may block, many at once, and their orderly end."""

import errno
import os
import random
import time
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from storage import workers
from storage.image import BytesImage, FileImage
from storage.workers import Workers

MIB = 1 << 20
PATIENCE = 20.0  # seconds; only a hang reaches it
CONTENT = random.Random(5).randbytes(4 * MIB)


@pytest.fixture
def pool() -> Iterator[Workers]:
    """Running threads, ended in the end."""
    made = Workers()
    yield made
    made.close()


def test_ranges_are_read_whatever_their_order(pool: Workers) -> None:
    """As many as the queue holds; each gets its own bytes, as the plain read gives them."""
    dice = random.Random(6)
    ranges = [(dice.randrange(3 * MIB), dice.randrange(5000)) for _ in range(2000)]
    image = BytesImage(CONTENT)
    assert pool.read(image, ranges) == [image.read_at(*found) for found in ranges]


def test_a_cold_file_is_read(pool: Workers, tmp_path: Path) -> None:
    """What the page cache does not have."""
    (tmp_path / "cold").write_bytes(CONTENT)
    image = FileImage(tmp_path / "cold")
    os.fsync(image.fileno())
    os.posix_fadvise(image.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert b"".join(
        b for b in pool.read(image, [(at, MIB) for at in range(0, 4 * MIB, MIB)]) if isinstance(b, bytes)
    ) == (CONTENT)


def threads() -> set[str]:
    """The process's threads, as the kernel knows them."""
    return {path.name for path in Path("/proc/self/task").iterdir()}


def switches(tids: Collection[str]) -> int:
    """How often they have gone to sleep."""
    texts = [Path(f"/proc/self/task/{tid}/status").read_text() for tid in tids]
    return sum(int(line.split()[1]) for text in texts for line in text.splitlines() if line.startswith("voluntary"))


def is_asleep(tid: str) -> bool:
    """Whether it waits for something."""
    return Path(f"/proc/self/task/{tid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def await_sleep(tids: Collection[str]) -> None:
    """Until all of them wait at once, so that it is for work: one that waits for a lock does so beside its holder."""
    deadline = time.monotonic() + PATIENCE
    while True:
        before = switches(tids)
        if all(map(is_asleep, tids)) and switches(tids) == before:
            return
        assert time.monotonic() < deadline


def test_one_at_a_time_is_read_by_the_thread_that_has_a_share_of_a_busy_core() -> None:
    """Another would have the read in its hands until the core is idle."""
    before = threads()
    with closing(Workers()) as pool:
        image = BytesImage(CONTENT)
        pool.read(image, [(at, 1) for at in range(1000)])  # all of them have begun
        own = threads() - before
        await_sleep(own)
        [steady] = [tid for tid in own if os.sched_getscheduler(int(tid)) == os.SCHED_OTHER]
        others = own - {steady}
        slept, others_slept = switches([steady]), switches(others)
        for at in range(50):
            pool.read(image, [(at, 1)])
            await_sleep([steady])
        assert switches([steady]) - slept >= 50
        assert switches(others) == others_slept


def test_a_truncated_file_fails_its_range_only(pool: Workers, tmp_path: Path) -> None:
    """With EIO; the other range is read."""
    (tmp_path / "short").write_bytes(CONTENT)
    image = FileImage(tmp_path / "short")
    os.truncate(image.path, 512)
    assert pool.read(image, [(0, 512), (512, 512)]) == [CONTENT[:512], -errno.EIO]


def test_nothing_is_read_of_nothing(pool: Workers) -> None:
    """No range, and a range of no bytes."""
    assert pool.read(BytesImage(CONTENT), []) == []
    assert pool.read(BytesImage(CONTENT), [(0, 0)]) == [b""]


def test_the_queue_is_bounded(pool: Workers) -> None:
    """More ranges than it holds are refused, before any is read."""
    with pytest.raises(OSError) as caught:
        pool.read(BytesImage(CONTENT), [(0, 1)] * (workers.QUEUE_MOST + 1))
    assert caught.value.errno == errno.EAGAIN


def test_closing_ends_the_threads() -> None:
    """All of them; a second call is nothing, and work is refused."""
    before = threads()
    pool = Workers()
    started = threads() - before
    assert len(started) == workers.THREADS
    pool.close()
    pool.close()
    while threads() & started:  # a joined thread's entry goes a moment later
        os.sched_yield()
    with pytest.raises(ValueError, match="ended"):
        pool.read(BytesImage(CONTENT), [(0, 1)])


def test_threads_start_once(pool: Workers) -> None:
    """A second start would lose the first's."""
    with pytest.raises(ValueError, match="run already"):
        pool.__init__()  # type: ignore[misc]  # the very thing under test
