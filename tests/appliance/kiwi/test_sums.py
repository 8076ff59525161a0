"""Checksum files in the forms with three and five fields."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.kiwi.sums import BLOCK_LIMIT, ChecksumLine, checksum_line, parse_checksum_line

DIGEST = hashlib.md5(b"").hexdigest()
SIZES = st.integers(1, 1 << 42)


@pytest.mark.parametrize(("size", "blocks", "block"), [(183500800, 22400, 8192), (419430400, 51200, 8192)])
def test_sizes_are_factored_as_kiwis_builder_does(size: int, blocks: int, block: int) -> None:
    """The figures of the contract's fixtures A and B."""
    assert checksum_line(DIGEST, size) == f"{DIGEST} {blocks} {block}\n".encode()


@given(SIZES, st.none() | SIZES)
def test_a_line_read_back_says_the_exact_sizes(size: int, packed: int | None) -> None:
    """The client reads exactly that many bytes back, whatever the size's factors are."""
    line = checksum_line(DIGEST, size, packed)
    assert parse_checksum_line(line) == ChecksumLine(DIGEST, size, packed)
    assert all(int(block) <= BLOCK_LIMIT for block in line.split()[2::2])


@pytest.mark.parametrize("text", [b"", b"x 1 1", DIGEST.encode(), DIGEST.encode() + b" 1 2 3", b"\xff" * 2000])
def test_other_text_is_no_checksum_file(text: bytes) -> None:
    """Of a web server's error page, md5sum's own output, a line cut off."""
    with pytest.raises(ValueError, match="no checksum file"):
        parse_checksum_line(text)
