"""storage.squashfs.codecs: what is compressed elsewhere is unpacked here, and nothing else is."""

import errno
import lzma
import random
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StorageError
from storage.squashfs.codecs import unpack_block
from storage.squashfs.values import Compressor
from tests.storage.squashfs.trees import content

GZIP, LZMA, LZO, XZ, LZ4, ZSTD = (
    Compressor.GZIP, Compressor.LZMA, Compressor.LZO, Compressor.XZ, Compressor.LZ4, Compressor.ZSTD,
)  # fmt: skip
NAME = b"rootwire"
LAST_LITERALS = {  # the same eight bytes as each format has them uncompressed, by its specification
    LZ4: bytes([len(NAME) << 4]) + NAME,
    LZO: bytes([17 + len(NAME)]) + NAME + b"\x11\0\0",
    ZSTD: bytes.fromhex("28b52ffd2008") + (1 | len(NAME) << 3).to_bytes(3, "little") + NAME,
}
WORDS = content("words", 70_000)
DICTIONARY = 1 << 20  # bytes: the largest block's


def alone(data: bytes, *, size: int) -> bytes:
    """LZMA as mksquashfs writes it: the size stands in the header, an end mark behind the data."""
    packed = lzma.compress(data, lzma.FORMAT_ALONE, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": DICTIONARY}])
    return packed[:5] + struct.pack("<Q", size) + packed[13:]


FILTERS = [{"id": lzma.FILTER_LZMA2, "dict_size": DICTIONARY}]
PACKED = {GZIP: zlib.compress(WORDS, 9), XZ: lzma.compress(WORDS, filters=FILTERS), LZMA: alone(WORDS, size=len(WORDS))}
EVERY = {codec: (packed, WORDS) for codec, packed in PACKED.items()} | {
    codec: (packed, NAME) for codec, packed in LAST_LITERALS.items()
}


def unpacked_bytes(codec: int, packed: bytes, room: int) -> int:
    """How many bytes come out, 0 where one of the two errors does that damage may raise."""
    try:
        return len(unpack_block(codec, packed, room))
    except StorageError as error:
        if error.errno not in (errno.EIO, errno.EOPNOTSUPP):
            raise
        return 0


def errno_of(codec: int, packed: bytes, room: int) -> int:
    """The errno of the StorageError that unpacking must raise."""
    with pytest.raises(StorageError) as raised:
        unpack_block(codec, packed, room)
    return raised.value.errno


@pytest.mark.parametrize("codec", EVERY)
def test_unpacks(codec: Compressor) -> None:
    """What was packed, with just enough room and with more."""
    packed, plain = EVERY[codec]
    assert unpack_block(codec, packed, len(plain)) == unpack_block(codec, packed, len(plain) + 1000) == plain


@pytest.mark.parametrize("codec", EVERY)
def test_never_writes_more_than_there_is_room(codec: Compressor) -> None:
    """A bomb is an error."""
    packed, plain = EVERY[codec]
    assert errno_of(codec, packed, len(plain) - 1) == errno_of(codec, packed, 0) == errno.EIO


@pytest.mark.parametrize("codec", EVERY)
def test_cut_short(codec: Compressor) -> None:
    """Every length but the whole is an error."""
    packed, plain = EVERY[codec]
    for length in range(0, len(packed), max(1, len(packed) // 50)):
        assert errno_of(codec, packed[:length], len(plain)) == errno.EIO


@pytest.mark.parametrize("codec", list(Compressor))
@given(packed=st.binary(max_size=300), room=st.integers(0, 5000))
def test_random_bytes(codec: int, packed: bytes, room: int) -> None:
    """Are either something that fits, or one of two errors."""
    assert unpacked_bytes(codec, packed, room) <= room


@pytest.mark.parametrize("codec", EVERY)
def test_damaged(codec: Compressor) -> None:
    """A flipped bit gives an error, or bytes that fit; and the decompressor is as good as before."""
    packed, plain = EVERY[codec]
    source = random.Random(7)
    for _ in range(300):
        damaged = bytearray(packed)
        damaged[source.randrange(len(packed))] ^= 1 << source.randrange(8)
        assert unpacked_bytes(codec, bytes(damaged), len(plain)) <= len(plain)
    assert unpack_block(codec, packed, len(plain)) == plain


@pytest.mark.parametrize("check", [lzma.CHECK_CRC32, lzma.CHECK_CRC64, lzma.CHECK_SHA256])
def test_xz_checks_what_it_unpacked(check: int) -> None:
    """By whichever check a block has: a block that stores its bytes, and one of them another."""
    plain = random.Random(3).randbytes(3000)
    packed = lzma.compress(plain, check=check, filters=FILTERS)
    at = packed.index(plain[1000:1020])
    assert unpack_block(XZ, packed, len(plain)) == plain
    assert errno_of(XZ, packed[:at] + b"x" * 20 + packed[at + 20 :], len(plain)) == errno.EIO


def test_xz_without_a_check() -> None:
    """Nothing is looked for where there is none."""
    assert unpack_block(XZ, lzma.compress(WORDS, check=lzma.CHECK_NONE, filters=FILTERS), len(WORDS)) == WORDS


def test_xz_of_several_streams() -> None:
    """One behind the other is no block of squashfs."""
    packed = lzma.compress(NAME, check=lzma.CHECK_CRC32, filters=FILTERS)
    assert errno_of(XZ, packed + packed, 2 * len(NAME)) == errno.EIO


@pytest.mark.parametrize("form", [lzma.FORMAT_XZ, lzma.FORMAT_ALONE])
def test_dictionaries_beyond_any_block(form: int) -> None:
    """64 MiB of memory for one block is refused, whatever the block says."""
    filters = [{"id": lzma.FILTER_LZMA2 if form == lzma.FORMAT_XZ else lzma.FILTER_LZMA1, "dict_size": 64 << 20}]
    packed = lzma.compress(WORDS, form, filters=filters)
    assert errno_of(XZ if form == lzma.FORMAT_XZ else LZMA, packed, len(WORDS)) == errno.EOPNOTSUPP


@pytest.mark.parametrize(("codec", "packed", "room"), [(0, b"", 1), (7, b"", 1), (1, b"", (1 << 20) + 1)])
def test_numbers_out_of_range(codec: int, packed: bytes, room: int) -> None:
    """The caller's bug."""
    with pytest.raises(ValueError, match="block"):
        unpack_block(codec, packed, room)
