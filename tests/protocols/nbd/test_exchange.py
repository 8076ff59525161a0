"""What commands do to images."""

from pathlib import Path

import pytest

from protocols.nbd import exchange
from protocols.nbd.exchange import Result, read_in_memory, sector_size, sector_view, steps_of
from protocols.nbd.limits import NbdLimits
from protocols.nbd.transmission import Command
from protocols.nbd.wire import CommandFlag, CommandType
from storage.errors import StorageError
from storage.image import BytesImage, FileImage, Image, PaddedImage

MIB = 1 << 20


def command(kind: CommandType, offset: int = 0, length: int = 0, flags: int = 0, data: bytes = b"") -> Command:
    """A command as the session gives it."""
    return Command(kind, flags, 7, offset, length, data)


def carry_out(image: Image, asked: Command, limits: NbdLimits | None = None) -> list[Result]:
    """Every step's result."""
    return [step() for step in steps_of(image, asked, limits or NbdLimits())]


@pytest.fixture
def disk(tmp_path: Path) -> FileImage:
    """A writable file: 1 MiB of data, 1 MiB of hole, 1 MiB of data, half a sector."""
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.write(b"d" * MIB)
        file.seek(2 * MIB)
        file.write(b"e" * MIB + b"f" * 256)
    return FileImage(path, writable=True)


def test_read_only_images_are_padded_to_sectors() -> None:
    """The last sector ends in zeros."""
    image = sector_view(BytesImage(b"x" * 700))
    assert (image.size, sector_size(image)) == (1024, 1024)
    assert image.read_at(699, 3) == b"x\0\0"


def test_whole_sectors_are_left_alone() -> None:
    """No layer where none is needed."""
    image = BytesImage(bytes(1024))
    assert sector_view(image) is image


def test_writable_images_lose_their_odd_end(disk: FileImage) -> None:
    """They can't grow."""
    assert sector_view(disk) is disk
    assert sector_size(disk) == 3 * MIB


def test_reads_in_memory_take_no_step() -> None:
    """Answered at once."""
    assert read_in_memory(BytesImage(b"abcdef"), command(CommandType.READ, 1, 3)) == b"bcd"


@pytest.mark.parametrize(("kind", "length"), [(CommandType.READ, MIB + 512), (CommandType.CACHE, 512)])
def test_large_reads_and_other_commands_are_for_the_pool(kind: CommandType, length: int) -> None:
    """They would hold up the loop."""
    assert read_in_memory(BytesImage(bytes(2 * MIB)), command(kind, 0, length)) is None


def test_read_is_one_step(disk: FileImage) -> None:
    """Its result is the data."""
    assert carry_out(disk, command(CommandType.READ, MIB - 1, 2)) == [b"d\0"]


def test_write_is_written(disk: FileImage) -> None:
    """At its offset."""
    assert carry_out(disk, command(CommandType.WRITE, 512, 3, data=b"new")) == [None]
    assert disk.read_at(511, 5) == b"dnewd"


def test_zeroes_are_written_in_pieces(disk: FileImage) -> None:
    """Memory stays bounded however long the range."""
    assert len(carry_out(disk, command(CommandType.WRITE_ZEROES, 512, 2 * MIB + 512))) == 3
    assert disk.read_at(511, 2 * MIB + 514) == b"d" + bytes(2 * MIB + 512) + b"e"


class SyncCounter(PaddedImage):
    """A layer that counts how often it is made stable."""

    syncs = 0

    @property
    def writable(self) -> bool:
        """Claims to be."""
        return True

    def sync(self) -> None:
        """Count."""
        type(self).syncs += 1


@pytest.mark.parametrize(
    ("kind", "flags", "syncs"),
    [
        (CommandType.FLUSH, 0, 1),
        (CommandType.READ, 1, 0),
        (CommandType.CACHE, 1, 0),
        (CommandType.CACHE, 0, 0),
    ],
)
def test_when_images_are_made_stable(kind: CommandType, flags: int, syncs: int) -> None:
    """By flush, and not by commands that write nothing."""
    SyncCounter.syncs = 0
    carry_out(SyncCounter(BytesImage(bytes(512)), multiple=512), command(kind, 0, 512, flags))
    assert SyncCounter.syncs == syncs


def test_zeroes_make_holes_unless_told_otherwise(disk: FileImage) -> None:
    """Of the second half's blocks one stays, being asked for."""
    carry_out(disk, command(CommandType.WRITE_ZEROES, 2 * MIB, MIB // 2))
    carry_out(disk, command(CommandType.WRITE_ZEROES, 5 * MIB // 2, MIB // 2, 2))
    assert disk.extents(MIB, 2 * MIB) == [(3 * MIB // 2, True), (MIB // 2, False)]
    assert disk.read_at(2 * MIB, MIB) == bytes(MIB)


def test_trimmed_ranges_take_no_room(disk: FileImage) -> None:
    """They read as zeros; an image that can't do without stays as it is, since trimming is a hint."""
    assert carry_out(disk, command(CommandType.TRIM, 0, MIB // 2)) == [True]
    assert disk.extents(0, MIB) == [(MIB // 2, True), (MIB // 2, False)]
    assert disk.read_at(0, MIB // 2) == bytes(MIB // 2)


@pytest.mark.parametrize("kind", [CommandType.WRITE, CommandType.WRITE_ZEROES, CommandType.TRIM])
def test_fua_syncs_after_writing(disk: FileImage, kind: CommandType) -> None:
    """One step more, and it is the last."""
    asked = command(kind, 0, 512, 1, data=bytes(512) if kind is CommandType.WRITE else b"")
    steps = list(steps_of(disk, asked, NbdLimits()))
    assert len(steps) == 2
    assert steps[-1] == disk.sync


def test_flush_of_a_read_only_image_does_nothing() -> None:
    """There is nothing to make stable."""
    assert carry_out(BytesImage(b""), command(CommandType.FLUSH)) == []


def test_cache_reads_a_bounded_part(disk: FileImage) -> None:
    """A hint about gigabytes is followed for the first megabytes; no data is kept."""
    limits = NbdLimits(cached=MIB + 512)
    assert carry_out(disk, command(CommandType.CACHE, 0, 3 * MIB), limits) == [None, None]


def test_extents_of_a_file(disk: FileImage) -> None:
    """Runs that cover the range."""
    expected = [(MIB, False), (MIB, True), (MIB, False)]
    assert carry_out(disk, command(CommandType.BLOCK_STATUS, 0, 3 * MIB)) == [expected]


def test_extents_are_asked_in_windows(disk: FileImage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that span windows are joined."""
    monkeypatch.setattr(exchange, "EXTENT_WINDOW", MIB // 2)
    expected = [(MIB, False), (MIB, True), (MIB, False)]
    assert carry_out(disk, command(CommandType.BLOCK_STATUS, 0, 3 * MIB)) == [expected]


def test_extents_stop_once_there_are_enough(disk: FileImage, monkeypatch: pytest.MonkeyPatch) -> None:
    """REQ_ONE needs the start of the second run to know the first whole, and no more."""
    monkeypatch.setattr(exchange, "EXTENT_WINDOW", MIB // 2)
    (found,) = carry_out(disk, command(CommandType.BLOCK_STATUS, 0, 3 * MIB, CommandFlag.REQ_ONE))
    assert found == [(MIB, False), (MIB // 2, True)]


def test_a_step_raises_what_the_image_raises() -> None:
    """The caller turns it into a reply."""
    with pytest.raises(StorageError):
        carry_out(BytesImage(b""), command(CommandType.READ, 0, 512))
