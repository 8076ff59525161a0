"""protocols.http.wire: targets, ranges, entity tags, dates and types."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import WireError
from protocols.http.wire import (
    ByteRange,
    EntityTag,
    add_host,
    build_date,
    content_type,
    parse_date,
    parse_entity_tags,
    parse_range,
    parse_target,
)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/boot/linux", "boot/linux"),
        ("//boot//linux", "boot/linux"),
        ("/", ""),
        ("", ""),
        ("/a?b=/c", "a"),
        ("/KIWI/config.52%3a54%3a00%3aA1%3aB2%3aC3", "KIWI/config.52:54:00:A1:B2:C3"),
        ("/KIWI/config.52%3A54", "KIWI/config.52:54"),
        ("/%2Fetc/%2e%2e/passwd", "etc/../passwd"),
        ("/a%5cb", "a\\b"),
        ("/%c3%a4", "ä"),
        ("/ä", "ä"),
        ("/a+b", "a+b"),
        ("/100%25", "100%"),
    ],
)
def test_targets(target: str, name: str) -> None:
    """Decoded once, slashes folded, everything else left to the tree."""
    assert parse_target(target) == name


@pytest.mark.parametrize(
    ("target", "offset"),
    [("/a%", 2), ("/a%4", 2), ("/a%zz", 2), ("/%ff", 1), ("/\udcff", 1), ("/a%00", 2), ("/a%0a", 2), ("/%7f", 1)],
)
def test_bad_targets(target: str, offset: int) -> None:
    """Cut escapes, other encodings and control characters are no names."""
    with pytest.raises(WireError) as refused:
        parse_target(target)
    assert refused.value.offset == offset


@settings(deadline=None)
@given(st.text())
def test_only_wire_errors_come_from_targets(target: str) -> None:
    """Whatever aiohttp lets through is either a name or a WireError; a name has no slash in front, none doubled."""
    try:
        name = parse_target(target.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape"))
    except WireError:
        return
    assert not name.startswith("/")
    assert "//" not in name


@pytest.mark.parametrize(
    "rest", [b"\r\n", b"A: b\r\n\r\n", b"X-Host: b\r\n\r\n", b"\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n"]
)
@pytest.mark.parametrize("line", [b"GET /a HTTP/1.1\r\n", b"HEAD /a HTTP/1.1\r\n"])
def test_a_missing_host_is_added(line: bytes, rest: bytes) -> None:
    """Right behind the request line; what follows stays."""
    assert add_host(line + rest) == line + b"Host: box\r\n" + rest


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET /a HTTP/1.1\r\nHost: b\r\n\r\n",
        b"GET /a HTTP/1.1\r\nA: b\r\nhOST : b\r\n\r\n",
        b"GET /a HTTP/1.0\r\n\r\n",
        b"PUT /a HTTP/1.1\r\n\r\n",
        b"GET /a HTTP/1.1\r\nA: half",
        b"GET /a",
        b"bytes of a body",
    ],
)
def test_all_else_stays_as_it_came(data: bytes) -> None:
    """Requests that have a Host, need none, can't be judged yet, or are none."""
    assert add_host(data) == data


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("bytes=0-9", ByteRange(0, 9)),
        ("bytes=5-", ByteRange(5)),
        ("bytes=-5", ByteRange(None, suffix=5)),
        ("BYTES=0-0", ByteRange(0, 0)),
        (" bytes=1-2 ", ByteRange(1, 2)),
        ("bytes=,1-2,", ByteRange(1, 2)),
        ("bytes=9223372036854775807-", ByteRange(2**63 - 1)),
    ],
)
def test_ranges(field: str, wanted: ByteRange) -> None:
    """One range: closed, open, or a suffix."""
    assert parse_range(field) == wanted


@pytest.mark.parametrize(
    "field",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=2-1",
        "bytes=a-b",
        "bytes=0-1,3-4",
        "lines=1-2",
        "bytes=-1-2",
        "bytes=1 -2",
        "bytes=" + "9" * 5000 + "-",
        "bytes=0-" + "9" * 20,
        "bytes=\u0661-",
    ],
)
def test_ranges_answered_whole(field: str) -> None:
    """Several ranges, other units and bad syntax are as if there were no range."""
    assert parse_range(field) is None


@pytest.mark.parametrize(
    ("wanted", "size", "place"),
    [
        (ByteRange(0, 9), 100, (0, 10)),
        (ByteRange(0, 99), 100, (0, 100)),
        (ByteRange(0, 100), 100, (0, 100)),
        (ByteRange(99), 100, (99, 100)),
        (ByteRange(100), 100, None),
        (ByteRange(0), 0, None),
        (ByteRange(None, suffix=10), 100, (90, 100)),
        (ByteRange(None, suffix=200), 100, (0, 100)),
        (ByteRange(None, suffix=0), 100, None),
    ],
)
def test_ranges_within_a_size(wanted: ByteRange, size: int, place: tuple[int, int] | None) -> None:
    """Clipped to what is there; None when not one byte is."""
    assert wanted.within(size) == place


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_range_in_bounds_comes_back_as_asked(first: int, length: int, beyond: int) -> None:
    """What is written as a range is read as that range."""
    wanted = parse_range(f"bytes={first}-{first + length}")
    assert wanted is not None
    assert wanted.within(first + length + beyond) == (first, first + length + 1)


@pytest.mark.parametrize(
    ("field", "tags"),
    [
        ("*", None),
        (" * ", None),
        ('"a"', [EntityTag("a")]),
        ('W/"a"', [EntityTag("a", is_weak=True)]),
        ('"a", W/"b" ,"c,d"', [EntityTag("a"), EntityTag("b", is_weak=True), EntityTag("c,d")]),
        ('""', [EntityTag("")]),
        ("a", []),
        ("", []),
        ('"a', []),
    ],
)
def test_entity_tags(field: str, tags: list[EntityTag] | None) -> None:
    """A list of tags, or the star that is any."""
    assert parse_entity_tags(field) == tags


@pytest.mark.parametrize(
    "field",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 -0000",
    ],
)
def test_dates(field: str) -> None:
    """All three forms of RFC 9110 §5.6.7 are one moment."""
    assert parse_date(field) == 784111777


@pytest.mark.parametrize(
    "field", ["", "yesterday", "Sun, 99 Nov 1994 08:49:37 GMT", '"tag"', "Sun, 06 Nov 99999999999 08:49:37 GMT"]
)
def test_no_dates(field: str) -> None:
    """What is no date is None, and the condition it stood in is ignored."""
    assert parse_date(field) is None


@settings(deadline=None)
@given(st.text())
def test_dates_never_raise(field: str) -> None:
    """Any text is a moment or none."""
    assert parse_date(field) is None or isinstance(parse_date(field), int)


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_dates_both_ways(seconds: int) -> None:
    """What is built is read back."""
    assert parse_date(build_date(seconds + 0.5)) == seconds


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("snponly.efi", "application/efi"),
        ("EFI/BOOT/BOOTX64.EFI", "application/efi"),
        ("live.iso", "application/vnd.efi-iso"),
        ("disk.img", "application/vnd.efi-img"),
        ("boot.ipxe", "text/plain"),
        ("boot/linux", "application/octet-stream"),
        ("image/x.gz", "application/octet-stream"),
        ("a.efi/b", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_content_types(name: str, kind: str) -> None:
    """What decides how firmware treats a file (quirks H-3)."""
    assert content_type(name) == kind
