"""Everything a reader can be asked of an image, whose bytes may be anything; what fuzzers and mutation tests call."""

from contextlib import suppress

from storage.image import BytesImage
from storage.squashfs import Cache, Kind, Squashfs, SquashfsError, filesystem

ENTRIES_MOST = 500  # of a damaged image: it may claim any number
PART = 5000  # bytes read at either end of a file
WHOLE = 65536  # bytes: larger files are not read to their end
BLOCKS = Cache(4 << 20)
METADATA = Cache(4 << 20)


def exercise(data: bytes) -> int:
    """Open, walk, look up and read; returns how many entries could be read without an error.

    Errors of the three classes are what a damaged image may raise, each with a place; anything else gets out.
    """
    try:
        image = filesystem.open(BytesImage(data), blocks=BLOCKS, metadata=METADATA)
    except SquashfsError as error:
        require_place(error)
        return 0
    seen = good = 0
    with suppress(SquashfsError):
        for path, entry in image.walk():
            seen += 1
            if seen > ENTRIES_MOST:
                break
            good += exercise_entry(image, path, entry.reference)
    return good


def exercise_entry(image: Squashfs, path: bytes, reference: int) -> bool:
    """All there is of one inode; whether it could be read."""
    try:
        status = image.status(reference)
        image.xattrs(reference)
        if status.kind is Kind.SYMLINK:
            image.readlink(reference)
        elif status.kind is Kind.FILE:
            exercise_file(image, reference)
        if status.number <= image.summary.inodes and image.summary.flags & 0x80:
            with suppress(OSError):
                image.find_number(status.number)
        with suppress(OSError):
            image.lookup(path)
    except SquashfsError as error:
        require_place(error)
        return False
    return True


def exercise_file(image: Squashfs, reference: int) -> None:
    """Its start, its end, what memory has of it, its holes."""
    file = image.open_file(reference)
    part = min(PART, file.size)
    assert len(file.read_at(0, part)) == part
    assert len(file.read_at(file.size - part, part)) == part
    again = file.read_at_now(0, part)
    assert again is None or len(again) == part
    assert sum(length for length, _ in file.extents(0, part)) == part
    assert file.place_at(0, part) is None  # it is no file that has them
    if file.size < WHOLE:
        assert b"".join(data for _, _, data in image.read_files([reference])) == file.read_at(0, file.size)


def require_place(error: SquashfsError) -> None:
    """Every error says what is wrong, and at which byte."""
    assert error.message
    assert 0 <= error.offset < 1 << 64
