from protocols.tftp.station cimport Station, Transfer

cdef void send_window(Station *station, Transfer *transfer) noexcept nogil
cdef bint send_packet(Station *station, Transfer *transfer, const char *packet, size_t length) noexcept nogil
cdef void read_ahead(Station *station, Transfer *transfer) noexcept nogil
cdef void forget_piece(Transfer *transfer) noexcept nogil
