# cython: language_level=3
"""Files in memory, that the kernel copies replies from: the mappings, and what is believed to be there.

A reply whose data is gathered from a mapped file costs no call to read it and one copy less. Measured: a third to four
tenths more AoE replies of two sectors, with 16 and with 64 in flight; as much again for NBD's reads of 4 KiB from 16
clients with four in flight, an eighth from 64 with one. The bytes are never touched here, only by the kernel as it
sends: where a file was cut short it says EFAULT, and no SIGBUS comes. What it must not do is wait for a disk. So the
image is asked (`Image.place`) whether bytes are in memory, for a part of it at a time as that costs more than a reply,
and what it says is believed for a second. The kernel may need the memory sooner. Then a reply waits for the disk,
which the thread's count of such faults tells, and for a while nothing is sent from mappings: each read asks for its
own bytes, as those of images that are no files and of images that are written.
"""
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from storage.image cimport Image, Place

cdef extern from "<sys/mman.h>" nogil:
    enum:
        PROT_READ
        MAP_SHARED
    void *MAP_FAILED
    void *mmap(void *where, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void *where, size_t length)

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sys/resource.h>
    """
    struct rusage:
        long ru_majflt
    enum:
        RUSAGE_THREAD
    int getrusage(int who, rusage *into) nogil

cdef enum:
    LARGEST = 4096  # bytes of a reply: with more, the processor's own books of a mapping's pages cost more than a call
    PART = 64 << 10  # bytes: as many as the kernel maps at once; to ask for them costs as much as two pages by themselves
    UNKNOWN = 0
    PRESENT = 1
    ABSENT = 2

cdef double BELIEF = 1.0  # seconds: of 500 MB in memory, asking takes under a hundredth of a core


cdef uint64_t parts_of(const Mapping *mapping) noexcept nogil:
    return (mapping.size + PART - 1) // PART


cdef int open_mapping(Mapping *mapping, uint64_t size) except -1:
    # For an image that nobody writes: those bytes may be elsewhere from one moment to the next.
    mapping.size = size
    mapping.parts = <uint8_t *> calloc(parts_of(mapping) + 1, 1)
    if mapping.parts == NULL:
        raise MemoryError
    return 0


cdef void close_mapping(Mapping *mapping) noexcept nogil:
    if mapping.mapped != NULL:
        munmap(mapping.mapped, mapping.mapped_length)
    free(mapping.parts)
    mapping.mapped = mapping.parts = NULL


cdef bint map_file(Mapping *mapping, int fd, uint64_t before) noexcept nogil:
    # The image's bytes come after so many of the file's.
    cdef size_t length = before + mapping.size
    cdef void *mapped = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0)
    if mapped == MAP_FAILED:
        return False
    mapping.mapped = mapped
    mapping.mapped_length = length
    mapping.start = <const char *> mapped + before
    mapping.fd = fd
    return True


cdef uint8_t look_for(Mapping *mapping, void *image, uint64_t part) noexcept nogil:
    cdef Place place
    cdef uint64_t offset = part * PART
    cdef size_t length = min(<uint64_t> PART, mapping.size - offset)
    if (<Image> image).place(offset, length, &place) != 0 or place.offset < offset:
        return ABSENT
    if mapping.mapped == NULL and not map_file(mapping, place.fd, place.offset - offset):
        return ABSENT
    if place.fd != mapping.fd or <const char *> mapping.mapped + place.offset != mapping.start + offset:
        return ABSENT
    return PRESENT


cdef const char *find_mapped(
    Mapping *mapping, void *image, const Belief *belief, double now, uint64_t offset, size_t length
) noexcept nogil:
    # Where the kernel finds bytes of the image without waiting; NULL: read them.
    cdef uint64_t part
    if mapping.parts == NULL or not 0 < length <= LARGEST or now < belief.doubted:
        return NULL
    if now >= mapping.believed:
        memset(mapping.parts, UNKNOWN, parts_of(mapping))
        mapping.believed = now + BELIEF
    for part in range(offset // PART, (offset + length - 1) // PART + 1):
        if mapping.parts[part] == UNKNOWN:
            mapping.parts[part] = look_for(mapping, image, part)
        if mapping.parts[part] == ABSENT:
            return NULL
    return mapping.start + offset


cdef uint64_t place_of(const Mapping *mapping, const char *data) noexcept nogil:
    # The offset in the file of bytes that find_mapped found.
    return data - <const char *> mapping.mapped


cdef void doubt(Belief *belief, double now) noexcept nogil:
    # Something is no longer where it was; what is believed by then is asked for anew.
    belief.doubted = now + BELIEF


cdef void watch_faults(Belief *belief, double now) noexcept nogil:
    cdef rusage used
    belief.gathered = 0
    if getrusage(RUSAGE_THREAD, &used) == 0 and used.ru_majflt != belief.faults:
        belief.faults = used.ru_majflt
        doubt(belief, now)
