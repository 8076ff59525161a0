# Replies on their way to the socket, and a client's end.
from libc.stdint cimport uint64_t

from protocols.nbd.station cimport Client, Ending, Parcel, Station
from storage.mapping cimport Mapping

cdef Parcel *make_parcel(Client *client, size_t room) noexcept nogil
cdef void post(Client *client, Parcel *parcel, uint64_t begin, uint64_t length) noexcept nogil
cdef bint send_outbox(Station *station, Client *client) noexcept nogil
cdef void clear_stage(Station *station) noexcept nogil
cdef void stage_mapped(Station *station, const Mapping *mapping, const char *data, size_t length) noexcept nogil
cdef bint send_stage(Station *station, Client *client) noexcept nogil
cdef bint send_file(Station *station, Client *client, int fd, uint64_t at, uint64_t length) noexcept nogil
cdef void make_ready(Station *station, Client *client) noexcept nogil
cdef void end_client(Station *station, Client *client, Ending ending) noexcept nogil
