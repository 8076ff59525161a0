# The ring of memory that the kernel puts frames into, and the order in which they leave it.
from libc.stdint cimport uint8_t, uint64_t

from protocols.aoe.station cimport Ring, Station

cdef int open_ring(Ring *ring, int fd) except -1
cdef void free_ring(Ring *ring) noexcept nogil
cdef const uint8_t *next_frame(Station *station, Ring *ring, size_t *length) noexcept nogil
cdef bint await_frame(const Ring *ring, uint64_t nanoseconds) noexcept nogil
cdef void give_back(Ring *ring) noexcept nogil
