# What one client reads of one image: noted by a pump without the GIL, looked at by Python at any time.
from libc.stdint cimport uint32_t, uint64_t

from storage.threads cimport pthread_mutex_t

cdef enum:
    RUN_MOST = 1 << 20  # bytes of one run: how exactly its reads' times are kept

# Reads that followed each other without a gap.
cdef struct Run:
    uint64_t at  # nanoseconds from the trace's beginning to its first read
    uint64_t offset
    uint32_t length
    uint32_t reads

cdef struct Record:
    pthread_mutex_t lock
    bint is_over  # written under the lock; read without it, where being a read late does no harm
    uint64_t began
    Run *runs
    uint32_t used
    uint32_t room
    uint32_t most
    uint64_t dropped  # reads that found no room

# A pump that records keeps the record's address, and a reference to the trace that has it; NULL where nobody asks.
cdef void note_read(Record *record, uint64_t offset, uint32_t length) noexcept nogil

cdef class Trace:
    cdef Record record
