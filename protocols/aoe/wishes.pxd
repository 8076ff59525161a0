# Commands that wait: cold reads, writes and flushes among the workers, bounded in all and for each machine.
from libc.stdint cimport uint8_t, uint64_t

from protocols.aoe.station cimport Disk, Station, Wish
from storage.workers cimport TaskKind

cdef void begin_wish(
    Station *station, Disk *disk, const uint8_t *frame, TaskKind kind, uint64_t offset, size_t length
) noexcept nogil
cdef void end_wish(Station *station, Wish *wish) noexcept nogil
cdef void release_wish(Station *station, Wish *wish) noexcept nogil
