# cython: language_level=3
"""What went wrong in an image, from where it is seen without the GIL to the exception; nothing of it is for Python."""
from libc.errno cimport EIO, EOPNOTSUPP

import os

from storage.errors import StorageError
from storage.squashfs.errors import CorruptError, OutOfRangeError, UnsupportedError


cdef int tell(Fault *fault, FaultKind kind, int number, const char *what, uint64_t offset) noexcept nogil:
    fault.kind = kind
    fault.number = number
    fault.what = what
    fault.offset = offset
    return -number


cdef int corrupt(Fault *fault, const char *what, uint64_t offset) noexcept nogil:
    return tell(fault, CORRUPT, EIO, what, offset)


cdef int unsupported(Fault *fault, const char *what, uint64_t offset) noexcept nogil:
    return tell(fault, UNSUPPORTED, EOPNOTSUPP, what, offset)


cdef int out_of_range(Fault *fault, const char *what, uint64_t offset) noexcept nogil:
    return tell(fault, OUT_OF_RANGE, EIO, what, offset)


cdef int failed(Fault *fault, int number, uint64_t offset) noexcept nogil:
    return tell(fault, FAILED, number, "reading", offset)


cdef object raise_fault(const Fault *fault):
    if fault.kind == FAILED:
        raise StorageError(f"reading the image at byte {fault.offset} failed: {os.strerror(fault.number)}", fault.number)
    error = {CORRUPT: CorruptError, UNSUPPORTED: UnsupportedError, OUT_OF_RANGE: OutOfRangeError}[fault.kind]
    raise error(fault.what.decode(), fault.offset)
