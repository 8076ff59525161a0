"""NBD's messages as bytes and values: fixed newstyle handshake, requests, simple and structured replies.

NBD proto.md: Handshake phase, Transmission phase, Values. All numbers are big-endian. Left out: oldstyle
negotiation, TLS, extended headers, and every metadata context but `base:allocation`.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from typing_extensions import Buffer

from protocols.errors import WireError

GREETING_MAGIC = 0x4E42444D41474943  # "NBDMAGIC"
OPTION_MAGIC = 0x49484156454F5054  # "IHAVEOPT"
OPTION_REPLY_MAGIC = 0x0003E889045565A9
REQUEST_MAGIC = 0x25609513
SIMPLE_REPLY_MAGIC = 0x67446698
STRUCTURED_REPLY_MAGIC = 0x668E33EF

STRING_MAX = 4096  # bytes of a name, query or message: proto.md, Values: Strings
EXPORT_NAME_PADDING = 124  # zero bytes after an EXPORT_NAME answer, unless both sides agreed to leave them out
ALLOCATION_CONTEXT = "base:allocation"

GREETING = struct.Struct(">QQH")
CLIENT_FLAGS = struct.Struct(">I")
OPTION_HEADER = struct.Struct(">QII")
OPTION_REPLY_HEADER = struct.Struct(">QIII")
EXPORT_NAME_REPLY = struct.Struct(">QH")
REQUEST = struct.Struct(">IHHQQI")
SIMPLE_REPLY = struct.Struct(">IIQ")
CHUNK = struct.Struct(">IHHQI")
LENGTH = struct.Struct(">I")
COUNT = struct.Struct(">H")
OFFSET = struct.Struct(">Q")
HOLE = struct.Struct(">QI")
ERROR = struct.Struct(">IH")
DESCRIPTOR = struct.Struct(">II")


class HandshakeFlag(IntFlag):
    """What the server says in its greeting."""

    FIXED_NEWSTYLE = 1 << 0
    NO_ZEROES = 1 << 1


class ClientFlag(IntFlag):
    """What the client answers to the greeting."""

    FIXED_NEWSTYLE = 1 << 0
    NO_ZEROES = 1 << 1


class TransmissionFlag(IntFlag):
    """What an export can do."""

    HAS_FLAGS = 1 << 0
    READ_ONLY = 1 << 1
    SEND_FLUSH = 1 << 2
    SEND_FUA = 1 << 3
    ROTATIONAL = 1 << 4
    SEND_TRIM = 1 << 5
    SEND_WRITE_ZEROES = 1 << 6
    SEND_DF = 1 << 7
    CAN_MULTI_CONN = 1 << 8
    SEND_RESIZE = 1 << 9
    SEND_CACHE = 1 << 10
    SEND_FAST_ZERO = 1 << 11


class Option(IntEnum):
    """What a client may ask for before transmission."""

    EXPORT_NAME = 1
    ABORT = 2
    LIST = 3
    STARTTLS = 5
    INFO = 6
    GO = 7
    STRUCTURED_REPLY = 8
    LIST_META_CONTEXT = 9
    SET_META_CONTEXT = 10


class OptionReply(IntEnum):
    """How a server answers an option."""

    ACK = 1
    SERVER = 2
    INFO = 3
    META_CONTEXT = 4
    ERR_UNSUP = (1 << 31) + 1
    ERR_POLICY = (1 << 31) + 2
    ERR_INVALID = (1 << 31) + 3
    ERR_UNKNOWN = (1 << 31) + 6
    ERR_TOO_BIG = (1 << 31) + 9


class InfoType(IntEnum):
    """The kinds of facts in an INFO reply."""

    EXPORT = 0
    NAME = 1
    DESCRIPTION = 2
    BLOCK_SIZE = 3


class CommandType(IntEnum):
    """What a client may ask of an export."""

    READ = 0
    WRITE = 1
    DISC = 2
    FLUSH = 3
    TRIM = 4
    CACHE = 5
    WRITE_ZEROES = 6
    BLOCK_STATUS = 7


class CommandFlag(IntFlag):
    """How a command is to be done."""

    FUA = 1 << 0
    NO_HOLE = 1 << 1
    DF = 1 << 2
    REQ_ONE = 1 << 3
    FAST_ZERO = 1 << 4


class ChunkFlag(IntFlag):
    """Where a structured chunk stands in its reply."""

    DONE = 1 << 0


class ChunkType(IntEnum):
    """The kinds of structured chunks."""

    NONE = 0
    OFFSET_DATA = 1
    OFFSET_HOLE = 2
    BLOCK_STATUS = 5
    ERROR = (1 << 15) + 1


class Extent(IntFlag):
    """What `base:allocation` says of a run of bytes."""

    HOLE = 1 << 0
    ZERO = 1 << 1


class Error(IntEnum):
    """The errors a reply may carry; the numbers are the protocol's, whatever the system's errno.h says."""

    EPERM = 1
    EIO = 5
    ENOMEM = 12
    EINVAL = 22
    ENOSPC = 28
    EOVERFLOW = 75
    ENOTSUP = 95
    ESHUTDOWN = 108


@dataclass(frozen=True, slots=True)
class OptionHeader:
    """An option before its data; `option` may be a number that is no `Option`."""

    option: int
    length: int


@dataclass(frozen=True, slots=True)
class Request:
    """A command's header; `type` may be a number that is no `CommandType`."""

    flags: int
    type: int
    cookie: int
    offset: int
    length: int


