from protocols.tftp.station cimport Station, Transfer

cdef int make_room(Station *station, size_t transfers) except -1
cdef void set_alarm(Station *station, Transfer *transfer) noexcept nogil
cdef void drop_alarm(Station *station, Transfer *transfer) noexcept nogil
cdef Transfer *take_overdue(Station *station) noexcept nogil
cdef void set_timer(Station *station) noexcept nogil
