"""TFTP packets: bytes to values and back.

RFC 1350 §5 (the five packets), RFC 2347 (options in requests, OACK). The values of options are text here;
what they mean is negotiated in options.py. "mail" mode parses like any other mode and is refused later.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

from typing_extensions import Buffer

from protocols.errors import WireError

MAX_REQUEST = 2048  # bytes; RFC 2347 says 512, but long names exist, and no client known sends more than one frame
MAX_OPTIONS = 32  # more than any client known asks for; bounds what one request can make us look at
BLOCK_NUMBERS = 1 << 16  # block numbers are 16 bits and wrap to 0 (quirk T-9)


class Opcode(IntEnum):
    """The first two bytes of every packet (RFC 1350 §5, RFC 2347)."""

    RRQ = 1
    WRQ = 2
    DATA = 3
    ACK = 4
    ERROR = 5
    OACK = 6


class ErrorCode(IntEnum):
    """RFC 1350 appendix, and RFC 2347's 8."""

    NOT_DEFINED = 0
    FILE_NOT_FOUND = 1
    ACCESS_VIOLATION = 2
    DISK_FULL = 3
    ILLEGAL_OPERATION = 4
    UNKNOWN_TID = 5
    FILE_EXISTS = 6
    NO_SUCH_USER = 7
    OPTIONS_REFUSED = 8


Options = tuple[tuple[str, str], ...]  # (name, value) in the order of the packet, spelt as the sender spelt them


@dataclass(frozen=True, slots=True)
class Request:
    """RRQ or WRQ. Bytes of `filename` that are not UTF-8 have become U+FFFD: such a file is never found."""

    opcode: Opcode
    filename: str
    mode: str
    options: Options = ()


@dataclass(frozen=True, slots=True)
class Data:
    """One block; `payload` is a view of the packet it was parsed from."""

    block: int
    payload: memoryview


@dataclass(frozen=True, slots=True)
class Ack:
    """Every block up to this one has arrived."""

    block: int


@dataclass(frozen=True, slots=True)
class Error:
    """The end of a transfer. `code` stays a number: clients invent their own."""

    code: int
    message: str


@dataclass(frozen=True, slots=True)
class OptionAck:
    """The options a server accepts, with the values it will use."""

    options: Options


Packet = Request | Data | Ack | Error | OptionAck

#  RRQ, WRQ   0        2
#             | opcode | filename | 0 | mode | 0 | name | 0 | value | 0 | ...
#  DATA       0        2       4
#             | opcode | block | 0 to blksize bytes |
#  ACK        0        2       4
#             | opcode | block |
#  ERROR      0        2       4
#             | opcode | code  | message | 0 |
#  OACK       0        2
#             | opcode | name | 0 | value | 0 | ...
_HEAD = struct.Struct("!H")
_NUMBERED = struct.Struct("!HH")


def parse_packet(data: Buffer) -> Packet:
    """The packet in one datagram.

    Tolerated, because clients do it: bytes after an ACK or after an ERROR's text, an ERROR without its last NUL,
    NULs after a request's last option, and an option's name with no value behind it (it is dropped).
    Raises: WireError for anything else that is not a TFTP packet. RFC 1350 §5, RFC 2347.
    """
    view = memoryview(data)
    if len(view) < _HEAD.size:
        raise WireError("too short for an opcode", len(view))
    (opcode,) = _HEAD.unpack_from(view)
    if opcode in (Opcode.RRQ, Opcode.WRQ):
        return _parse_request(Opcode(opcode), bytes(view))
    if opcode == Opcode.OACK:
        return OptionAck(_parse_options(_parse_strings(bytes(view)), 0))
    if opcode not in (Opcode.ACK, Opcode.DATA, Opcode.ERROR):
        raise WireError(f"no such opcode: {opcode}", 0)
    if len(view) < _NUMBERED.size:
        raise WireError("too short for a number", len(view))
    _, number = _NUMBERED.unpack_from(view)
    if opcode == Opcode.ACK:
        return Ack(number)
    if opcode == Opcode.DATA:
        return Data(number, view[_NUMBERED.size :])
    return Error(number, _decode(bytes(view[_NUMBERED.size :]).split(b"\0", 1)[0]))


def build_request(request: Request) -> bytes:
    """Raises: WireError when a text holds a NUL."""
    fields = (request.filename, request.mode, *(text for option in request.options for text in option))
    return _HEAD.pack(request.opcode) + b"".join(map(_encode, fields))


def build_data(block: int, payload: Buffer) -> bytes:
    """`block` may be any count from 0: its low 16 bits go on the wire."""
    return b"".join((_NUMBERED.pack(Opcode.DATA, block % BLOCK_NUMBERS), payload))


def build_ack(block: int) -> bytes:
    """`block` may be any count from 0: its low 16 bits go on the wire."""
    return _NUMBERED.pack(Opcode.ACK, block % BLOCK_NUMBERS)


def build_error(code: int, message: str) -> bytes:
    """Raises: WireError when the message holds a NUL."""
    return _NUMBERED.pack(Opcode.ERROR, code) + _encode(message)


def build_oack(options: Options) -> bytes:
    """No byte after the last value's NUL (quirk T-2). Raises: WireError when a text holds a NUL."""
    return _HEAD.pack(Opcode.OACK) + b"".join(_encode(text) for option in options for text in option)


def _parse_request(opcode: Opcode, data: bytes) -> Request:
    if len(data) > MAX_REQUEST:
        raise WireError("a request longer than any client sends", MAX_REQUEST)
    strings = _parse_strings(data)
    if len(strings) < 2:
        raise WireError("a request without name and mode", len(data))
    return Request(opcode, strings[0], strings[1], _parse_options(strings, 2))


def _parse_strings(data: bytes) -> list[str]:
    if data[-1:] != b"\0":
        raise WireError("the last text has no end", len(data))
    return [_decode(text) for text in data[_HEAD.size : -1].split(b"\0")]


def _parse_options(strings: list[str], start: int) -> Options:
    """Pairs up to the first empty name, which is padding (quirk T-21: nothing in options is worth a refusal)."""
    found: list[tuple[str, str]] = []
    for index in range(start, len(strings) - 1, 2):
        if not strings[index] or len(found) == MAX_OPTIONS:
            break
        found.append((strings[index], strings[index + 1]))
    return tuple(found)


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def _encode(text: str) -> bytes:
    if "\0" in text:
        raise WireError("a text with a NUL inside", 0)
    return text.encode() + b"\0"
