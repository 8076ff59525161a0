# Decompressed blocks, shared by all images, clients and threads.
from libc.stdint cimport uint32_t, uint64_t

from storage.squashfs.fault cimport Fault
from storage.threads cimport pthread_cond_t, pthread_mutex_t

cdef enum State:
    LOADING
    READY
    BROKEN

cdef struct Block:
    uint64_t owner          # the image's number
    uint64_t position       # of the block in the image
    uint64_t next           # metadata: position of the block behind it
    char *bytes
    uint32_t length         # how many of them, once ready
    uint32_t room           # what was taken for them; nothing before `furnish`
    uint32_t pins           # threads that use it: as long as there are any it stays
    State state
    Fault fault             # once broken
    Block *chain            # next in its bucket
    Block *older            # in the order of use
    Block *newer

cdef enum Held:
    IS_READY    # the block has its bytes
    TO_LOAD     # the caller is the one that loads it: `furnish` it, fill it, `settle` it

cdef class Cache:
    cdef readonly uint64_t capacity
    cdef readonly uint64_t used
    cdef readonly uint64_t hits
    cdef readonly uint64_t misses
    cdef readonly uint64_t waits
    cdef readonly uint64_t evictions
    cdef pthread_mutex_t lock
    cdef pthread_cond_t changed
    cdef bint is_starved        # somebody waits for room
    cdef Block **buckets
    cdef uint64_t mask
    cdef Block *oldest
    cdef Block *newest

# A block with a pin of the caller's, who gives it back by `release`. `hold` may wait; 0 or a fault's negative errno.
cdef int hold(
    Cache cache, uint64_t owner, uint64_t position, Block **block, Held *how, Fault *fault
) noexcept nogil
cdef int furnish(Cache cache, Block *block, uint32_t room, Fault *fault) noexcept nogil
cdef Block *hold_now(Cache cache, uint64_t owner, uint64_t position) noexcept nogil  # NULL: it is not there, or not yet
cdef void settle(Cache cache, Block *block, ssize_t length, const Fault *fault) noexcept nogil
cdef void release(Cache cache, Block *block) noexcept nogil
cdef void forget(Cache cache, uint64_t owner) noexcept nogil
