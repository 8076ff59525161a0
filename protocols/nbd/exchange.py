"""What NBD commands do to an image, as short blocking steps; no protocol, no socket, no thread of its own.

Each step is bounded in memory and time, so that a command over gigabytes shares the pool with other clients'
reads, and ends between two steps when its connection does.
"""

from collections.abc import Callable, Iterator
from functools import partial

from protocols.nbd.limits import NbdLimits
from protocols.nbd.transmission import Command, merge_runs
from protocols.nbd.wire import CommandFlag, CommandType
from storage.image import Image, PaddedImage

SECTOR = 512  # bytes; exports are whole sectors, or kernels cut their end off (quirks N-2)
PIECE = 1 << 20  # bytes of one step, where the step and not the request sets the size
EXTENT_WINDOW = 64 << 20  # bytes asked of the file system at once: at worst 16384 runs of one page
INLINE_MOST = 1 << 20  # bytes; copying more than this would hold up the event loop for a millisecond
_ZEROS = bytes(PIECE)
_CHANGES = (CommandType.WRITE, CommandType.WRITE_ZEROES, CommandType.TRIM)

Result = bytes | list[tuple[int, bool]] | bool | None
Step = Callable[[], Result]


def sector_view(image: Image) -> Image:
    """The image in whole sectors: a read-only one gets zeros up to the next; see `sector_size` for others."""
    if image.writable or not image.size % SECTOR:
        return image
    return PaddedImage(image, multiple=SECTOR)


def sector_size(image: Image) -> int:
    """The bytes to export; a writable image can't grow, so the end of it that is no whole sector is left out."""
    return image.size // SECTOR * SECTOR


def read_in_memory(image: Image, command: Command) -> bytes | None:
    """The bytes of a READ where that takes no waiting, else None. Raises: StorageError."""
    if command.type is not CommandType.READ or command.length > INLINE_MOST:
        return None
    return image.read_at_now(command.offset, command.length)


def steps_of(image: Image, command: Command, limits: NbdLimits) -> Iterator[Step]:
    """What to call, in order, on a pool thread; the last result is the command's. Steps raise StorageError."""
    match command.type:
        case CommandType.READ:
            yield partial(image.read_at, command.offset, command.length)
        case CommandType.WRITE:
            yield partial(image.write_at, command.offset, command.data)
        case CommandType.WRITE_ZEROES:
            may_punch = not command.flags & CommandFlag.NO_HOLE
            for at, length in _pieces(command.offset, command.length):
                yield partial(_zero, image, at, length, may_punch)
        case CommandType.TRIM:
            yield partial(image.punch_at, command.offset, command.length)
        case CommandType.CACHE:
            for at, length in _pieces(command.offset, min(command.length, limits.cached)):
                yield partial(_warm, image, at, length)
        case CommandType.BLOCK_STATUS:
            yield partial(_runs, image, command, limits.extents)
        case CommandType.FLUSH if image.writable:
            yield image.sync
    if command.flags & CommandFlag.FUA and command.type in _CHANGES:
        yield image.sync


def _pieces(offset: int, length: int) -> Iterator[tuple[int, int]]:
    for at in range(offset, offset + length, PIECE):
        yield at, min(PIECE, offset + length - at)


def _zero(image: Image, offset: int, length: int, may_punch: bool) -> None:
    if not (may_punch and image.punch_at(offset, length)):
        image.write_at(offset, memoryview(_ZEROS)[:length])


def _warm(image: Image, offset: int, length: int) -> None:
    # Reading is what warms an image of any kind: its file's pages, and what its layers keep above them.
    image.read_at(offset, length)


def _runs(image: Image, command: Command, most: int) -> list[tuple[int, bool]]:
    most = 1 if command.flags & CommandFlag.REQ_ONE else most
    found: list[tuple[int, bool]] = []
    at, end = command.offset, command.offset + command.length
    while at < end and len(found) <= most:  # one more than asked for: only then is the last one wanted known whole
        window = min(EXTENT_WINDOW, end - at)
        found = merge_runs([*found, *image.extents(at, window)])
        at += window
    return found
