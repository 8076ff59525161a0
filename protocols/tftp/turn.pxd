from protocols.tftp.station cimport Piece, Station, Transfer

cdef void begin_transfer(Station *station, Transfer *transfer) noexcept nogil
cdef void take_turn(Station *station, Transfer *transfer) noexcept nogil
cdef void take_back(Station *station, Piece *piece) noexcept nogil
cdef void ask_again(Station *station) noexcept nogil
cdef bint has_begun(const Transfer *transfer) noexcept nogil
cdef void on_room(Station *station, Transfer *transfer) noexcept nogil
