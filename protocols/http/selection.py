"""What of an image a GET or HEAD gets: conditions first, then the range (RFC 9110 §13.2.2); no I/O, no clock.

Left out: several ranges at once (answered whole) and conditions on PUT (an upload is nobody's to read).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from protocols.http.wire import EntityTag, build_date, parse_date, parse_entity_tags, parse_range

CONDITIONAL = ("if-match", "if-unmodified-since", "if-none-match", "if-modified-since", "if-range", "range")


@dataclass(frozen=True, slots=True)
class Representation:
    """An image as HTTP sees it: bytes, a token that changes with the content, seconds since 1970 of its last change."""

    size: int
    version: str
    modified: float | None = None

    @property
    def entity_tag(self) -> str:
        """The ETag field: a strong one, since every byte of a boot file counts (quirks H-6)."""
        return f'"{self.version}"'


@dataclass(frozen=True, slots=True)
class Selection:
    """The answer: a status, the bytes from `start` to `stop` (excluded), and the fields that go with them."""

    status: int
    start: int = 0
    stop: int = 0
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """How many bytes of the image the answer carries."""
        return self.stop - self.start


def select(method: str, asked: Mapping[str, str], stored: Representation, now: float) -> Selection:
    """Decide how a GET or HEAD of `stored` is answered.

    `asked` holds the request's fields named in `CONDITIONAL`, under their lower-case names; `now` is in seconds
    since 1970. The status is 200, 206, 304, 412 or 416.
    """
    fields = {"ETag": stored.entity_tag, "Accept-Ranges": "bytes"}
    # A date in the future says nothing, and must not be sent (RFC 9110 §8.8.2.1): clients' clocks are worse than ours.
    modified = int(stored.modified) if stored.modified is not None and stored.modified <= now else None
    if modified is not None:
        fields["Last-Modified"] = build_date(modified)
    if _is_refused(asked, stored, modified):
        return Selection(412, fields=fields)
    if _is_known(asked, stored, modified):
        return Selection(304, fields=fields)
    wanted = None
    if method == "GET" and "range" in asked and _range_applies(asked.get("if-range"), stored, modified, now):
        wanted = parse_range(asked["range"])
    if wanted is None or (wanted.suffix and stored.size == 0):  # "no bytes of none" has no Content-Range to say it
        return Selection(200, 0, stored.size, fields)
    if (place := wanted.within(stored.size)) is None:
        return Selection(416, fields=fields | {"Content-Range": f"bytes */{stored.size}"})
    start, stop = place
    return Selection(206, start, stop, fields | {"Content-Range": f"bytes {start}-{stop - 1}/{stored.size}"})


def _is_refused(asked: Mapping[str, str], stored: Representation, modified: int | None) -> bool:
    """Whether the client holds a part of another version: If-Match, or where it is absent If-Unmodified-Since."""
    if "if-match" in asked:
        tags = parse_entity_tags(asked["if-match"])
        return tags is not None and EntityTag(stored.version) not in tags
    since = parse_date(asked.get("if-unmodified-since", ""))
    return since is not None and modified is not None and modified > since


def _is_known(asked: Mapping[str, str], stored: Representation, modified: int | None) -> bool:
    """Whether the client has these very bytes: If-None-Match, or where it is absent If-Modified-Since."""
    if "if-none-match" in asked:
        tags = parse_entity_tags(asked["if-none-match"])
        return tags is None or any(tag.opaque == stored.version for tag in tags)
    since = parse_date(asked.get("if-modified-since", ""))
    return since is not None and modified is not None and modified <= since


def _range_applies(condition: str | None, stored: Representation, modified: int | None, now: float) -> bool:
    """Whether If-Range lets the range through: absent, our strong tag, or our date once it can't change again.

    A file changed twice within a second keeps its date, so it counts only when over a second old (RFC 9110 §8.8.2.2).
    """
    if condition is None:
        return True
    if '"' in condition:
        return parse_entity_tags(condition) == [EntityTag(stored.version)]
    return modified is not None and parse_date(condition) == modified and now - modified > 1
