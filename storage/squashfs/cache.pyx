# cython: language_level=3
"""Decompressed blocks, shared by all images, clients and threads; a fixed number of bytes.

Whoever asks first for a block loads it, without the lock; whoever asks meanwhile waits for that one load (or is told
that it is not there yet). What is in use has a pin and stays; of the rest the one not used for longest goes first.
A block takes room only when its compressed bytes were read: an image may lie inside another image of the same cache,
and so no thread waits for room while it keeps some from others.
"""
from libc.errno cimport ENOMEM
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from storage.squashfs.fault cimport Fault, failed
from storage.squashfs.format cimport BLOCK_LEAST
from storage.threads cimport (
    pthread_cond_broadcast,
    pthread_cond_destroy,
    pthread_cond_init,
    pthread_cond_wait,
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_unlock,
)

CAPACITY_LEAST = 4 << 20  # bytes: some of the largest blocks, so that several threads need not wait for each other


cdef uint64_t cost_of(uint32_t room) noexcept nogil:
    return room + sizeof(Block)


cdef uint32_t room_class(uint32_t room) noexcept nogil:
    # Powers of two, so that a block that goes makes place for one that comes without asking for memory.
    cdef uint32_t rounded = BLOCK_LEAST
    while rounded < room:
        rounded <<= 1
    return rounded


cdef Block **bucket_of(Cache cache, uint64_t owner, uint64_t position) noexcept nogil:
    cdef uint64_t mixed = (position ^ owner * <uint64_t> 0x9E3779B97F4A7C15) * <uint64_t> 0xBF58476D1CE4E5B9
    return &cache.buckets[mixed >> 32 & cache.mask]


cdef Block *find(Cache cache, uint64_t owner, uint64_t position) noexcept nogil:
    cdef Block *block = bucket_of(cache, owner, position)[0]
    while block != NULL and (block.position != position or block.owner != owner):
        block = block.chain
    return block


cdef void unlink(Cache cache, Block *block) noexcept nogil:
    # Out of its bucket and out of the order: nobody finds it any more.
    cdef Block **at = bucket_of(cache, block.owner, block.position)
    while at[0] != block:
        at = &at[0].chain
    at[0] = block.chain
    take_out(cache, block)


cdef void take_out(Cache cache, Block *block) noexcept nogil:
    if block.older != NULL:
        block.older.newer = block.newer
    else:
        cache.oldest = block.newer
    if block.newer != NULL:
        block.newer.older = block.older
    else:
        cache.newest = block.older


cdef void put_newest(Cache cache, Block *block) noexcept nogil:
    block.older, block.newer = cache.newest, NULL
    if cache.newest != NULL:
        cache.newest.newer = block
    else:
        cache.oldest = block
    cache.newest = block


cdef void touch(Cache cache, Block *block) noexcept nogil:
    if cache.newest != block:
        take_out(cache, block)
        put_newest(cache, block)


cdef void discard(Cache cache, Block *block) noexcept nogil:
    cache.used -= cost_of(block.room)
    free(block.bytes)
    free(block)


cdef char *evict(Cache cache, uint32_t room) noexcept nogil:
    # What the one not used for longest leaves: its bytes if they are of that room, else only more to spend.
    cdef char *bytes = NULL
    cdef Block *block = cache.oldest
    while block.pins:
        block = block.newer
    unlink(cache, block)
    cache.evictions += 1
    if block.room == room:
        bytes = block.bytes
        block.bytes = NULL
    discard(cache, block)
    return bytes


cdef bint can_evict(Cache cache) noexcept nogil:
    cdef Block *block = cache.oldest
    while block != NULL and block.pins:
        block = block.newer
    return block != NULL


cdef Block *begin(Cache cache, uint64_t owner, uint64_t position) noexcept nogil:
    cdef Block *block = <Block *> calloc(1, sizeof(Block))
    cdef Block **bucket = bucket_of(cache, owner, position)
    if block == NULL:
        return NULL
    block.owner, block.position = owner, position
    block.state, block.pins = LOADING, 1
    block.chain = bucket[0]
    bucket[0] = block
    put_newest(cache, block)
    cache.used += cost_of(0)
    cache.misses += 1
    return block


cdef int wait_for(Cache cache, Block *block, Fault *fault) noexcept nogil:
    # The block is another's to load. Its pin is kept for the caller, unless it broke.
    block.pins += 1
    cache.waits += 1
    while block.state == LOADING:
        pthread_cond_wait(&cache.changed, &cache.lock)
    if block.state == READY:
        return 0
    fault[0] = block.fault
    unpin(cache, block)
    return -fault.number