def parse_text(data: bytes, at: int = 0) -> str:
    """The string in `data`, which stood at byte `at` of its message. Raises: WireError when it is none."""
    if len(data) > STRING_MAX:
        raise WireError(f"string of {len(data)} bytes is over {STRING_MAX}", at)
    try:
        text = data.decode()
    except UnicodeDecodeError as failure:
        raise WireError("string is not UTF-8", at + failure.start) from failure
    if "\0" in text:
        raise WireError("string holds a NUL", at)
    return text


#   Greeting (server)            Client flags (client)
#   0        8        16  18     0    4
#   | NBDMAGIC | IHAVEOPT | flags |   | flags |


def build_greeting(flags: HandshakeFlag) -> bytes:
    """The server's first words. NBD proto.md: Newstyle negotiation."""
    return GREETING.pack(GREETING_MAGIC, OPTION_MAGIC, flags)


_CLIENT_FLAGS_KNOWN = int(ClientFlag.FIXED_NEWSTYLE | ClientFlag.NO_ZEROES)  # an int: ~ of a flag keeps only its names


def parse_client_flags(data: Buffer) -> ClientFlag:
    """The client's answer, 4 bytes. Raises: WireError for flags nobody offered, as the protocol demands."""
    (flags,) = CLIENT_FLAGS.unpack(data)
    if flags & ~_CLIENT_FLAGS_KNOWN:
        raise WireError(f"client set unknown flags {flags:#x}")
    return ClientFlag(flags)


#   Option (client)                           Option reply (server)
#   0          8        12       16           0         8        12     16       20
#   | IHAVEOPT | option | length | data...    | magic   | option | type | length | data...


def parse_option_header(data: Buffer) -> OptionHeader:
    """The 16 bytes before an option's data. Raises: WireError when its magic number is another."""
    magic, option, length = OPTION_HEADER.unpack(data)
    if magic != OPTION_MAGIC:
        raise WireError(f"option has magic {magic:#x}")
    return OptionHeader(option, length)


def build_option(option: int, data: bytes = b"") -> bytes:
    """A client's option."""
    return OPTION_HEADER.pack(OPTION_MAGIC, option, len(data)) + data


def build_option_reply(option: int, kind: OptionReply, data: bytes = b"") -> bytes:
    """One reply to an option."""
    return OPTION_REPLY_HEADER.pack(OPTION_REPLY_MAGIC, option, kind, len(data)) + data


def build_export_name_reply(size: int, flags: TransmissionFlag, *, no_zeroes: bool) -> bytes:
    """The answer to EXPORT_NAME, which has no header."""
    return EXPORT_NAME_REPLY.pack(size, flags) + bytes(0 if no_zeroes else EXPORT_NAME_PADDING)


#   Request (client)
#   0       4       6      8        16       24       28
#   | magic | flags | type | cookie | offset | length | data of a WRITE...


def parse_request(data: Buffer, at: int = 0) -> Request:
    """The 28 bytes at `at`; whatever follows is left alone. Raises: WireError when the magic number is another."""
    magic, flags, kind, cookie, offset, length = REQUEST.unpack_from(data, at)
    if magic != REQUEST_MAGIC:
        raise WireError(f"request has magic {magic:#x}", at)
    return Request(flags, kind, cookie, offset, length)


def build_request(request: Request) -> bytes:
    """A client's request, without the data of a WRITE."""
    return REQUEST.pack(REQUEST_MAGIC, request.flags, request.type, request.cookie, request.offset, request.length)


#   Simple reply (server)            Structured chunk (server)
#   0       4       8        16      0       4       6      8        16       20
#   | magic | error | cookie | data  | magic | flags | type | cookie | length | payload...


def build_simple_reply(cookie: int, error: int = 0) -> bytes:
    """The reply to anything but a structured read, without a read's data."""
    return SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, error, cookie)


def build_chunk_header(cookie: int, kind: ChunkType, length: int, *, is_last: bool) -> bytes:
    """What stands before the `length` bytes of a chunk's payload."""
    return CHUNK.pack(STRUCTURED_REPLY_MAGIC, ChunkFlag.DONE if is_last else 0, kind, cookie, length)


def build_data_chunk(cookie: int, offset: int, length: int, *, is_last: bool) -> bytes:
    """A chunk of `length` bytes at `offset`, up to where the bytes themselves follow."""
    head = build_chunk_header(cookie, ChunkType.OFFSET_DATA, OFFSET.size + length, is_last=is_last)
    return head + OFFSET.pack(offset)


def build_hole_chunk(cookie: int, offset: int, length: int, *, is_last: bool) -> bytes:
    """A chunk that says `length` bytes at `offset` are zeros."""
    head = build_chunk_header(cookie, ChunkType.OFFSET_HOLE, HOLE.size, is_last=is_last)
    return head + HOLE.pack(offset, length)


def build_error_chunk(cookie: int, error: Error, message: str) -> bytes:
    """The last chunk of a structured reply that failed."""
    text = message.encode()[:STRING_MAX]
    head = build_chunk_header(cookie, ChunkType.ERROR, ERROR.size + len(text), is_last=True)
    return head + ERROR.pack(error, len(text)) + text


def build_status_chunk(cookie: int, context: int, runs: Iterable[tuple[int, Extent]]) -> bytes:
    """The whole reply to a BLOCK_STATUS: each run is its bytes and its state."""
    descriptors: Sequence[bytes] = [DESCRIPTOR.pack(length, state) for length, state in runs]
    length = LENGTH.size + DESCRIPTOR.size * len(descriptors)
    head = build_chunk_header(cookie, ChunkType.BLOCK_STATUS, length, is_last=True)
    return head + LENGTH.pack(context) + b"".join(descriptors)
