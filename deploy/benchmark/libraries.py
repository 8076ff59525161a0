"""What the compressors' libraries alone need for the data of an image: no reader that uses them can be faster."""

import os
from collections.abc import Callable

from storage.image import FileImage
from storage.squashfs import Kind
from storage.squashfs.codecs import unpack_block
from tests.storage.squashfs import twin

METADATA_BYTES = 8192  # of a block of metadata, decompressed


class _Collector(twin.Squashfs):
    """Keeps every compressed block and fragment of data, and makes none of it."""

    def __init__(self, image: str) -> None:
        opened = FileImage(image)
        self.codec = int.from_bytes(opened.read_at(20, 2), "little")
        super().__init__(opened, lambda data: unpack_block(self.codec, data, METADATA_BYTES))
        self.found: dict[int, bytes] = {}

    def _block(self, place: int, packed: int) -> bytes:
        if not packed & twin.STORED_BLOCK:
            self.found[place] = self.data[place : place + packed]
        return bytes(self.block_size)


def libraries(image: str, processes: int) -> Callable[[], tuple[int, int]]:
    """An action: decompress each block of an image once, into memory that is used again and again, on so many cores."""
    collector = _Collector(image)
    for _, entry in collector.walk():
        if entry.kind is Kind.FILE:
            collector.open_file(entry.reference)
    codec = collector.codec
    sizes = {place: len(unpack_block(codec, data, collector.block_size)) for place, data in collector.found.items()}
    blocks = [(data, sizes[place]) for place, data in sorted(collector.found.items())]

    def work(first: int) -> None:
        for data, size in blocks[first::processes]:
            unpack_block(codec, data, size)

    def once() -> tuple[int, int]:
        # Processes: threads would hand each other the GIL after every block, which no native reader does.
        others = [_fork(work, first) for first in range(1, processes)]
        work(0)
        for other in others:
            if os.waitpid(other, 0)[1] != 0:
                raise ChildProcessError(f"process {other} failed")
        return len(blocks), sum(sizes.values())

    return once


def _fork(work: Callable[[int], None], first: int) -> int:
    if process := os.fork():
        return process
    status = 1
    try:
        work(first)
        status = 0
    finally:
        os._exit(status)
