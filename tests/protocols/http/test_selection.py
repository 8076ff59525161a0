"""protocols.http.selection: what of an image is answered, condition by condition."""

import pytest

from protocols.http.selection import Representation, Selection, select

NOW = 1_000_000_000.0
CHANGED = NOW - 3600.5
DATE = "Sun, 09 Sep 2001 00:46:39 GMT"  # CHANGED in whole seconds
BEFORE = "Sun, 09 Sep 2001 00:46:38 GMT"
AFTER = "Sun, 09 Sep 2001 00:46:40 GMT"
STORED = Representation(100, "v1", CHANGED)
UNDATED = Representation(100, "v1")


def ask(method: str = "GET", stored: Representation = STORED, **fields: str) -> Selection:
    """Select with fields given as Python names."""
    return select(method, {name.replace("_", "-"): text for name, text in fields.items()}, stored, NOW)


def test_whole() -> None:
    """Without conditions: all of it, with what a client needs to resume (quirks H-6)."""
    whole = ask()
    assert (whole.status, whole.start, whole.stop, whole.length) == (200, 0, 100, 100)
    assert whole.fields == {"ETag": '"v1"', "Accept-Ranges": "bytes", "Last-Modified": DATE}


def test_no_date_without_one() -> None:
    """Generated files have none."""
    assert "Last-Modified" not in ask(stored=UNDATED).fields


def test_no_date_from_the_future() -> None:
    """A file dated ahead of our clock is sent without a date."""
    assert "Last-Modified" not in ask(stored=Representation(1, "v1", NOW + 1)).fields


@pytest.mark.parametrize(
    ("asked", "start", "stop", "told"),
    [
        ("bytes=0-9", 0, 10, "bytes 0-9/100"),
        ("bytes=90-", 90, 100, "bytes 90-99/100"),
        ("bytes=-1", 99, 100, "bytes 99-99/100"),
    ],
)
def test_range(asked: str, start: int, stop: int, told: str) -> None:
    """206 says which bytes they are."""
    part = ask(range=asked)
    assert (part.status, part.start, part.stop) == (206, start, stop)
    assert part.fields["Content-Range"] == told


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=-0", "bytes=1000-2000"])
def test_range_that_is_not_there(asked: str) -> None:
    """416 says how much there is."""
    none = ask(range=asked)
    assert (none.status, none.length, none.fields["Content-Range"]) == (416, 0, "bytes */100")


def test_several_ranges_get_the_whole() -> None:
    """No multipart answers."""
    assert ask(range="bytes=0-1,5-6").status == 200


def test_range_of_head_is_ignored() -> None:
    """RFC 9110 §14.2: ranges are for GET; HEAD tells the whole length."""
    assert ask("HEAD", range="bytes=0-9") == ask("HEAD")


def test_an_empty_file() -> None:
    """A suffix of nothing is all of it; a first byte is not there."""
    empty = Representation(0, "v1")
    assert ask(stored=empty, range="bytes=-5").status == 200
    assert ask(stored=empty, range="bytes=0-").status == 416


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ('"v1"', 206),
        ('"v2"', 200),
        ('W/"v1"', 200),
        (DATE, 206),
        (BEFORE, 200),
        (AFTER, 200),
        ("nonsense", 200),
    ],
)
def test_if_range(condition: str, status: int) -> None:
    """The part if it is a part of what the client has, else the whole."""
    assert ask(range="bytes=0-9", if_range=condition).status == status


def test_if_range_with_a_date_too_fresh() -> None:
    """Within a second of the change it may change again unseen."""
    fresh = Representation(100, "v1", NOW - 0.5)
    assert ask(stored=fresh, range="bytes=0-9", if_range="Sun, 09 Sep 2001 01:46:39 GMT").status == 200


def test_if_range_with_a_date_of_the_undated() -> None:
    """No date matches none."""
    assert ask(stored=UNDATED, range="bytes=0-9", if_range=DATE).status == 200


@pytest.mark.parametrize(
    ("tags", "status"),
    [('"v1"', 304), ('W/"v1"', 304), ('"v0", "v1"', 304), ("*", 304), ('"v2"', 200), ("v1", 200)],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_if_none_match(method: str, tags: str, status: int) -> None:
    """What the client has is not sent again."""
    assert ask(method, if_none_match=tags).status == status


@pytest.mark.parametrize(
    ("tags", "status"), [('"v1"', 200), ('"v0", "v1"', 200), ("*", 200), ('W/"v1"', 412), ('"v2"', 412), ("v1", 412)]
)
def test_if_match(tags: str, status: int) -> None:
    """Another version than the client holds a part of is refused; weak tags prove nothing."""
    assert ask(if_match=tags).status == status


@pytest.mark.parametrize(("since", "status"), [(DATE, 304), (AFTER, 304), (BEFORE, 200), ("nonsense", 200)])
def test_if_modified_since(since: str, status: int) -> None:
    """Sent only when newer."""
    assert ask(if_modified_since=since).status == status


@pytest.mark.parametrize(("since", "status"), [(DATE, 200), (AFTER, 200), (BEFORE, 412), ("nonsense", 200)])
def test_if_unmodified_since(since: str, status: int) -> None:
    """Refused when newer: UEFI resumes so (quirks H-6)."""
    assert ask(if_unmodified_since=since).status == status


def test_dates_are_ignored_for_the_undated() -> None:
    """Without a date of ours no date of theirs decides."""
    assert ask(stored=UNDATED, if_modified_since=AFTER, if_unmodified_since=BEFORE).status == 200


def test_tags_go_before_dates() -> None:
    """RFC 9110 §13.2.2: a date counts only where the tag's condition is absent."""
    assert ask(if_match='"v1"', if_unmodified_since=BEFORE).status == 200
    assert ask(if_none_match='"v2"', if_modified_since=AFTER).status == 200


def test_conditions_go_before_ranges() -> None:
    """412 and 304 whatever range is asked."""
    assert ask(if_match='"v2"', range="bytes=0-9").status == 412
    assert ask(if_none_match='"v1"', range="bytes=500-").status == 304


def test_resume_with_if_match() -> None:
    """A condition that holds lets the range through."""
    assert ask(if_match='"v1"', range="bytes=50-").status == 206
