# What a pump has to tell Python, in a bounded line.
from libc.stdint cimport uint8_t

from protocols.aoe.accounts cimport Account
from protocols.aoe.station cimport Disk, Station

cdef void note_frame(Station *station, const uint8_t *frame, size_t length) noexcept nogil
cdef void note_first(Station *station, Account *account) noexcept nogil
cdef void note_failed(Station *station, Disk *disk, int failed) noexcept nogil
cdef list take_notes(Station *station, int most)
cdef void drop_notes(Station *station) noexcept nogil
