"""Images whose bytes are dear, such as files inside a squashfs: kept in a store as they are read."""

from typing import Any

from storage.image import Image

class UnpackedImage(Image):
    """A read-only layer over `base`; what was read through it once is in `store`, which nobody else may write to.

    Errors are the base's; a store without room is one that keeps less. Raises: ValueError unless the store is writable
    and as large as the base.
    """

    def __init__(self, base: Image, store: Image) -> None: ...
    @property
    def base(self) -> Image: ...
    @property
    def store(self) -> Image: ...
    @property
    def kept(self) -> int:
        """How many bytes are in the store; those that a file has as they are stay there."""

__test__: dict[str, Any]
