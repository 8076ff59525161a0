"""The job that makes checksums: of every image, once per content, the one that is asked for first."""

import asyncio
import contextlib
import gzip
import hashlib
import lzma
import os
from collections.abc import AsyncIterator, Callable
from errno import EBUSY, EFBIG, EIO
from pathlib import Path

import pytest
import structlog

from appliance.images import checksums as module
from appliance.images import packed as packed_module
from appliance.images.catalog import Catalog, Entry
from appliance.images.changes import Changes
from appliance.images.checksums import Checksums
from appliance.images.memory import Memory, Sums
from appliance.images.packed import PackedImage
from storage.errors import StorageError

NAMES = ("a", "b", "c")
DEADLINE = 60.0  # seconds; a job that hangs fails its test


def content(name: str) -> bytes:
    """An image's bytes: not of a whole number of slices."""
    return name.encode() * 100_003


def expected(data: bytes) -> Sums:
    """By hashlib over the whole."""
    return Sums(hashlib.md5(data).hexdigest(), hashlib.sha256(data).hexdigest(), len(data))


class Box:
    """A tree, its catalogue, and what the appliance does to both every few seconds."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "image"
        self.catalog = Catalog(self.folder, raw=[*NAMES, "d"])
        self.catalog.load()
        self.changes = Changes()
        self.is_serving = False
        self.checksums = Checksums(self.catalog, Memory(root), is_serving=lambda: self.is_serving)

    def entry(self, name: str) -> Entry:
        """An image by name."""
        found = self.catalog.get(name)
        assert found is not None
        return found

    def look(self) -> None:
        """As the appliance does."""
        self.catalog.refresh()
        identities = self.changes.look(self.catalog)
        self.catalog.follow(identities)
        self.checksums.look(identities)

    async def get(self, name: str) -> Sums:
        """As a client asks."""
        async with asyncio.timeout(DEADLINE):
            return await self.checksums.get(self.entry(name))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """With the job."""
        job = asyncio.create_task(self.checksums.run())
        try:
            yield
        finally:
            job.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await job


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A boot tree with three images."""
    (tmp_path / "image").mkdir()
    for name in NAMES:
        (tmp_path / "image" / name).write_bytes(content(name))
    return tmp_path


@pytest.fixture(autouse=True)
def _small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLICE", 30_000)
    monkeypatch.setattr(module, "CHUNK", 7_000)


async def test_every_image_gets_its_sums(root: Path) -> None:
    """Without anybody asking; told once each."""
    box = Box(root)
    with structlog.testing.capture_logs() as logged:
        async with box.running():
            for name in NAMES:
                assert await box.get(name) == expected(content(name))
    made = [line for line in logged if line["event"] == "checksum_made"]
    assert sorted(line["image"] for line in made) == list(NAMES)
    assert {line["bytes"] for line in made} == {100_003}


async def test_the_one_that_is_asked_for_comes_first(root: Path) -> None:
    """Though others were begun before it."""
    box = Box(root)
    with structlog.testing.capture_logs() as logged:
        async with box.running():
            await box.get("c")
            await box.get("b")
    assert next(line["image"] for line in logged if line["event"] == "checksum_made") == "c"


