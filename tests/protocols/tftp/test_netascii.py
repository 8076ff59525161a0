"""netascii: the edge cases, and pieces cut anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.tftp.netascii import Decoder, encode

PAIRS = {
    "line": (b"a\nb", b"a\r\nb"),
    "bare CR": (b"a\rb", b"a\r\0b"),
    "CR LF in the file": (b"a\r\nb", b"a\r\0\r\nb"),
    "only LF": (b"\n\n", b"\r\n\r\n"),
    "CR at the end": (b"a\r", b"a\r\0"),
    "a NUL of its own": (b"a\0b", b"a\0b"),
    "nothing": (b"", b""),
}
texts = st.lists(st.sampled_from([b"\r", b"\n", b"\0", b"a", b"bc"]), max_size=40).map(b"".join)


def decode_in_pieces(encoded: bytes, cut: int) -> bytes:
    """Decode in pieces of `cut` bytes, the last shorter or empty, as blocks come."""
    decoder = Decoder()
    pieces = [encoded[i : i + cut] for i in range(0, len(encoded) + 1, cut)]
    return b"".join(decoder.decode(piece, is_last=piece is pieces[-1]) for piece in pieces[:-1]) + decoder.decode(
        pieces[-1], is_last=True
    )


@pytest.mark.parametrize(("plain", "encoded"), PAIRS.values(), ids=PAIRS)
def test_encode(plain: bytes, encoded: bytes) -> None:
    """LF and CR each become two bytes."""
    assert encode(plain) == encoded


@pytest.mark.parametrize(("plain", "encoded"), PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("cut", [1, 2, 3, 100])
def test_decode_in_pieces(plain: bytes, encoded: bytes, cut: int) -> None:
    """The way back, wherever blocks end."""
    assert decode_in_pieces(encoded, cut) == plain


def test_a_cr_before_another_byte_stays() -> None:
    """Against the RFC, but nothing is lost."""
    assert decode_in_pieces(b"a\rb\r", 2) == b"a\rb\r"


@given(texts, st.integers(1, 9))
def test_round_trip(plain: bytes, cut: int) -> None:
    """Encoding and decoding give the text back, whatever the cuts."""
    assert decode_in_pieces(encode(plain), cut) == plain
