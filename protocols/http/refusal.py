"""Why a request gets no file: exceptions and unusable uploads as statuses with a short text, never a 200 (KIWI 1.4)."""

from collections.abc import Mapping
from errno import EFBIG, ENOSPC

from protocols.errors import WireError
from storage.errors import StorageError

SOFTWARE = "rootwire"  # the Server field of every answer
METHODS = "GET, HEAD, PUT"
PHRASES = {
    400: "bad request",
    403: "forbidden",
    404: "not found",
    405: "method not allowed",
    408: "the upload took too long",
    409: "it is there, and belongs to another client",
    411: "length required",
    412: "precondition failed: the file is another version",
    413: "too large",
    415: "encoded content is not taken",
    416: "no byte of that range is there",
    500: "the file could not be read or written",
    507: "no room for more uploads",
}
STATUS_OF_ERRNO = {EFBIG: 413, ENOSPC: 507}
STATUS_OF_KIND: list[tuple[type[Exception], int]] = [  # the first that fits; the last fits whatever the kernel says
    (WireError, 400),
    (FileNotFoundError, 404),
    (NotADirectoryError, 404),
    (IsADirectoryError, 404),
    (PermissionError, 403),
    (FileExistsError, 409),
    (TimeoutError, 408),
    (OSError, 500),
]


def status_of(failure: OSError | StorageError | WireError) -> int:
    """The status that tells a client of a failure: 4xx where asking differently helps, else 500 or 507."""
    if isinstance(failure, StorageError):
        return STATUS_OF_ERRNO.get(failure.errno, 500)
    return next(status for kind, status in STATUS_OF_KIND if isinstance(failure, kind))


def refuse_upload(fields: Mapping[str, str]) -> int | None:
    """The status for a PUT that can't be a whole file as it stands, None when it can; `fields` is case-insensitive.

    A body without length or chunks has no end, a part of a file is no file (RFC 9110 §14.5), and what is encoded would
    be stored as something else than it is.
    """
    if "Content-Range" in fields:
        return 400
    if fields.get("Content-Encoding", "identity").lower() != "identity":
        return 415
    if "Content-Length" not in fields and "Transfer-Encoding" not in fields:
        return 411
    return None


def busy(retry_after: int) -> bytes:
    """A whole 503 answer that asks to come again after so many seconds."""
    body = b"too many connections\n"
    head = f"HTTP/1.1 503 Service Unavailable\r\nServer: {SOFTWARE}\r\nRetry-After: {retry_after}\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
