"""Why a request is refused, in TFTP's numbers and words: the one place where other people's errors are translated."""

import errno
from dataclasses import dataclass

from protocols.tftp.wire import ErrorCode
from storage.errors import StorageError


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the client is told in an ERROR packet."""

    code: ErrorCode
    message: str


BUSY = Refusal(ErrorCode.NOT_DEFINED, "busy, try again")
NOT_FOUND = Refusal(ErrorCode.FILE_NOT_FOUND, "File not found")  # KIWI's client looks for exactly this text (quirk T-4)
DENIED = Refusal(ErrorCode.ACCESS_VIOLATION, "Access violation")
TOO_LARGE = Refusal(ErrorCode.DISK_FULL, "Disk full or allocation exceeded")
EXISTS = Refusal(ErrorCode.FILE_EXISTS, "File already exists")
BAD_MODE = Refusal(ErrorCode.ILLEGAL_OPERATION, "only octet and netascii are served")
BROKEN = Refusal(ErrorCode.NOT_DEFINED, "the server could not read or store the file")
STOPPING = Refusal(ErrorCode.NOT_DEFINED, "the server stops")

_BY_ERRNO = {
    errno.ENOENT: NOT_FOUND,
    errno.ENOTDIR: NOT_FOUND,
    errno.EISDIR: NOT_FOUND,
    errno.ENAMETOOLONG: NOT_FOUND,
    errno.ELOOP: NOT_FOUND,
    errno.EACCES: DENIED,
    errno.EPERM: DENIED,
    errno.EROFS: DENIED,
    errno.EEXIST: EXISTS,
    errno.EFBIG: TOO_LARGE,
    errno.ENOSPC: TOO_LARGE,
    errno.EDQUOT: TOO_LARGE,
    errno.EMFILE: BUSY,
    errno.ENFILE: BUSY,
    errno.ENOBUFS: BUSY,
    errno.ENOMEM: BUSY,
}
_BY_CLASS: tuple[tuple[type[OSError], Refusal], ...] = (
    (FileNotFoundError, NOT_FOUND),  # raised by our own policy these carry no errno
    (PermissionError, DENIED),
    (FileExistsError, EXISTS),
)


def refusal_of(error: OSError | StorageError) -> Refusal:
    """What to tell the client whose request or transfer ended in `error`."""
    for kind, refusal in _BY_CLASS:
        if isinstance(error, kind):
            return refusal
    return _BY_ERRNO.get(error.errno or 0, BROKEN)
