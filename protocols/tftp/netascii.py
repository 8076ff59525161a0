"""netascii, as TFTP means it: CR LF ends a line, CR NUL is a bare CR (RFC 764 by way of RFC 1350 §1).

Both ways work on pieces of any size, cut anywhere. Leaves out: any change of the eighth bit.
"""


def encode(piece: bytes) -> bytes:
    """LF becomes CR LF and CR becomes CR NUL; each byte stands for itself alone, so pieces need no memory."""
    return piece.replace(b"\r", b"\r\0").replace(b"\n", b"\r\n")


class Decoder:
    """Turns CR LF into LF and CR NUL into CR, also where a block ends between the two."""

    __slots__ = ("_held_cr",)

    def __init__(self) -> None:
        self._held_cr = False

    def decode(self, piece: bytes, *, is_last: bool) -> bytes:
        """The plain text of a piece; a CR at its end waits for the next unless `is_last`.

        A CR before anything but LF or NUL is against the RFC and stays as it is.
        """
        text = b"\r" + piece if self._held_cr else piece
        self._held_cr = text.endswith(b"\r") and not is_last
        if self._held_cr:
            text = text[:-1]
        return text.replace(b"\r\n", b"\n").replace(b"\r\0", b"\r")
