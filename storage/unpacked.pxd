# Layers that keep what was read of an image in another, from which pumps send without copying.
from libc.stdint cimport uint64_t

from storage.image cimport Image

cdef class UnpackedImage(Image):
    cdef readonly Image base
    cdef readonly Image store
    cdef unsigned char *pieces  # of each PIECE bytes: EMPTY, FILLING or KEPT
    cdef uint64_t piece_count
    cdef ssize_t read_piece(self, char *into, size_t length, uint64_t offset) noexcept nogil
    cdef int fill(self, uint64_t number) noexcept nogil
    cdef bint is_all_kept(self, uint64_t offset, uint64_t length) noexcept nogil
