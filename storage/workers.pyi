"""Native threads that carry out image operations which may block: the cold half of every pump."""

from storage.image import Image

THREADS: int
QUEUE_MOST: int

class Workers:
    """The threads and their queue; pumps open lanes to it by `cimport`. Closing waits for what is under way."""

    def __init__(self) -> None: ...
    def read(self, image: Image, ranges: list[tuple[int, int]]) -> list[bytes | int]:
        """Read (offset, length) ranges all at once and wait for them: their bytes, or a negative errno.

        What pumps do, in a form that tests can call. Raises: OSError (EAGAIN) for more ranges than the queue holds,
        ValueError once closed.
        """
    def close(self) -> None:
        """Finish what is queued, then end the threads. A second call is nothing."""
