"""storage.pool: the event loop reads what memory has, threads wait for the rest."""

import threading
from typing import cast

import pytest

from storage import pool
from storage.errors import StorageError
from storage.image import BytesImage, Image


class SlowImage:
    """An image of which nothing is in memory; remembers which thread did what."""

    def __init__(self) -> None:
        self.done: list[tuple[str, bool]] = []

    def _note(self, what: str) -> None:
        self.done.append((what, threading.current_thread() is threading.main_thread()))

    def read_at_now(self, offset: int, length: int) -> bytes | None:
        """Never there."""
        self._note("now")
        return None

    def read_at(self, offset: int, length: int) -> bytes:
        """After waiting."""
        self._note("read")
        return bytes(length)


async def test_what_is_in_memory_is_read_at_once() -> None:
    """Without a thread."""
    before = threading.active_count()
    assert await pool.read(BytesImage(b"content"), 1, 3) == b"ont"
    assert threading.active_count() == before


async def test_waiting_is_done_by_threads() -> None:
    """The loop's own thread only asks what is there."""
    slow = SlowImage()
    image = cast(Image, slow)
    assert await pool.read(image, 0, 5) == bytes(5)
    assert slow.done == [("now", True), ("read", False)]


async def test_errors_come_through() -> None:
    """From the loop's thread."""
    with pytest.raises(StorageError):
        await pool.read(BytesImage(b"x"), 0, 2)
