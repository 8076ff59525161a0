"""What NBD's options carry, as bytes and values: exports asked for, the facts told of them, metadata queries.

NBD proto.md: Option types, Option reply types. Every parser wants its data whole and refuses bytes left over:
an option's length is known before its data.
"""

import struct
from dataclasses import dataclass

from protocols.errors import WireError
from protocols.nbd.wire import COUNT, LENGTH, InfoType, TransmissionFlag, parse_text


@dataclass(frozen=True, slots=True)
class InfoRequest:
    """The data of INFO and GO: an export and the facts wanted of it."""

    name: str
    wanted: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MetaRequest:
    """The data of LIST_META_CONTEXT and SET_META_CONTEXT: an export and the contexts wanted."""

    name: str
    queries: tuple[str, ...]


class Cursor:
    """Reads fields off the data of one option; raises WireError instead of going past its end."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def number(self, layout: struct.Struct) -> int:
        """The next field of a one-number layout."""
        if self.at + layout.size > len(self.data):
            raise WireError("option data ends inside a number", self.at)
        (value,) = layout.unpack_from(self.data, self.at)
        self.at += layout.size
        return int(value)

    def text(self) -> str:
        """The next string: 32 bits of length, then UTF-8."""
        length = self.number(LENGTH)
        if self.at + length > len(self.data):
            raise WireError("option data ends inside a string", self.at)
        text = parse_text(self.data[self.at : self.at + length], self.at)
        self.at += length
        return text

    def end(self) -> None:
        """Raises: WireError when bytes are left over."""
        if self.at != len(self.data):
            raise WireError("option data goes on past its end", self.at)


def build_text(text: str) -> bytes:
    """A string with its length before it."""
    data = text.encode()
    return LENGTH.pack(len(data)) + data


#   INFO, GO (client)                                     Meta contexts (client)
#   | length | name... | count | type | type ...          | length | name... | count | length | query... | ...
#   | 4      | length  | 2     | 2    |                   | 4      | length  | 4     | 4      | length   |


def parse_info_request(data: bytes) -> InfoRequest:
    """The data of INFO or GO, to its last byte. Raises: WireError."""
    cursor = Cursor(data)
    name = cursor.text()
    wanted = tuple(cursor.number(COUNT) for _ in range(cursor.number(COUNT)))
    cursor.end()
    return InfoRequest(name, wanted)


def build_info_request(asked: InfoRequest) -> bytes:
    """The data of INFO or GO."""
    return build_text(asked.name) + b"".join(COUNT.pack(n) for n in (len(asked.wanted), *asked.wanted))


def parse_meta_request(data: bytes) -> MetaRequest:
    """The data of LIST_META_CONTEXT or SET_META_CONTEXT, to its last byte. Raises: WireError."""
    cursor = Cursor(data)
    name = cursor.text()
    # A count is no size: the data itself, bounded by its option, ends the loop.
    queries = tuple(cursor.text() for _ in range(cursor.number(LENGTH)))
    cursor.end()
    return MetaRequest(name, queries)


def build_meta_request(asked: MetaRequest) -> bytes:
    """The data of LIST_META_CONTEXT or SET_META_CONTEXT."""
    queries = b"".join(map(build_text, asked.queries))
    return build_text(asked.name) + LENGTH.pack(len(asked.queries)) + queries


#   Facts in an INFO reply: 2 bytes of type, then
#   EXPORT | size 8 | flags 2 |   NAME, DESCRIPTION | text... |   BLOCK_SIZE | minimum 4 | preferred 4 | maximum 4 |


def build_export_fact(size: int, flags: TransmissionFlag) -> bytes:
    """The one fact that every successful INFO or GO tells."""
    return struct.pack(">HQH", InfoType.EXPORT, size, flags)


def build_text_fact(kind: InfoType, text: str) -> bytes:
    """The export's canonical name, or its description."""
    return COUNT.pack(kind) + text.encode()


def build_block_size_fact(minimum: int, preferred: int, maximum: int) -> bytes:
    """The block sizes, in bytes, that a client which asked for them keeps to."""
    return struct.pack(">HIII", InfoType.BLOCK_SIZE, minimum, preferred, maximum)


def build_meta_context(number: int, name: str) -> bytes:
    """The data of a META_CONTEXT reply."""
    return LENGTH.pack(number) + name.encode()
