"""Checksum files as KIWI's clients read them: NAME.md5, and NAME.sha256 since kiwi 10.2.6.

    SUM BLOCKS BLOCKSIZE [PACKED_BLOCKS PACKED_BLOCKSIZE]

The sum is of the uncompressed image, whose size is the first product; the second is that of the compressed file
(KIWI linuxrc, fetchImageMD5).
"""

import re
from dataclasses import dataclass

BLOCK_LIMIT = 8192  # bytes; the largest block size kiwi 8 and later write into a checksum file
LINE_MAX = 1024  # bytes of a checksum file that are read: a sha512 with five fields needs 200

_LINE = re.compile(rb"\s*([0-9A-Fa-f]{32,128})((?:\s+[0-9]{1,18}){2,4})\s*")


@dataclass(frozen=True, slots=True)
class ChecksumLine:
    """What a checksum file says; sizes in bytes, `packed` that of the compressed file where there is one."""

    digest: str
    size: int
    packed: int | None = None


def checksum_line(digest: str, size: int, packed: int | None = None) -> bytes:
    """The text of a checksum file; `size` and `packed` (bytes, over 0) come out as exact products."""
    fields = [digest, *_factor(size), *(_factor(packed) if packed is not None else ())]
    return f"{' '.join(map(str, fields))}\n".encode()


def parse_checksum_line(text: bytes) -> ChecksumLine:
    """What the file says. Raises: ValueError when it isn't one, or has neither three nor five fields."""
    found = _LINE.fullmatch(text[:LINE_MAX])
    numbers = [int(number) for number in found[2].split()] if found else []
    if found is None or len(numbers) == 3:
        raise ValueError("is no checksum file of KIWI's: SUM BLOCKS BLOCKSIZE, and two more for a compressed image")
    packed = numbers[2] * numbers[3] if len(numbers) == 4 else None
    return ChecksumLine(found[1].decode().lower(), numbers[0] * numbers[1], packed)


def _factor(size: int) -> tuple[int, int]:
    """`size` as blocks and block size: its prime factors in rising order up to BLOCK_LIMIT, as KIWI's builder does."""
    block, rest, factor = 1, size, 2
    while rest > 1 and block * factor <= BLOCK_LIMIT:
        if rest % factor:
            factor += 1
        else:
            block *= factor
            rest //= factor
    return size // block, block