cdef void unpin(Cache cache, Block *block) noexcept nogil:
    block.pins -= 1
    if block.pins:
        return
    if block.state == BROKEN:
        discard(cache, block)
    if cache.is_starved:
        cache.is_starved = False
        pthread_cond_broadcast(&cache.changed)


cdef int hold(
    Cache cache, uint64_t owner, uint64_t position, Block **block, Held *how, Fault *fault
) noexcept nogil:
    cdef int result = 0
    how[0] = IS_READY
    pthread_mutex_lock(&cache.lock)
    cdef Block *found = find(cache, owner, position)
    if found == NULL:
        found = begin(cache, owner, position)
        how[0] = TO_LOAD
        if found == NULL:
            result = failed(fault, ENOMEM, position)
    else:
        cache.hits += 1
        touch(cache, found)
        if found.state == LOADING:
            result = wait_for(cache, found, fault)
        else:
            found.pins += 1
    pthread_mutex_unlock(&cache.lock)
    block[0] = found
    return result


cdef int furnish(Cache cache, Block *block, uint32_t room, Fault *fault) noexcept nogil:
    """Give a block that is being loaded its `room` bytes; waits while all else is in use."""
    cdef char *bytes = NULL
    room = room_class(room)
    pthread_mutex_lock(&cache.lock)
    while bytes == NULL and cache.used + room > cache.capacity:
        if can_evict(cache):
            bytes = evict(cache, room)
        else:
            cache.is_starved = True
            pthread_cond_wait(&cache.changed, &cache.lock)
    if bytes == NULL:
        bytes = <char *> malloc(room)
    if bytes != NULL:
        block.bytes, block.room = bytes, room
        cache.used += room
    pthread_mutex_unlock(&cache.lock)
    return 0 if bytes != NULL else failed(fault, ENOMEM, block.position)


cdef Block *hold_now(Cache cache, uint64_t owner, uint64_t position) noexcept nogil:
    cdef Block *block
    pthread_mutex_lock(&cache.lock)
    block = find(cache, owner, position)
    if block != NULL and block.state == READY:
        cache.hits += 1
        block.pins += 1
        touch(cache, block)
    else:
        block = NULL
    pthread_mutex_unlock(&cache.lock)
    return block


cdef void settle(Cache cache, Block *block, ssize_t length, const Fault *fault) noexcept nogil:
    """The load is over: `length` bytes, or negative and a fault, which all who wait are told. The pin stays."""
    pthread_mutex_lock(&cache.lock)
    if length >= 0:
        block.length = <uint32_t> length
        block.state = READY
    else:
        unlink(cache, block)  # the next one who asks tries again: a disk's error may pass
        block.fault = fault[0]
        block.state = BROKEN
    pthread_cond_broadcast(&cache.changed)
    pthread_mutex_unlock(&cache.lock)


cdef void release(Cache cache, Block *block) noexcept nogil:
    pthread_mutex_lock(&cache.lock)
    unpin(cache, block)
    pthread_mutex_unlock(&cache.lock)


cdef void forget(Cache cache, uint64_t owner) noexcept nogil:
    """Drop what is of an image that nobody reads any more."""
    cdef Block *block
    cdef Block *newer
    pthread_mutex_lock(&cache.lock)
    block = cache.oldest
    while block != NULL:
        newer = block.newer
        if block.owner == owner and block.pins == 0:
            unlink(cache, block)
            discard(cache, block)
        block = newer
    pthread_mutex_unlock(&cache.lock)


cdef class Cache:
    """A fixed number of bytes of decompressed blocks."""

    def __cinit__(self, uint64_t capacity):
        cdef uint64_t buckets = 64
        if capacity < <uint64_t> CAPACITY_LEAST:
            raise ValueError(f"a cache of {capacity} bytes is too small: at least {CAPACITY_LEAST}")
        self.capacity = capacity
        while buckets < capacity // BLOCK_LEAST:
            buckets <<= 1
        self.mask = buckets - 1
        self.buckets = <Block **> calloc(buckets, sizeof(Block *))
        if self.buckets == NULL:
            raise MemoryError
        pthread_mutex_init(&self.lock, NULL)
        pthread_cond_init(&self.changed, NULL)

    def __dealloc__(self):
        cdef Block *block = self.oldest
        cdef Block *newer
        if self.buckets == NULL:
            return
        while block != NULL:
            newer = block.newer
            free(block.bytes)
            free(block)
            block = newer
        free(self.buckets)
        pthread_mutex_destroy(&self.lock)
        pthread_cond_destroy(&self.changed)
