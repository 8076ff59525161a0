"""Decompressed blocks, shared by all images, clients and threads; a fixed number of bytes."""

from typing import Any

CAPACITY_LEAST: int

class Cache:
    """Room for `capacity` bytes (CAPACITY_LEAST or more) of blocks; the block not used for longest goes first.

    Raises: ValueError when that is too small, MemoryError.
    """

    def __init__(self, capacity: int) -> None: ...
    @property
    def capacity(self) -> int:
        """The most bytes it ever holds."""
    @property
    def used(self) -> int:
        """Bytes it holds now."""
    @property
    def hits(self) -> int:
        """How often a block was there, or just being loaded by another."""
    @property
    def misses(self) -> int:
        """How often one had to be loaded: the number of decompressions."""
    @property
    def waits(self) -> int:
        """How many of the hits waited for another's load."""
    @property
    def evictions(self) -> int:
        """How many blocks went to make room."""

__test__: dict[str, Any]
