# The seam between native pumps and storage. Every layer of an image stack has exactly these four
# operations, so layers stack; each returns a count of bytes (flush: 0) or -errno, and holds no GIL.
from libc.stdint cimport uint64_t

cdef class Image:
    cdef readonly uint64_t size
    cdef readonly bint writable
    cdef readonly str version
    cdef ssize_t read_now(self, char *into, size_t length, uint64_t offset) noexcept nogil
    cdef ssize_t read(self, char *into, size_t length, uint64_t offset) noexcept nogil
    cdef ssize_t write(self, const char *data, size_t length, uint64_t offset) noexcept nogil
    cdef int flush(self) noexcept nogil

cdef class FileImage(Image):
    cdef readonly str path
    cdef int fd
    cdef bint in_memory
    cdef bint can_seek_holes

cdef class BytesImage(Image):
    cdef readonly bytes content
    cdef const char *start

cdef class PaddedImage(Image):
    cdef readonly Image base
