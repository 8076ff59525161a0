# cython: language_level=3
"""Windows: a stretch of an image that is an image by itself, such as a file that lies whole inside an ISO.

Pumps send from one by sendfile and without a copy, as from the file that it is a stretch of.
"""
from libc.errno cimport ENXIO
from libc.stdint cimport uint64_t

from storage.image cimport Image, Place


cdef class WindowImage(Image):
    """A read-only layer that shows some bytes of its base."""

    def __cinit__(self, Image base not None, uint64_t start, uint64_t length):
        if start > base.size or length > base.size - start:
            raise ValueError(f"{length} bytes at {start} leave the image of {base.size} bytes")
        self.base = base
        self.start = start
        self.size = length
        self.version = f"{base.version}.{start:x}.{length:x}"

    cdef size_t inside(self, size_t length, uint64_t offset) noexcept nogil:
        if offset >= self.size:
            return 0
        return min(length, <size_t> (self.size - offset))

    cdef ssize_t read_now(self, char *into, size_t length, uint64_t offset) noexcept nogil:
        length = self.inside(length, offset)
        return self.base.read_now(into, length, self.start + offset) if length else 0

    cdef ssize_t read(self, char *into, size_t length, uint64_t offset) noexcept nogil:
        length = self.inside(length, offset)
        return self.base.read(into, length, self.start + offset) if length else 0

    cdef int place(self, uint64_t offset, size_t length, Place *into) noexcept nogil:
        if self.inside(length, offset) < length:
            return -ENXIO
        return self.base.place(self.start + offset, length, into)
