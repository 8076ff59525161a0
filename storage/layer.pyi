"""Writable layers: a client's own writes over an image that others share, or over zeros, in one sparse file each."""

from typing import Any

from storage.image import Image

LAYER_CLUSTER: int
"""Bytes that are the layer's or the base's together, and that a quota counts in."""

LAYER_MAP_PAGE: int
"""Bytes of the map that are written at once; what is behind it in the file begins at a multiple."""

def map_bytes(size: int) -> int:
    """How long the map of a layer of `size` bytes with a base is; it begins at the first whole cluster behind them."""

class LayerImage(Image):
    """A writable image of `size` bytes (1 or more) in `store`: over `base` where that is given, else over zeros.

    With a base, the store has room for the map behind the bytes. A base that is shorter goes on with zeros. At most
    `quota` bytes take room in the store (none: all that there are); a write past it fails with ENOSPC and changes
    nothing. `sync` returns once everything written is kept, even if the power fails at once; after it failed it
    always will, for what could not be kept may be lost.
    Raises: ValueError when the store is read-only or too small, StorageError when its map or its holes can't be read.
    """

    def __init__(self, store: Image, *, size: int, quota: int | None = None, base: Image | None = None) -> None: ...
    @property
    def base(self) -> Image | None: ...
    @property
    def store(self) -> Image: ...
    @property
    def quota(self) -> int:
        """The most bytes that may take room."""
    @property
    def used(self) -> int:
        """How many bytes take room in the store, in whole clusters."""

__test__: dict[str, Any]
