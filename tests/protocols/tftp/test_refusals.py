"""Errors of policy and storage as TFTP's numbers and words."""

import errno

import pytest

from protocols.tftp.refusals import refusal_of
from protocols.tftp.wire import ErrorCode
from storage.errors import StorageError

CASES = {
    "missing": (FileNotFoundError("name"), ErrorCode.FILE_NOT_FOUND),
    "missing, by number": (OSError(errno.ENOENT, ""), ErrorCode.FILE_NOT_FOUND),
    "a folder": (IsADirectoryError(errno.EISDIR, ""), ErrorCode.FILE_NOT_FOUND),
    "a name too long": (OSError(errno.ENAMETOOLONG, ""), ErrorCode.FILE_NOT_FOUND),
    "not allowed": (PermissionError("no"), ErrorCode.ACCESS_VIOLATION),
    "there already": (FileExistsError("x"), ErrorCode.FILE_EXISTS),
    "too large": (StorageError("x", errno.EFBIG), ErrorCode.DISK_FULL),
    "disk full": (StorageError("x", errno.ENOSPC), ErrorCode.DISK_FULL),
    "no descriptors": (OSError(errno.EMFILE, ""), ErrorCode.NOT_DEFINED),
    "broken disk": (StorageError("x", errno.EIO), ErrorCode.NOT_DEFINED),
    "no number at all": (OSError("x"), ErrorCode.NOT_DEFINED),
}


@pytest.mark.parametrize(("error", "code"), CASES.values(), ids=CASES)
def test_codes(error: OSError | StorageError, code: ErrorCode) -> None:
    """Each error has its code."""
    assert refusal_of(error).code is code


def test_the_text_that_kiwi_looks_for() -> None:
    """Exactly this (quirk T-4)."""
    assert refusal_of(FileNotFoundError()).message == "File not found"


def test_no_descriptors_left_means_try_again() -> None:
    """Clear, and no failure of ours."""
    assert refusal_of(OSError(errno.EMFILE, "")).message == "busy, try again"
