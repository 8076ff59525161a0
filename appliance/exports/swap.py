"""The signature of a swap area, so that a client can use one as it comes (linux/swap.h, union swap_header, version 1).

    0            1024       1028        1032            1036    1052     1068        4086         4096
    | boot block | version | last page | bad pages (0) | uuid  | label  | zeros     | SWAPSPACE2 |

Numbers are in the client's byte order: all of KIWI's clients are little-endian. Pages have 4096 bytes.
"""

import struct
import uuid

PAGE = 4096
SWAP_LEAST = 10 * PAGE  # what mkswap refuses to go below
_HEADER = struct.Struct("<1024xIII16s16s")
_MAGIC = b"SWAPSPACE2"
_LABEL = b"rootwire"


def build_signature(size: int) -> bytes:
    """The first page of an empty swap area of `size` bytes. Raises: ValueError when that is too few, or too many."""
    pages = size // PAGE
    if size < SWAP_LEAST or pages > 1 << 32:
        raise ValueError(f"a swap area has {SWAP_LEAST} to {PAGE << 32} bytes, not {size}")
    header = _HEADER.pack(1, pages - 1, 0, uuid.uuid4().bytes, _LABEL)
    return header.ljust(PAGE - len(_MAGIC), b"\0") + _MAGIC
