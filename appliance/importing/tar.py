"""Tar archives read once, in order, all of them hostile: no size is believed further than it is read.

Read are ustar, GNU's long names and numbers, and POSIX's extended headers (pax), as tar and Python write them. Left
out: sparse files, devices, everything that KIWI puts into none of its archives. Python's tarfile would hold extended
headers of any length in memory and follow what they say of sparse files.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from appliance.deployment.bytestream import ByteStream
from appliance.deployment.streams import ArchiveError

# A header, of 512 bytes as everything is a multiple of:
#
#   0 name     124 size, octal     148 sum of all bytes, itself as blanks     156 type
#   157 target of a link           257 "ustar"                                345 what stands before the name
BLOCK = 512
MAGIC = (257, b"ustar")
FILES = (b"0", b"\0", b"7")
LINKS = (b"1", b"2")
FOLDER, LONG_NAME, LONG_TARGET, EXTENDED, EXTENDED_FOR_ALL = b"5", b"L", b"K", b"x", b"g"

MEMBERS_MOST = 256  # KIWI's archives have about a dozen
TEXT_MOST = 16 << 10  # bytes of an extended header or a long name
SIZE_MOST = 1 << 44  # bytes of a file: more than any disk image


@dataclass(frozen=True, slots=True)
class Member:
    """A file, or a link to one; `target` is None for a file. Names are as the archive has them."""

    name: str
    size: int = 0
    target: str | None = None


@dataclass(slots=True)
class _Header:
    """One header with what those before it said of it."""

    kind: bytes
    name: str
    target: str
    size: int


def is_tar(head: bytes) -> bool:
    """Whether a file that begins so, with its first block, is a tar archive."""
    offset, magic = MAGIC
    return len(head) >= BLOCK and head[offset : offset + len(magic)] == magic and _is_sound(head[:BLOCK])


def read_members(stream: ByteStream) -> Iterator[Member]:
    """The files and links; a file's bytes are the next in `stream` then, and are passed over if nobody reads them.

    Raises: ArchiveError saying what is wrong with the archive.
    """
    said: dict[str, str] = {}
    for _ in range(MEMBERS_MOST):
        header = _next_header(stream, said)
        if header is None:
            return
        end = stream.position + _padded(header.size)
        if header.kind in FILES and not header.name.endswith("/"):
            yield Member(header.name, header.size)
        elif header.kind in LINKS:
            yield Member(header.name, target=header.target)
        elif header.kind != FOLDER and header.kind not in FILES:
            raise ArchiveError(f"holds {header.name!r}, which is no file (type {header.kind!r})")
        stream.skip(end - stream.position)
        said = {}
    raise ArchiveError(f"has more than {MEMBERS_MOST} members: it is none of KIWI's")


def _next_header(stream: ByteStream, said: dict[str, str]) -> _Header | None:
    """The header of the next member; None at the end of the archive."""
    for _ in range(MEMBERS_MOST):
        block = stream.read(BLOCK)
        if not any(block):
            return None
        header = _parse(block)
        match header.kind:
            case b"x" | b"g":
                found = _parse_extended(_read_text(stream, header))
                said.update(found if header.kind == EXTENDED else {})
            case b"L":
                said["path"] = _as_text(_read_text(stream, header))
            case b"K":
                said["linkpath"] = _as_text(_read_text(stream, header))
            case _:
                return _completed(header, said)
    raise ArchiveError("has headers without end")


def _completed(header: _Header, said: dict[str, str]) -> _Header:
    if any(key.startswith("GNU.sparse") for key in said):
        raise ArchiveError(f"holds {header.name!r} as a sparse file: pack it without --sparse")
    header.name = said.get("path", header.name)
    header.target = said.get("linkpath", header.target)
    if "size" in said:
        header.size = _checked_size(said["size"])
    if header.kind in LINKS or header.kind == FOLDER:
        header.size = 0  # of links some archivers say the target's
    return header


def _parse(block: bytes) -> _Header:
    if not _is_sound(block):
        raise ArchiveError("is damaged: a header's sum is wrong")
    prefix = _as_text(block[345:500]) if block[257:263] == b"ustar\0" else ""
    name = _as_text(block[:100])
    return _Header(
        kind=block[156:157],
        name=f"{prefix}/{name}" if prefix else name,
        target=_as_text(block[157:257]),
        size=_parse_number(block[124:136]),
    )


def _is_sound(block: bytes) -> bool:
    try:
        stated = int(block[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    return sum(block) - sum(block[148:156]) + 8 * ord(" ") == stated


def _parse_number(field: bytes) -> int:
    """Octal digits, or with the first bit set a number of base 256 (GNU)."""
    if field[0] & 0x80:
        number = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    else:
        try:
            number = int(field.strip(b" \0") or b"0", 8)
        except ValueError as failure:
            raise ArchiveError("is damaged: a size is no number") from failure
    return _checked_size(str(number))


def _checked_size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20) or int(text) > SIZE_MOST:
        raise ArchiveError("holds a file of an impossible size")
    return int(text)


def _read_text(stream: ByteStream, header: _Header) -> bytes:
    if header.size > TEXT_MOST:
        raise ArchiveError("has a header of an impossible length")
    return stream.read(_padded(header.size))[: header.size]


def _parse_extended(text: bytes) -> dict[str, str]:
    """Lines "LENGTH KEY=VALUE", where the length is that of the line."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        digits, _, _ = text[at : at + 8].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        line = text[at + len(digits) + 1 : at + length]
        if not len(digits) + 1 < length <= len(text) - at or not line.endswith(b"\n"):
            raise ArchiveError("is damaged: an extended header is none")
        key, _, value = line[:-1].partition(b"=")
        found[_as_text(key)] = _as_text(value)
        at += length
    return found


def _as_text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="replace")


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
