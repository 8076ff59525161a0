"""Bytes of an archive in order, in whatever chunks they come, with an end to how many there may be."""

from collections.abc import Callable, Iterator

from appliance.deployment.streams import ArchiveError


class ByteStream:
    """Reads some bytes, passes over others; none of its methods keeps more than was asked for and one chunk."""

    def __init__(self, chunks: Iterator[bytes], spend: Callable[[int], None]) -> None:
        """`spend` is told how many bytes each chunk has, and raises ArchiveError where that is enough."""
        self._chunks = chunks
        self._spend = spend
        self._chunk = b""
        self._at = 0
        self.position = 0

    def _fill(self) -> bool:
        while self._at == len(self._chunk):
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._spend(len(chunk))
            self._chunk, self._at = chunk, 0
        return True

    def skip_padding(self) -> bool:
        """Pass over NULs; whether anything comes after them."""
        while self._fill():
            rest = self._chunk[self._at :]
            kept = rest.lstrip(b"\0")
            self._advance(len(rest) - len(kept))
            if kept:
                return True
        return False

    def peek(self, length: int) -> bytes:
        """Up to `length` bytes that the next read gives."""
        while len(self._chunk) - self._at < length:
            more = next(self._chunks, None)
            if more is None:
                break
            self._spend(len(more))
            self._chunk, self._at = self._chunk[self._at :] + more, 0
        return self._chunk[self._at : self._at + length]

    def read(self, length: int) -> bytes:
        """Exactly `length` bytes."""
        return b"".join(self.pieces(length))

    def skip(self, length: int) -> None:
        """Pass over `length` bytes."""
        for _ in self.pieces(length):
            pass

    def pieces(self, length: int) -> Iterator[bytes]:
        """Exactly `length` bytes, in pieces as they come."""
        while length:
            if not self._fill():
                raise ArchiveError("is cut off")
            piece = self._chunk[self._at : self._at + length]
            self._advance(len(piece))
            length -= len(piece)
            yield piece

    def _advance(self, length: int) -> None:
        self._at += length
        self.position += length