async def test_while_clients_are_served_it_rests(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for what is asked for, of which it makes all, at once."""
    monkeypatch.setattr(module, "REST_SECONDS", DEADLINE * 10)
    box = Box(root)
    box.is_serving = True
    async with box.running():
        assert await box.get("b") == expected(content("b"))
        assert await box.get("c") == expected(content("c"))
        assert box.checksums.known("a") is None
        assert box.checksums.hashed("a") <= 2 * module.SLICE, "more than a slice after each that was asked for"


async def test_it_goes_on_while_clients_are_served(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slowly: an appliance that always serves somebody has its sums at last."""
    monkeypatch.setattr(module, "REST_SECONDS", 0.001)
    box = Box(root)
    box.is_serving = True
    async with asyncio.timeout(DEADLINE), box.running():
        while box.checksums.known("c") is None:  # noqa: ASYNC110 -- nothing else tells of it
            await asyncio.sleep(0)


async def test_an_image_that_grew_is_summed_whole(root: Path) -> None:
    """It is opened again with its new size."""
    box = Box(root)
    box.look()
    with (root / "image/a").open("ab") as file:
        file.write(b"more")
    box.look()
    box.look()
    async with box.running():
        assert await box.get("a") == expected(content("a") + b"more")


async def test_many_ask_at_once_and_one_leaves(root: Path) -> None:
    """Each is answered, but for the one that is gone."""
    box = Box(root)
    asking = [asyncio.create_task(box.get("b")) for _ in range(20)]
    await asyncio.sleep(0)  # all of them wait
    asking[3].cancel()
    async with box.running():
        answers = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(answers.pop(3), asyncio.CancelledError)
    assert answers == [expected(content("b"))] * 19


async def test_progress_can_be_seen(root: Path) -> None:
    """How far each is; nothing of one that is done."""
    box = Box(root)
    assert (box.checksums.known("a"), box.checksums.hashed("a")) == (None, 0)
    async with box.running():
        await box.get("a")
    assert (box.checksums.known("a"), box.checksums.hashed("a")) == (expected(content("a")), 0)


async def test_slow_progress_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of how many."""
    monkeypatch.setattr(module, "PROGRESS_SECONDS", 0.0)
    box = Box(root)
    with structlog.testing.capture_logs() as logged:
        async with box.running():
            await box.get("a")
    told = [(x["bytes"], x["of"]) for x in logged if x["event"] == "checksum_progressed" and x["image"] == "a"]
    assert told == [(30_000, 100_003), (60_000, 100_003), (90_000, 100_003)]


async def test_a_restart_reads_nothing_again(root: Path) -> None:
    """What was made is on disk by what the file is: known without the job."""
    box = Box(root)
    async with box.running():
        for name in NAMES:
            await box.get(name)
    again = Box(root)
    assert await again.get("b") == expected(content("b"))


async def test_a_file_that_is_another_is_read_again(root: Path) -> None:
    """By inode, size or time."""
    box = Box(root)
    async with box.running():
        await box.get("a")
    (root / "new").write_bytes(b"z" * 100_003)
    os.utime(root / "new", ns=(0, (root / "image/a").stat().st_mtime_ns))
    (root / "new").rename(root / "image/a")
    again = Box(root)
    async with again.running():
        assert await again.get("a") == expected(b"z" * 100_003)


async def test_an_image_dropped_in_later(root: Path) -> None:
    """Is taken up with the next look."""
    box = Box(root)
    async with box.running():
        await box.get("a")
        (root / "image/d").write_bytes(content("d"))
        box.look()
        assert await box.get("d") == expected(content("d"))


def rewrite(path: Path, data: bytes, time: int) -> None:
    """Write over a file, at a time of its own, whatever the file system's clock ticks in."""
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, (time, time))


async def test_an_image_written_in_place_is_read_anew_when_that_is_over(root: Path) -> None:
    """Meanwhile there are no sums, and who asks is told why."""
    box = Box(root)
    async with box.running():
        await box.get("a")
        rewrite(root / "image/a", b"new", 1)
        box.look()
        with pytest.raises(StorageError) as refused:
            await box.get("a")
        rewrite(root / "image/a", b"newer", 2)
        box.look()
        with pytest.raises(StorageError):
            await box.get("a")
        box.look()
        assert await box.get("a") == expected(b"newer" + content("a")[5:])
    assert refused.value.errno == EBUSY


async def test_what_is_written_to_while_it_is_read_counts_for_nothing(root: Path) -> None:
    """Half of one and half of another has no sum."""
    box = Box(root)
    rewrite(root / "image/a", b"new", 1)  # after it was opened, before the first look
    asking = asyncio.create_task(box.get("a"))
    async with box.running():
        await box.get("b")
        assert box.checksums.known("a") is None
        box.look()
        with pytest.raises(StorageError, match="is being written to"):
            await asking
        box.look()
        assert await box.get("a") == expected(b"new" + content("a")[3:])


