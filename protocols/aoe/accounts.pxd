# Who uses which target: accounts by machine and target, bounded, the quietest forgotten first.
from libc.stdint cimport uint32_t, uint64_t

from storage.trace cimport Record

cdef struct Account:
    uint64_t mac
    uint32_t address  # shelf << 8 | slot
    bint is_identified  # the last word was an IDENTIFY
    bint is_told  # of its first command
    uint64_t bytes_read
    uint64_t bytes_written
    uint64_t commands
    double since
    Record *trace  # of its reads; the ledger has what it is part of; NULL: nobody asks
    Account *next_of_bucket
    Account *quieter
    Account *louder

cdef struct Table:
    Account *accounts
    Account **buckets
    uint32_t mask  # of buckets: their number less one
    uint32_t limit
    uint32_t used  # those behind were never used
    Account *spare
    Account *quietest
    Account *loudest

cdef Account *touch(Table *table, uint64_t mac, uint32_t address, double now) noexcept nogil
cdef void count_command(Account *account, uint64_t read, uint64_t written) noexcept nogil

cdef class Ledger:
    cdef Table table
    cdef dict traces  # by machine and target; those that were ended stay until the next comes
