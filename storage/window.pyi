"""Windows: a stretch of an image that is an image by itself, such as a file that lies whole inside an ISO."""

from typing import Any

from storage.image import Image

class WindowImage(Image):
    """A read-only layer: `length` bytes of `base` from `start` on. Raises: ValueError where that leaves the base."""

    def __init__(self, base: Image, start: int, length: int) -> None: ...
    @property
    def base(self) -> Image: ...
    @property
    def start(self) -> int: ...

__test__: dict[str, Any]
