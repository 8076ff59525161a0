# Writable layers over a read-only image, or over zeros, in one sparse file each.
from libc.stdint cimport uint64_t

from storage.image cimport Image
from storage.threads cimport pthread_mutex_t

cdef class LayerImage(Image):
    cdef readonly Image base  # None: zeros
    cdef readonly Image store
    cdef readonly uint64_t quota
    cdef uint64_t clusters
    cdef uint64_t filled_count
    cdef uint64_t map_start
    cdef uint64_t pages  # of the map
    cdef unsigned char *filled  # a bit a cluster: it takes room in the store
    cdef unsigned char *own  # a bit a cluster: the base is no longer asked; NULL without a base
    cdef unsigned char *changed  # a byte a page of the map: it has bits that the store's lacks
    cdef unsigned char *snapshot  # the map as a flush brings it to the disk, and a byte a page that it brings
    cdef int failure  # of a flush: what was written before it may be lost, so that no later one can succeed
    cdef pthread_mutex_t writing
    cdef pthread_mutex_t flushing
    cdef ssize_t fetch(self, char *into, size_t length, uint64_t offset, bint now) noexcept nogil
    cdef ssize_t put(self, const char *data, size_t length, uint64_t offset) noexcept nogil
    cdef int clear(self, uint64_t offset, uint64_t length) noexcept nogil
    cdef uint64_t take_changes(self) noexcept nogil
    cdef int commit(self) noexcept nogil