async def test_an_image_that_cannot_be_read(root: Path) -> None:
    """An error in the log; the others go on, and who asks later has it tried again."""
    box = Box(root)
    os.truncate(root / "image/b", 50_000)
    for _ in range(2):  # but it is not opened anew: it is no image any more
        box.checksums.look(box.changes.look(box.catalog))
    with structlog.testing.capture_logs() as logged:
        async with box.running():
            for _ in range(2):
                with pytest.raises(StorageError) as refused:
                    await box.get("b")
                assert refused.value.errno == EIO
            assert await box.get("c") == expected(content("c"))
    assert [line["image"] for line in logged if line["log_level"] == "error"] == ["b", "b"]


PACK: dict[str, Callable[[bytes], bytes]] = {"xz": lzma.compress, "gz": gzip.compress}


def packed(box: Box, name: str) -> PackedImage:
    """A compressed image by its file's name."""
    return next(image for image in box.catalog.packed if image.name == name)


@pytest.mark.parametrize("kind", PACK)
async def test_a_compressed_image_alone_is_unpacked_for_its_sums(root: Path, kind: str) -> None:
    """Slice by slice; of all streams that the file has, and never again after a restart."""
    data = content("x") * 3
    (root / f"image/x.{kind}").write_bytes(PACK[kind](data[:50]) + PACK[kind](data[50:]))
    box = Box(root)
    async with box.running():
        assert await box.checksums.get(packed(box, f"x.{kind}")) == expected(data)
        assert box.checksums.hashed(f"x.{kind}") == 0
        await box.get("c")
    again = Box(root)
    assert await again.checksums.get(packed(again, f"x.{kind}")) == expected(data)


@pytest.mark.parametrize(
    "spoil",
    [lambda data: data[:-9], lambda data: b"plain" + data, lambda data: b"", lambda data: data[:60] + b"?" * 20],
)
async def test_a_compressed_image_that_is_damaged(root: Path, spoil: Callable[[bytes], bytes]) -> None:
    """Has no sums, and whoever asks is told."""
    (root / "image/x.xz").write_bytes(spoil(lzma.compress(os.urandom(9000))))
    box = Box(root)
    async with box.running():
        with pytest.raises(StorageError, match=r"x\.xz") as refused:
            await box.checksums.get(packed(box, "x.xz"))
    assert refused.value.errno == EIO


async def test_what_unpacks_without_end(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is given up at a limit."""
    monkeypatch.setattr(packed_module, "UNPACKED_MAX", 100_000)
    (root / "image/x.gz").write_bytes(gzip.compress(bytes(400_000)))
    box = Box(root)
    async with box.running():
        with pytest.raises(StorageError, match="unpacks to more than 100000 bytes") as refused:
            await box.checksums.get(packed(box, "x.gz"))
    assert refused.value.errno == EFBIG


async def test_a_compressed_image_that_is_replaced(root: Path) -> None:
    """Is unpacked again once it stays as it is."""
    (root / "image/x.xz").write_bytes(lzma.compress(b"old"))
    box = Box(root)
    async with box.running():
        assert await box.checksums.get(packed(box, "x.xz")) == expected(b"old")
        (root / "image/.new").write_bytes(lzma.compress(b"newer"))
        (root / "image/.new").rename(root / "image/x.xz")
        box.look()
        assert box.checksums.is_restless("x.xz")
        box.look()
        assert await box.checksums.get(packed(box, "x.xz")) == expected(b"newer")


async def test_a_plain_image_is_read_rather_than_its_compressed_form(root: Path) -> None:
    """Nor is a compressed initrd an image, nor what clients could not name."""
    for name in ("a.xz", "e.initrd.xz", "with blank.xz", ".hidden.xz", "both.gz", "both.xz"):
        (root / "image" / name).write_bytes(b"")
    assert [image.name for image in Box(root).catalog.packed] == ["both.xz"]
