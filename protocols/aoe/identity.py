"""What a target says of itself to IDENTIFY DEVICE: 256 little-endian words.

Speaks ATA/ATAPI-6 (T13/1410D) §8.15, the version that made LBA48. Left out: everything a disk on a cable would say
of timings, DMA and security.
"""

import struct

WORDS = struct.Struct("<256H")
LBA28_SECTORS = 0x0FFFFFFF  # the most that 28 bits count
MODEL = "rootwire AoE target"

LBA_CAPABLE = 1 << 9  # word 49
VALID = 1 << 14  # words 50, 83, 84, 87: bit 14 set and 15 clear says that the word means something
LBA48 = 1 << 10  # words 83, 86. The Linux driver's ataid_complete ORs both and, with this bit, takes words 100 to 103
FLUSH = 1 << 12  # words 83, 86
FLUSH_EXT = 1 << 13
FEATURES = LBA48 | FLUSH | FLUSH_EXT


def build_identity(sectors: int, *, serial: str, firmware: str) -> bytes:
    """The 512 bytes of IDENTIFY DEVICE for a disk of `sectors` (1 to 2**48 - 1) sectors of 512 bytes.

    `serial` (20 characters) and `firmware` (8) are cut or filled with spaces; other than printable ASCII becomes "?".
    """
    words = [0] * 256
    words[0] = 0x0040  # a fixed disk
    words[10:20] = text_words(serial, 10)
    words[23:27] = text_words(firmware, 4)
    words[27:47] = text_words(MODEL, 20)
    words[47] = 0x8000  # no READ MULTIPLE
    words[49] = LBA_CAPABLE
    words[50] = VALID
    words[60:62] = split_words(min(sectors, LBA28_SECTORS), 2)
    words[80] = 1 << 6  # ATA/ATAPI-6
    words[83] = VALID | FEATURES
    words[84] = VALID
    words[86] = FEATURES
    words[87] = VALID
    words[93] = VALID | 0x000B  # how a device on a cable found its number; some initiators want it as vblade says it
    words[100:104] = split_words(sectors, 4)
    add_geometry(words, sectors)
    data = WORDS.pack(*words)
    return data[:-2] + bytes([0xA5, -(sum(data[:-2]) + 0xA5) & 0xFF])


def add_geometry(words: list[int], sectors: int) -> None:
    """Cylinders, heads and sectors, obsolete but read by old initiators; 16383 stands for "too large to say so"."""
    heads, per_track = 16, 63
    cylinders = min(sectors // (heads * per_track), 16383)
    words[1], words[3], words[6] = cylinders, heads, per_track
    words[53] = 1  # words 54 to 58 hold
    words[54:57] = [cylinders, heads, per_track]
    words[57:59] = split_words(cylinders * heads * per_track, 2)


def split_words(value: int, count: int) -> list[int]:
    """A number as `count` words, lowest first."""
    return [value >> 16 * place & 0xFFFF for place in range(count)]


def text_words(text: str, count: int) -> list[int]:
    """ASCII as ATA keeps it: two characters a word, the first in the upper byte."""
    plain = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text)
    raw = plain[: 2 * count].ljust(2 * count).encode("ascii")
    return [upper << 8 | lower for upper, lower in zip(raw[::2], raw[1::2], strict=True)]
