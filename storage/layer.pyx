# cython: language_level=3
"""Writable layers: a client's own writes over an image that others share, or over zeros, in one sparse file each.

The file has the layer's bytes at the offsets they are read at. With a base, a map behind them has a bit for each
cluster that is the layer's own, and the base is asked for the rest:

    0                       size, to a whole cluster                        + the map, to a whole page
    | data, holes           | map: bit n % 8 of byte n // 8 is cluster n's  | header (layerfile.py) |

A cluster's first write copies what it does not cover from the base. A flush brings the data to the disk first and the
map's new bits after it. Bits are only ever set, so a page of the map that power loss tears is a mix of two states,
each of which has every bit that a flush acknowledged, and none whose data is not there: no checksum and no journal
could add to that. Clusters that were filled without their bit being kept are the base's again, and are emptied when
the layer is opened. After a flush has failed the kernel may have dropped what it could not write, so all later ones
fail too, until the layer is opened anew.

Reads take no lock. Writes take one a layer: the kernel lets one thread at a time write to a file anyhow.
"""
from libc.errno cimport EIO, ENOSPC, EOPNOTSUPP
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from storage.image cimport Image, Place
from storage.threads cimport (
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_unlock,
)

cdef extern from *:
    """
    #include <stdint.h>
    static inline int has_bit(const unsigned char *map, uint64_t n) {
        return __atomic_load_n(map + n / 8, __ATOMIC_ACQUIRE) >> (n % 8) & 1;
    }
    static inline void set_bit(unsigned char *map, uint64_t n) {
        __atomic_fetch_or(map + n / 8, (unsigned char) (1 << (n % 8)), __ATOMIC_RELEASE);
    }
    static inline void clear_bit(unsigned char *map, uint64_t n) {
        __atomic_fetch_and(map + n / 8, (unsigned char) ~(1 << (n % 8)), __ATOMIC_RELEASE);
    }
    """
    bint has_bit(const unsigned char *map, uint64_t n) nogil
    void set_bit(unsigned char *map, uint64_t n) nogil
    void clear_bit(unsigned char *map, uint64_t n) nogil

cdef enum:
    CLUSTER = 4096  # bytes: a page, and a block of the file systems that layers are kept on
    MAP_PAGE = 4096  # bytes of the map that are written at once
    PAGE_BITS = MAP_PAGE * 8

LAYER_CLUSTER = CLUSTER
LAYER_MAP_PAGE = MAP_PAGE
cdef uint64_t LOOK = 256 << 20  # bytes whose holes are listed at once when a layer is opened
cdef char[CLUSTER] ZEROS  # as C begins every such variable


cdef uint64_t rounded(uint64_t count, uint64_t unit) noexcept nogil:
    return (count + unit - 1) // unit


def map_bytes(uint64_t size):
    return rounded(rounded(size, CLUSTER), PAGE_BITS) * MAP_PAGE


cdef void fill(LayerImage layer, uint64_t first, uint64_t end) noexcept nogil:
    cdef uint64_t number
    for number in range(first, end):
        if not has_bit(layer.filled, number):
            set_bit(layer.filled, number)
            layer.filled_count += 1


cdef void empty(LayerImage layer, uint64_t first, uint64_t end) noexcept nogil:
    cdef uint64_t number
    for number in range(first, end):
        if has_bit(layer.filled, number):
            clear_bit(layer.filled, number)
            layer.filled_count -= 1


