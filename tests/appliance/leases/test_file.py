"""The lease file: nothing that was told is lost, one write for all that wait, and no other file is taken for one."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from appliance.errors import OperatorError
from appliance.leases import file as lease_file
from appliance.leases.file import HEADER, PAST_LEAST, LeaseFile
from protocols.dhcp.leasing.lease import Lease, LeaseState, build_line

LEASE = Lease("10.77.0.50", "52:54:00:77:00:01", "till", LeaseState.BOUND, 1.0, 2.0)


def leases(count: int) -> list[Lease]:
    """As many, each of another machine."""
    return [replace(LEASE, address=f"10.77.{n // 250}.{n % 250}", client=f"52:54:00:77:{n:04x}") for n in range(count)]


@asynccontextmanager
async def keeping(path: Path, known: Callable[[], Iterable[Lease]] = tuple) -> AsyncIterator[LeaseFile]:
    """A file that is kept while the block lasts."""
    file = LeaseFile(path, known)
    file.start()
    task = asyncio.ensure_future(file.run())
    try:
        yield file
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How large the file was at each sync."""
    seen: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        seen.append(os.fstat(descriptor).st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return seen


def test_no_file(tmp_path: Path) -> None:
    """Nothing is kept yet."""
    assert LeaseFile(tmp_path / "leases", tuple).read() == []


async def test_kept_is_on_disk(tmp_path: Path, syncs: list[int]) -> None:
    """Synced before it returns, and read again."""
    path = tmp_path / "state/leases"
    async with keeping(path) as file:
        await file.keep(LEASE)
        assert syncs[-1] == len(HEADER) + len(build_line(LEASE))
        assert LeaseFile(path, tuple).read() == [LEASE]


async def test_many_wait_for_one_write(tmp_path: Path, syncs: list[int]) -> None:
    """A hundred machines, two syncs at most: what came while the disk was at work goes together."""
    many = leases(100)
    async with keeping(tmp_path / "leases") as file:
        before = len(syncs)
        await asyncio.gather(*(file.keep(lease) for lease in many))
        assert len(syncs) - before <= 2
        assert LeaseFile(file.path, tuple).read() == many


async def test_rewritten_when_most_is_past(tmp_path: Path) -> None:
    """So that it does not grow for ever; what is in force is in it."""
    path = tmp_path / "leases"
    async with keeping(path, lambda: [LEASE]) as file:
        for _ in range(3):
            await asyncio.gather(*(file.keep(LEASE) for _ in range(PAST_LEAST)))
    assert len(LeaseFile(path, tuple).read()) <= 2 * PAST_LEAST


async def test_a_start_rewrites_it(tmp_path: Path) -> None:
    """With what is known, in one step."""
    path = tmp_path / "leases"
    path.write_bytes(HEADER + build_line(LEASE) * 10)
    async with keeping(path, lambda: [LEASE]):
        assert path.read_bytes() == HEADER + build_line(LEASE)
    assert not path.with_name("leases.part").exists()


@pytest.mark.parametrize("cut", range(1, len(build_line(LEASE)), 17))
def test_cut_off_in_its_last_line(tmp_path: Path, cut: int) -> None:
    """By a crash in the middle of a write: that line was told to nobody."""
    path = tmp_path / "leases"
    path.write_bytes((HEADER + build_line(LEASE) * 2)[:-cut])
    with capture_logs() as logs:
        assert LeaseFile(path, tuple).read() == [LEASE]
    assert [log["event"] for log in logs] == ["lease_file_cut"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no lease file"),
        (b"\0" * 4096, "is no lease file"),
        (b'{"address": "10.77.0.50"}\n', "is no lease file"),
        (HEADER + b"\0" * 10 + b"\n" + build_line(LEASE), "line 2 is no lease: no JSON"),
        (HEADER + build_line(LEASE) + b"{}\n", "line 3 is no lease: not the fields"),
        (HEADER + b"x" * 5000 + b"\n", "line 2 is no lease: a line of 5000 bytes"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: bytes, words: str) -> None:
    """Said in one line, with what to do."""
    path = tmp_path / "leases"
    path.write_bytes(content)
    with pytest.raises(OperatorError, match=words) as caught:
        LeaseFile(path, tuple).read()
    assert "\n" not in str(caught.value)


def test_a_file_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is not read into memory."""
    monkeypatch.setattr(lease_file, "FILE_MOST", 100)
    path = tmp_path / "leases"
    path.write_bytes(HEADER + bytes(100))
    with pytest.raises(OperatorError, match="has more than"):
        LeaseFile(path, tuple).read()


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A folder, here."""
    (tmp_path / "leases").mkdir()
    with pytest.raises(OperatorError, match="Is a directory"):
        LeaseFile(tmp_path / "leases", tuple).read()
    with pytest.raises(OperatorError, match="Is a directory"):
        LeaseFile(tmp_path / "leases", tuple).start()


async def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits is told, part of a line may be in the file, and the next write makes all of it anew."""
    path = tmp_path / "leases"
    known = [LEASE]
    async with keeping(path, lambda: known) as file:

        def full(descriptor: int, data: memoryview) -> int:
            real(descriptor, bytes(data)[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        real = os.write
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            await file.keep(LEASE)
        monkeypatch.setattr(os, "write", real)
        known = leases(3)
        await file.keep(known[2])
        assert LeaseFile(path, tuple).read() == known
