from protocols.tftp.station cimport Ending, Station, Transfer, Words

cdef void make_ready(Station *station, Transfer *transfer) noexcept nogil
cdef void end_transfer(Station *station, Transfer *transfer, Ending ending, const Words *farewell) noexcept nogil
