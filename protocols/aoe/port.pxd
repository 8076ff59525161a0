# The packet sockets of a pump: frames in by a ring, replies out by the batch.
from libc.stdint cimport uint8_t, uint64_t

from protocols.aoe.station cimport Port, Station, Wish

cdef Port *open_port(int fd, int out) except NULL
cdef void free_port(Port *port) noexcept nogil
cdef void close_port(Port *port) noexcept nogil
cdef void take_error(Station *station, Port *port) noexcept nogil
cdef uint64_t count_missed(Port *port) noexcept nogil
cdef void post(Station *station, uint8_t *reply, size_t length, Wish *owner) noexcept nogil
cdef void post_gathered(Station *station, uint8_t *reply, const char *data, size_t length) noexcept nogil
cdef void send_queued(Station *station) noexcept nogil
