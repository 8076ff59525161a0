"""The six compressors of squashfs, each by the C library made for it, without the GIL."""

from typing import Any

def unpack_block(compressor: int, packed: bytes, room: int) -> bytes:
    """What `packed` was made from, if that is no more than `room` bytes (0 to 1 MiB).

    `compressor` is squashfs's number, 1 (gzip) to 6 (zstd).
    Raises: StorageError with EIO when it was not made by that compressor, or is larger; EOPNOTSUPP when it asks for
    more memory than any squashfs block needs. ValueError for numbers out of range.
    """

__test__: dict[str, Any]
