# Stretches of images that are images by themselves.
from libc.stdint cimport uint64_t

from storage.image cimport Image

cdef class WindowImage(Image):
    cdef readonly Image base
    cdef readonly uint64_t start
    cdef size_t inside(self, size_t length, uint64_t offset) noexcept nogil
