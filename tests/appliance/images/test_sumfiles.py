"""Checksum files as clients get them: never of another image than the one they come with."""

import asyncio
import contextlib
import hashlib
import lzma
from collections.abc import AsyncIterator
from errno import EBUSY
from pathlib import Path

import pytest
import structlog

from appliance.images.catalog import Catalog
from appliance.images.changes import Changes
from appliance.images.checksums import Checksums
from appliance.images.memory import Memory
from appliance.images.sumfiles import SumFiles
from storage.errors import StorageError

OLD, NEW = b"old" * 1000, b"new" * 1000


def line(data: bytes, packed: int = 0) -> bytes:
    """The checksum file of an image of 3000 bytes: 2^3 * 3 * 5^3."""
    return f"{hashlib.md5(data).hexdigest()} 1 {len(data)}{f' 1 {packed}' if packed else ''}\n".encode()


class Box:
    """A tree of one image called root, and what the appliance does to it every few seconds."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "image"
        self.catalog = Catalog(self.folder, raw=["root"])
        self.catalog.load()
        self.changes = Changes()
        self.checksums = Checksums(self.catalog, Memory(root))
        self.files = SumFiles(
            root, self.catalog, self.checksums, inside=lambda place: place if place.is_file() else None
        )

    def look(self) -> None:
        """As the appliance does."""
        self.catalog.refresh()
        identities = self.changes.look(self.catalog)
        self.catalog.follow(identities)
        self.checksums.look(identities)
        self.files.look()

    async def open(self, name: str = "root.md5") -> bytes | None:
        """What a client gets."""
        async with asyncio.timeout(60):
            return await self.files.open(f"image/{name}")

    def put(self, name: str, data: bytes) -> None:
        """A file as an operator should copy it: under another name first."""
        (self.folder / ".part").write_bytes(data)
        (self.folder / ".part").rename(self.folder / name)

    def age(self, name: str) -> None:
        """Nothing tells files apart that came within a tick of the file system's clock: have `name` come later."""
        other = self.folder / ("root" if name != "root" else "root.md5")
        while (self.folder / name).stat().st_ctime_ns <= other.stat().st_ctime_ns:
            (self.folder / name).chmod(0o644)

    def contradicted(self) -> list[str]:
        """What the operator is told of."""
        return self.files.wrong(next(iter(self.catalog)))


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    """With the job that makes sums."""
    (tmp_path / "image").mkdir()
    (tmp_path / "image/root").write_bytes(OLD)
    box = Box(tmp_path)
    job = asyncio.create_task(box.checksums.run())
    yield box
    job.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await job


async def test_the_operators_own_is_served_at_once(box: Box) -> None:
    """It came after the image: nobody waits until that was read."""
    box.put("root.md5", b"own")
    box.age("root.md5")
    assert await Box(box.folder.parent).open() == b"own"  # without the job that reads images


async def test_one_that_is_older_than_its_image_is_looked_at_first(box: Box) -> None:
    """It may be right: who copies a folder does not choose the order."""
    box.put("root.md5", own := line(OLD, packed=77))
    box.age("root")
    assert await box.open() == own
    assert box.checksums.known("root") is not None


async def test_a_wrong_one_is_served_and_told(box: Box) -> None:
    """Whoever wrote it wants clients to check: they load again and again, which the operator is told once."""
    box.put("root.md5", line(NEW))
    box.age("root.md5")
    await box.checksums.get(next(iter(box.catalog)))
    with structlog.testing.capture_logs() as logged:
        box.look()
        box.look()
    assert [(x["event"], x["image"], x["file"]) for x in logged] == [("checksum_contradicted", "root", "root.md5")]
    assert box.contradicted() == ["image/root.md5"]
    assert await box.open() == line(NEW)
    box.put("root.md5", line(OLD))
    box.look()
    assert box.contradicted() == []


async def test_the_checksum_of_an_image_that_is_to_come(box: Box) -> None:
    """Copied before its image: until that is there, clients have the old pair."""
    box.put("root.md5", own := line(OLD, packed=5))
    box.age("root.md5")
    await box.checksums.get(next(iter(box.catalog)))
    assert await box.open() == own
    box.put("root.md5", line(NEW))
    assert await box.open() == own
    assert box.contradicted() == ["image/root.md5"]


async def test_the_checksum_of_the_image_before(box: Box) -> None:
    """The image was written over, its checksum not yet: the new one is made."""
    box.put("root.md5", line(NEW))
    box.age("root")
    assert await box.open() == line(OLD)
    assert box.contradicted() == ["image/root.md5"]


async def test_an_image_that_is_replaced_keeps_its_checksum(box: Box) -> None:
    """Until the appliance serves the new file, neither half of the new pair is seen."""
    box.put("root.md5", own := line(OLD, packed=5))
    box.age("root.md5")
    await box.checksums.get(next(iter(box.catalog)))
    assert await box.open() == own
    box.put("root", NEW)
    assert await box.open() == own
    box.put("root.md5", line(NEW))
    box.look()
    assert await box.open() == own
    assert await box.open("root.sha256") == f"{hashlib.sha256(OLD).hexdigest()} 1 3000\n".encode()
    (box.folder / "root").unlink()
    assert await box.open() == own


async def test_while_an_image_is_written_to_it_has_none(box: Box) -> None:
    """From the very moment, not from the next look on, and the operator's own is no better."""
    box.put("root.md5", line(OLD))
    box.age("root.md5")
    with (box.folder / "root").open("ab") as file:
        file.write(b"more")
    with pytest.raises(StorageError) as refused:
        await box.open()
    assert refused.value.errno == EBUSY
    box.look()
    with pytest.raises(StorageError):
        await box.open()
    box.look()
    assert await box.open() == f"{hashlib.md5(OLD + b'more').hexdigest()} 1 3004\n".encode()


async def test_a_compressed_image_alone(box: Box) -> None:
    """Five fields, from what it unpacks to; .sha256, as today's kiwi writes it, is left as it is."""
    data = lzma.compress(OLD)
    box.put("edge-1.xz", data)
    box.put("edge-1.sha256", own := f"{hashlib.sha256(OLD).hexdigest()} 1 3000 1 {len(data)}\n".encode())
    box.look()
    assert await box.open("edge-1.md5") == line(OLD, packed=len(data))
    assert await box.open("edge-1.sha256") == own
    assert await box.open("edge-1.xz.md5") is None
    box.put("edge-1.xz", lzma.compress(NEW))
    with pytest.raises(StorageError):
        await box.open("edge-1.md5")


async def test_of_two_compressed_forms_the_larger_counts(box: Box) -> None:
    """Block sizes are chosen by it, and either may be fetched."""
    box.put("root.xz", bytes(40))
    box.put("root.gz", bytes(50))
    assert await box.open() == line(OLD, packed=50)


@pytest.mark.parametrize("name", ["none.md5", "root.sha512", ".md5", "root", "md5"])
async def test_what_is_no_checksum_file_of_an_image(box: Box, name: str) -> None:
    """Is for others to find."""
    assert await box.open(name) is None
