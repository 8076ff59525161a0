"""protocols.http.refusal: failures as statuses."""

import errno

import pytest

from protocols.errors import WireError
from protocols.http.refusal import PHRASES, STATUS_OF_ERRNO, STATUS_OF_KIND, busy, refuse_upload, status_of
from storage.errors import StorageError


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (WireError("bad"), 400),
        (FileNotFoundError(), 404),
        (NotADirectoryError(), 404),
        (IsADirectoryError(), 404),
        (PermissionError(), 403),
        (FileExistsError(), 409),
        (TimeoutError(), 408),
        (OSError(errno.EMFILE, "too many open files"), 500),
        (StorageError("big", errno.EFBIG), 413),
        (StorageError("full", errno.ENOSPC), 507),
        (StorageError("gone", errno.EIO), 500),
    ],
)
def test_statuses(failure: OSError | StorageError | WireError, status: int) -> None:
    """Each failure has its own answer."""
    assert status_of(failure) == status


def test_every_status_has_a_text() -> None:
    """No refusal without a phrase to go with it."""
    statuses = {status for _, status in STATUS_OF_KIND} | set(STATUS_OF_ERRNO.values()) | {405, 411, 412, 415, 416}
    assert statuses <= PHRASES.keys()


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"Content-Length": "5"}, None),
        ({"Transfer-Encoding": "chunked"}, None),
        ({"Content-Length": "5", "Content-Encoding": "Identity"}, None),
        ({"Content-Length": "5", "Content-Encoding": "gzip"}, 415),
        ({"Content-Length": "5", "Content-Range": "bytes 0-4/10"}, 400),
        ({}, 411),
    ],
)
def test_uploads_that_cannot_be_whole_files(fields: dict[str, str], status: int | None) -> None:
    """Refused before the policy is asked."""
    assert refuse_upload(fields) == status


def test_busy_is_a_whole_answer() -> None:
    """The 503 has a length that fits and says when to come again (quirks I-6)."""
    head, _, body = busy(7).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 503 Service Unavailable"
    assert b"Retry-After: 7" in lines
    assert b"Content-Length: %d" % len(body) in lines