cdef void keep(LayerImage layer, uint64_t first, uint64_t end) noexcept nogil:
    # Once its data is written: a reader that sees the bit finds the data.
    cdef uint64_t number
    if layer.own == NULL:
        return
    for number in range(first, end):
        if not has_bit(layer.own, number):
            set_bit(layer.own, number)
            layer.changed[number // PAGE_BITS] = True


cdef bint is_own(LayerImage layer, uint64_t number) noexcept nogil:
    return layer.own == NULL or has_bit(layer.own, number)


cdef uint64_t run_end(LayerImage layer, uint64_t offset, uint64_t end) noexcept nogil:
    # Where bytes cease to be whose the first is.
    cdef uint64_t number = offset // CLUSTER
    cdef bint is_first_own = is_own(layer, number)
    if layer.own == NULL:
        return end
    while number * CLUSTER < end and is_own(layer, number) == is_first_own:
        number += 1
    return min(end, number * CLUSTER)


cdef size_t inside(LayerImage layer, uint64_t length, uint64_t offset) noexcept nogil:
    return 0 if offset >= layer.size else min(length, layer.size - offset)


cdef ssize_t read_base(LayerImage layer, char *into, size_t length, uint64_t offset, bint now) noexcept nogil:
    # What lies behind a base that is shorter than the layer is zeros.
    cdef size_t there = 0 if offset >= layer.base.size else min(length, <size_t> (layer.base.size - offset))
    cdef ssize_t got = 0
    if there:
        got = layer.base.read_now(into, there, offset) if now else layer.base.read(into, there, offset)
    if got < 0 or <size_t> got < there:
        return got
    memset(into + there, 0, length - there)
    return length


cdef int copy_up(LayerImage layer, uint64_t start, uint64_t end) noexcept nogil:
    # A part of one cluster, from the base.
    cdef char[CLUSTER] bytes
    cdef ssize_t length = end - start
    cdef ssize_t done
    if length == 0:
        return 0
    done = read_base(layer, bytes, length, start, False)
    if done == length:
        done = layer.store.write(bytes, length, start)
    if done < 0:
        return <int> done
    return 0 if done == length else -EIO


cdef int copy_edges(LayerImage layer, uint64_t offset, uint64_t end) noexcept nogil:
    # What a write leaves of the clusters it begins and ends in, where those are still the base's.
    cdef uint64_t first = offset // CLUSTER, last = (end - 1) // CLUSTER
    cdef int failed = 0
    if not is_own(layer, first):
        failed = copy_up(layer, first * CLUSTER, offset)
    if failed == 0 and not is_own(layer, last):
        failed = copy_up(layer, end, min((last + 1) * CLUSTER, layer.size))
    return failed


cdef uint64_t count_empty(LayerImage layer, uint64_t first, uint64_t end) noexcept nogil:
    cdef uint64_t number, found = 0
    for number in range(first, end):
        found += not has_bit(layer.filled, number)
    return found


cdef class LayerImage(Image):
    def __cinit__(self, Image store not None, *, uint64_t size, quota=None, Image base=None):
        if not store.writable or size == 0:
            raise ValueError("a layer has to have a size, and a store that is writable")
        self.store = store
        self.base = base
        self.size = size
        self.writable = True
        self.version = ""  # it changes with every write
        self.clusters = rounded(size, CLUSTER)
        self.map_start = self.clusters * CLUSTER
        self.quota = self.map_start if quota is None else quota
        self.pages = rounded(self.clusters, PAGE_BITS)
        if store.size < (size if base is None else self.map_start + self.pages * MAP_PAGE):
            raise ValueError(f"a store of {store.size} bytes is too small for a layer of {size}")
        pthread_mutex_init(&self.writing, NULL)
        pthread_mutex_init(&self.flushing, NULL)
        self.filled = <unsigned char *> calloc(self.pages, MAP_PAGE)
        self.changed = <unsigned char *> calloc(self.pages, 1)
        if base is not None:
            self.own = <unsigned char *> calloc(self.pages, MAP_PAGE)
            self.snapshot = <unsigned char *> calloc(self.pages, MAP_PAGE + 1)
            if self.own == NULL or self.snapshot == NULL:
                raise MemoryError
        if self.filled == NULL or self.changed == NULL:
            raise MemoryError

    def __init__(self, store, *, size, quota=None, base=None):
        if self.own != NULL:
            self._read_map()
        self._find_filled()

    def __dealloc__(self):
        free(self.filled)
        free(self.own)
        free(self.changed)
        free(self.snapshot)
        pthread_mutex_destroy(&self.writing)
        pthread_mutex_destroy(&self.flushing)

    def _read_map(self):
        cdef uint64_t page, number
        cdef bytes found
        for page in range(self.pages):
            found = self.store.read_at(self.map_start + page * MAP_PAGE, MAP_PAGE)
            memcpy(self.own + page * MAP_PAGE, <const char *> found, MAP_PAGE)
        for number in range(self.clusters, self.pages * PAGE_BITS):
            clear_bit(self.own, number)  # of no cluster, whatever the file says

    def _find_filled(self):
        cdef uint64_t at = 0, length, number, first
        cdef bint is_hole
        while at < self.size:
            for length, is_hole in self.store.extents(at, min(LOOK, self.size - at)):
                if not is_hole:
                    fill(self, at // CLUSTER, rounded(at + length, CLUSTER))
                at += length
        number = 0
        while self.own != NULL and number < self.clusters:
            first = number
            while number < self.clusters and has_bit(self.filled, number) and not has_bit(self.own, number):
                number += 1
            if number > first and self.store.punch(first * CLUSTER, (number - first) * CLUSTER) == 0:
                empty(self, first, number)
            number += number == first

    @property
    def used(self):
        return self.filled_count * CLUSTER

    cdef ssize_t fetch(self, char *into, size_t length, uint64_t offset, bint now) noexcept nogil:
        cdef size_t done = 0, part
        cdef ssize_t got
        cdef bint is_stored
        length = inside(self, length, offset)
        while done < length:
            is_stored = is_own(self, (offset + done) // CLUSTER)
            part = run_end(self, offset + done, offset + length) - offset - done
            if not is_stored:
                got = read_base(self, into + done, part, offset + done, now)
            elif now:
                got = self.store.read_now(into + done, part, offset + done)
            else:
                got = self.store.read(into + done, part, offset + done)
            if got < 0:
                return got
            done += got
            if <size_t> got < part:
                break
        return done

    cdef ssize_t read_now(self, char *into, size_t length, uint64_t offset) noexcept nogil:
        return self.fetch(into, length, offset, True)

    cdef ssize_t read(self, char *into, size_t length, uint64_t offset) noexcept nogil:
        return self.fetch(into, length, offset, False)

    cdef ssize_t put(self, const char *data, size_t length, uint64_t offset) noexcept nogil:
        cdef uint64_t first = offset // CLUSTER, end = rounded(offset + length, CLUSTER)
        cdef uint64_t missing = count_empty(self, first, end)
        cdef int failed = 0
        cdef ssize_t done
        if missing and (self.filled_count + missing) * CLUSTER > self.quota:
            return -ENOSPC
        if self.own != NULL:
            failed = copy_edges(self, offset, offset + length)
        done = self.store.write(data, length, offset) if failed == 0 else failed
        fill(self, first, end)  # where it failed, too: a part of it may be there
        if done == <ssize_t> length:
            keep(self, first, end)
        return done

    cdef ssize_t write(self, const char *data, size_t length, uint64_t offset) noexcept nogil:
        cdef ssize_t done
        length = inside(self, length, offset)
        if length == 0:
            return 0
        pthread_mutex_lock(&self.writing)
        done = self.put(data, length, offset)
        pthread_mutex_unlock(&self.writing)
        return done

    cdef int clear(self, uint64_t offset, uint64_t length) noexcept nogil:
        cdef uint64_t end = offset + length
        cdef uint64_t first = rounded(offset, CLUSTER), last = self.clusters if end == self.size else end // CLUSTER
        cdef uint64_t head = min(end, first * CLUSTER)
        cdef ssize_t failed = 0
        # Parts of clusters: of the base's, zeros are written.
        if offset < head and not is_own(self, offset // CLUSTER):
            failed = self.put(ZEROS, head - offset, offset)
        if failed >= 0 and head < end and last * CLUSTER < end and not is_own(self, last):
            failed = self.put(ZEROS, end - last * CLUSTER, last * CLUSTER)
        if failed >= 0:
            failed = self.store.punch(offset, length)
        if failed < 0:
            return <int> failed
        if first < last:
            empty(self, first, last)
            keep(self, first, last)
        return 0

    cdef int punch(self, uint64_t offset, uint64_t length) noexcept nogil:
        cdef int failed
        length = inside(self, length, offset)
        if length == 0:
            return 0
        pthread_mutex_lock(&self.writing)
        failed = self.clear(offset, length)
        pthread_mutex_unlock(&self.writing)
        return failed

    cdef uint64_t take_changes(self) noexcept nogil:
        # The map's pages that the file lacks, as they are now; how many they are.
        cdef unsigned char *taken = self.snapshot + self.pages * MAP_PAGE
        cdef uint64_t page, count = 0
        pthread_mutex_lock(&self.writing)
        for page in range(self.pages):
            taken[page] = self.changed[page]
            if taken[page]:
                memcpy(self.snapshot + page * MAP_PAGE, self.own + page * MAP_PAGE, MAP_PAGE)
                self.changed[page] = False
                count += 1
        pthread_mutex_unlock(&self.writing)
        return count

    cdef int commit(self) noexcept nogil:
        # The map as it was before the data went to the disk: what is written meanwhile is another flush's.
        cdef uint64_t page, count = self.take_changes() if self.own != NULL else 0
        cdef int failed = self.store.flush()
        cdef ssize_t done
        if failed < 0 or count == 0:
            return failed
        for page in range(self.pages):
            if self.snapshot[self.pages * MAP_PAGE + page]:
                done = self.store.write(
                    <char *> self.snapshot + page * MAP_PAGE, MAP_PAGE, self.map_start + page * MAP_PAGE
                )
                if done != MAP_PAGE:
                    return <int> done if done < 0 else -EIO
        return self.store.flush()

    cdef int flush(self) noexcept nogil:
        # One at a time: the second may not say that all is kept while the first still writes the map.
        cdef int failed
        pthread_mutex_lock(&self.flushing)
        if self.failure == 0:
            self.failure = self.commit()
        failed = self.failure
        pthread_mutex_unlock(&self.flushing)
        return failed

    cdef int place(self, uint64_t offset, size_t length, Place *into) noexcept nogil:
        if length == 0 or inside(self, length, offset) < length or run_end(self, offset, offset + length) < offset + length:
            return -EOPNOTSUPP
        if is_own(self, offset // CLUSTER):
            return self.store.place(offset, length, into)
        if offset + length > self.base.size:
            return -EOPNOTSUPP
        return self.base.place(offset, length, into)

    def extents(self, uint64_t offset, uint64_t length):
        Image.extents(self, offset, length)  # which checks the range
        cdef uint64_t at = offset, end = offset + length, stop, there
        found = []
        while at < end:
            stop = run_end(self, at, end)
            if is_own(self, at // CLUSTER):
                found += self.store.extents(at, stop - at)
            else:
                there = min(stop, max(at, self.base.size))
                found += self.base.extents(at, there - at) if there > at else []
                if stop > there:
                    found.append((stop - there, True))
            at = stop
        return found
