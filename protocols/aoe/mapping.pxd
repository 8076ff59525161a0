# Files in memory, that the kernel copies replies from.
from libc.stdint cimport uint64_t

from protocols.aoe.station cimport Disk, Station

cdef int open_mapping(Disk *disk) except -1
cdef void close_mapping(Disk *disk) noexcept nogil
cdef const char *find_mapped(Station *station, Disk *disk, uint64_t offset, size_t length) noexcept nogil
cdef void doubt(Station *station) noexcept nogil
cdef void watch_faults(Station *station) noexcept nogil
