# The seam between native pumps and storage. Every layer of an image stack has exactly these six
# operations, so layers stack; each returns a count of bytes (flush, punch, place: 0) or -errno, and holds no GIL.
from libc.stdint cimport uint64_t

# Where bytes of an image lie in a file, for sendfile.
cdef struct Place:
    int fd
    uint64_t offset

cdef class Image:
    cdef readonly uint64_t size
    cdef readonly bint writable
    cdef readonly str version
    cdef ssize_t read_now(self, char *into, size_t length, uint64_t offset) noexcept nogil
    cdef ssize_t read(self, char *into, size_t length, uint64_t offset) noexcept nogil
    cdef ssize_t write(self, const char *data, size_t length, uint64_t offset) noexcept nogil
    cdef int flush(self) noexcept nogil
    # The range reads as zeros from now on and takes no room; -EOPNOTSUPP: write zeros instead.
    cdef int punch(self, uint64_t offset, uint64_t length) noexcept nogil
    # 0: these bytes are a file's and all in memory; -EAGAIN: not all in memory; -EOPNOTSUPP: no file has them as they are.
    cdef int place(self, uint64_t offset, size_t length, Place *into) noexcept nogil

cdef class FileImage(Image):
    cdef readonly str path
    cdef int fd
    cdef bint in_memory
    cdef bint can_seek_holes
    cdef void *mapping  # for mincore, where cachestat is missing
    cdef uint64_t mapped  # bytes of it

cdef class BytesImage(Image):
    cdef readonly bytes content
    cdef const char *start

cdef class PaddedImage(Image):
    cdef readonly Image base
