"""HTTP header fields and request targets as values: what aiohttp leaves to the application.

Speaks RFC 9110 (§8.8 validators, §13.1 conditions, §14 ranges) and RFC 3986 §2.1 (percent-encoding). Left out: several
ranges in one answer, weak validators of our own, and message framing, which is aiohttp's.
"""

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from pathlib import PurePosixPath
from urllib.parse import unquote_to_bytes

from protocols.errors import WireError

# UEFI's HTTP boot tells a program from a RAM disk by these, else by the same extensions (quirks H-3).
CONTENT_TYPES = {
    ".efi": "application/efi",
    ".iso": "application/vnd.efi-iso",
    ".img": "application/vnd.efi-img",
    ".ipxe": "text/plain",
}
OTHER_CONTENT = "application/octet-stream"
RANGE_DIGITS = 19  # decimal digits of a byte position: any 63-bit offset fits, and int() never gets a page of them

RANGE = re.compile(
    rf"bytes=(?:[ \t]*,)*[ \t]*([0-9]{{0,{RANGE_DIGITS}}})-([0-9]{{0,{RANGE_DIGITS}}})(?:[ \t]*,)*", re.I
)
ENTITY_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
HOST_FIELD = re.compile(rb"\r\nhost[ \t]*:", re.I)
ESCAPED_BADLY = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """One range as asked: `first` to `last` (both included, `last` None: to the end), or the `suffix` last bytes."""

    first: int | None
    last: int | None = None
    suffix: int | None = None

    def within(self, size: int) -> tuple[int, int] | None:
        """Where it starts and stops (excluded) in `size` bytes; None when no byte of it is there (RFC 9110 §14.1.2)."""
        if self.suffix is not None:
            return (max(0, size - self.suffix), size) if self.suffix else None
        first = self.first or 0
        if first >= size:
            return None
        return first, size if self.last is None else min(self.last + 1, size)


@dataclass(frozen=True, slots=True)
class EntityTag:
    """A validator: the opaque text between the quotes, and whether it is only a weak one."""

    opaque: str
    is_weak: bool = False


def parse_target(target: str) -> str:
    """The name of a file from a request target: decoded, without query and leading slashes, repeated slashes as one.

    Firmware and scripts glue a folder ending in a slash to a name beginning with one, and break on the redirect
    other servers answer with (quirks H-5); KIWI's clients encode all but letters, digits and "-_./" (H-11). Dots,
    backslashes and the like stay for the tree to judge.

    Raises: WireError when an escape is cut short, or the name is not UTF-8 or has control characters in it.
    """
    path = target.partition("?")[0]
    if bad := ESCAPED_BADLY.search(path):
        raise WireError("percent sign without two hex digits", bad.start())
    try:
        name = unquote_to_bytes(path.encode("utf-8", "surrogateescape")).decode("utf-8")
    except UnicodeDecodeError as failure:
        raise WireError("name is not UTF-8", failure.start) from failure
    for at, character in enumerate(name):
        if character < " " or character == "\x7f":
            raise WireError("control character in a name", at)
    return re.sub("/+", "/", name).lstrip("/")


def add_host(data: bytes) -> bytes:
    """Give an HTTP/1.1 GET or HEAD that arrived in one piece the Host field it lacks; all else comes back as it is.

    RFC 9112 §3.2 has such a request refused, which aiohttp does; small loaders forget the field (quirks H-8), and a
    box that has one tree for every name can answer them.
    """
    line, _, rest = data.partition(b"\r\n")
    if not (line.startswith((b"GET ", b"HEAD ")) and line.endswith(b" HTTP/1.1")):
        return data
    end = data.find(b"\r\n\r\n")
    if end < 0 or HOST_FIELD.search(data, 0, end):
        return data
    return line + b"\r\nHost: box\r\n" + rest


def parse_range(field: str) -> ByteRange | None:
    """The one range of a Range field; None for other units, several ranges or bad syntax: all are answered whole.

    RFC 9110 §14.2 lets a server ignore any Range; several in one answer need multipart, which no boot client reads.
    """
    if (match := RANGE.fullmatch(field.strip())) is None:
        return None
    first, last = match.groups()
    if not first:
        return ByteRange(None, suffix=int(last)) if last else None
    if last and int(last) < int(first):
        return None
    return ByteRange(int(first), int(last) if last else None)


def parse_entity_tags(field: str) -> list[EntityTag] | None:
    """The tags of an If-Match or If-None-Match field, or None for "*", which matches whatever exists.

    What is no tag is skipped: a list of nothing else matches nothing. RFC 9110 §13.1.1, §8.8.3.
    """
    if field.strip() == "*":
        return None
    return [EntityTag(opaque, bool(weak)) for weak, opaque in ENTITY_TAG.findall(field)]


def parse_date(field: str) -> int | None:
    """Seconds since 1970 of an HTTP date in any of its three forms (RFC 9110 §5.6.7); None when it is none."""
    try:
        moment = parsedate_to_datetime(field)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def build_date(seconds: float) -> str:
    """An HTTP date, in whole seconds, of a moment given in seconds since 1970."""
    return formatdate(int(seconds), usegmt=True)


def content_type(name: str) -> str:
    """The media type by the name's extension, in either case: FAT file systems and firmware write `.EFI`."""
    return CONTENT_TYPES.get(PurePosixPath(name).suffix.lower(), OTHER_CONTENT)
