"""Files as numbered blocks: all bytes, in order, whatever the sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.tftp.content import READ_AHEAD, Content, NetasciiContent, OctetContent
from protocols.tftp.netascii import encode


def read_blocks(content: Content, plain: bytes, blksize: int, window: int) -> list[bytes]:
    """Every block, by windows, each window asked for only once the one before is done."""
    blocks: list[bytes] = []
    while not blocks or len(blocks[-1]) == blksize:
        first = len(blocks) + 1
        while (wanted := content.require(first, window)) is not None:
            offset, length = wanted
            assert 0 < length <= len(plain) - offset
            content.supply(offset, plain[offset : offset + length])
        for number in range(first, first + window):
            blocks.append(bytes(content.payload(number)))
            if len(blocks[-1]) < blksize:
                break
        assert content.size_through(len(blocks)) == sum(map(len, blocks))
    return blocks


@given(st.binary(max_size=200), st.integers(8, 20), st.integers(1, 5))
def test_octet_blocks_hold_the_file(plain: bytes, blksize: int, window: int) -> None:
    """The file in pieces of blksize, ended by a shorter one."""
    assert b"".join(read_blocks(OctetContent(len(plain), blksize), plain, blksize, window)) == plain


@given(st.binary(max_size=200), st.integers(8, 20))
def test_netascii_blocks_hold_the_encoded_file(plain: bytes, blksize: int) -> None:
    """The encoded file in pieces of blksize, ended by a shorter one."""
    assert b"".join(read_blocks(NetasciiContent(len(plain), blksize), plain, blksize, 1)) == encode(plain)


@pytest.mark.parametrize("kind", [OctetContent, NetasciiContent])
def test_files_larger_than_one_read(kind: type[OctetContent] | type[NetasciiContent]) -> None:
    """Reads ahead are bounded, and their ends fall inside blocks."""
    plain = bytes(range(256)) * (3 * READ_AHEAD // 256) + b"end\r"
    blocks = read_blocks(kind(len(plain), 1000), plain, 1000, 1)
    assert b"".join(blocks) == (plain if kind is OctetContent else encode(plain))


def test_a_whole_number_of_blocks_ends_with_an_empty_one() -> None:
    """RFC 1350 §6."""
    assert [len(b) for b in read_blocks(OctetContent(16, 8), bytes(16), 8, 1)] == [8, 8, 0]


def test_a_window_that_was_read_is_not_read_again() -> None:
    """Going back inside the read part needs no disk."""
    content = OctetContent(100, 10)
    assert content.require(1, 4) == (0, 100)
    content.supply(0, bytes(100))
    assert content.require(2, 4) is None


def test_bytes_that_came_too_late_are_asked_for_again() -> None:
    """A slow read of a window that the client has meanwhile passed does no harm."""
    content = OctetContent(10 * READ_AHEAD, READ_AHEAD)
    assert content.require(1, 1) == (0, READ_AHEAD)
    assert content.require(2, 1) == (READ_AHEAD, READ_AHEAD)
    content.supply(0, bytes(READ_AHEAD))
    assert content.require(2, 1) == (READ_AHEAD, READ_AHEAD)
