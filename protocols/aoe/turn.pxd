# One frame's answer.
from libc.stdint cimport uint8_t, uint32_t

from protocols.aoe.station cimport Disk, Station

cdef Disk *find_disk(const Station *station, uint32_t address) noexcept nogil
cdef void take_frame(Station *station, const uint8_t *frame, size_t length) noexcept nogil
