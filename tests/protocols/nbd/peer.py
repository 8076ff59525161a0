"""The client's side of NBD for tests, written apart from the server's: numbers are the protocol's, spelled out."""

import struct
from dataclasses import dataclass

GREETING = b"NBDMAGICIHAVEOPT\x00\x03"
OPTION_REPLY_MAGIC = bytes.fromhex("0003e889045565a9")


@dataclass(frozen=True)
class OptionReply:
    """One reply to an option, its data not looked at."""

    option: int
    kind: int
    data: bytes


@dataclass(frozen=True)
class Reply:
    """A simple reply (`kind` None) or one structured chunk."""

    cookie: int
    error: int = 0
    kind: int | None = None
    is_last: bool = True
    data: bytes = b""


def option(number: int, data: bytes = b"") -> bytes:
    """An option as a client sends it."""
    return b"IHAVEOPT" + struct.pack(">II", number, len(data)) + data


def text(value: str) -> bytes:
    """A string behind its length."""
    return struct.pack(">I", len(value.encode())) + value.encode()


def go(name: str, *wanted: int, number: int = 7) -> bytes:
    """GO, or INFO with `number` 6."""
    return option(number, text(name) + struct.pack(f">H{len(wanted)}H", len(wanted), *wanted))


def meta(name: str, *queries: str, number: int = 10) -> bytes:
    """SET_META_CONTEXT, or LIST_META_CONTEXT with `number` 9."""
    return option(number, text(name) + struct.pack(">I", len(queries)) + b"".join(map(text, queries)))


def request(
    kind: int, *, cookie: int = 7, offset: int = 0, length: int = 0, flags: int = 0, data: bytes = b""
) -> bytes:
    """A request as a client sends it, with a WRITE's data."""
    return struct.pack(">IHHQQI", 0x25609513, flags, kind, cookie, offset, length) + data


def option_replies(data: bytes) -> list[OptionReply]:
    """Every option reply in `data`, which must hold nothing else."""
    found = []
    while data:
        assert data[:8] == OPTION_REPLY_MAGIC
        number, kind, length = struct.unpack_from(">III", data, 8)
        assert len(data) >= 20 + length
        found.append(OptionReply(number, kind, data[20 : 20 + length]))
        data = data[20 + length :]
    return found


def reply_of(data: bytes, read: int = 0) -> Reply:
    """The one simple reply that `data` is, with `read` bytes of data when it is no error."""
    magic, error, cookie = struct.unpack_from(">IIQ", data)
    assert magic == 0x67446698
    assert len(data) == 16 + (0 if error else read)
    return Reply(cookie, error, data=data[16:])


def chunks_of(data: bytes) -> list[Reply]:
    """Every chunk in `data`, which must hold nothing else; an error chunk's `error` is filled in."""
    found = []
    while data:
        magic, flags, kind, cookie, length = struct.unpack_from(">IHHQI", data)
        assert magic == 0x668E33EF
        payload = data[20 : 20 + length]
        assert len(payload) == length
        error = struct.unpack_from(">I", payload)[0] if kind & 0x8000 else 0
        found.append(Reply(cookie, error, kind, bool(flags & 1), payload))
        data = data[20 + length :]
    return found


def assemble(chunks: list[Reply], offset: int, length: int) -> bytes:
    """The bytes that a structured read's chunks describe, each byte exactly once."""
    content = bytearray(length)
    seen = bytearray(length)
    for chunk in chunks:
        (at,) = struct.unpack_from(">Q", chunk.data)
        size = len(chunk.data) - 8 if chunk.kind == 1 else struct.unpack_from(">I", chunk.data, 8)[0]
        if chunk.kind == 1:
            content[at - offset : at - offset + size] = chunk.data[8:]
        assert not any(seen[at - offset : at - offset + size])
        seen[at - offset : at - offset + size] = b"\1" * size
    assert all(seen)
    return bytes(content)
