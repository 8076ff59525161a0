"""Image reads from the event loop: at once where memory has the bytes, else on a pool thread."""

import asyncio

from storage.image import Image


async def read(image: Image, offset: int, length: int) -> bytes:
    """Exactly `length` bytes of `image` at `offset`, without ever holding up the event loop.

    Raises: StorageError as `Image.read_at` does.
    """
    ready = image.read_at_now(offset, length)
    if ready is not None:
        return ready
    return await asyncio.get_running_loop().run_in_executor(None, image.read_at, offset, length)
