"""Image reads and writes from the event loop: at once where memory has the bytes, else on a pool thread."""

import asyncio

from typing_extensions import Buffer

from storage.image import Image


async def read(image: Image, offset: int, length: int) -> bytes:
    """Exactly `length` bytes of `image` at `offset`, without ever holding up the event loop.

    Raises: StorageError as `Image.read_at` does.
    """
    ready = image.read_at_now(offset, length)
    if ready is not None:
        return ready
    return await asyncio.get_running_loop().run_in_executor(None, image.read_at, offset, length)


async def write(image: Image, offset: int, data: Buffer) -> None:
    """Write `data` at `offset` on a pool thread. Raises: StorageError as `Image.write_at` does."""
    await asyncio.get_running_loop().run_in_executor(None, image.write_at, offset, data)


async def flush(image: Image) -> None:
    """Wait, on a pool thread, until every completed write is stable. Raises: StorageError."""
    await asyncio.get_running_loop().run_in_executor(None, image.sync)
