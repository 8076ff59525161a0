# cython: language_level=3
"""Files in memory, that the kernel copies replies from: the mappings, and what is believed to be there.

A reply whose data is gathered from a mapped file costs no call to read it and one copy less; measured with 16 and with
64 reads of two sectors in flight, a third and four tenths more of them are answered. The bytes are never
touched here, only by the kernel as it sends: where a file was cut short it says EFAULT, and no SIGBUS comes. What it
must not do is wait for a disk. So the image is asked (`Image.place`) whether bytes are in memory, for a part of it at
a time as that costs more than a reply, and what it says is believed for a second. The kernel may need the memory
sooner. Then a reply waits for the disk, which the thread's count of such faults tells, and for a while nothing is sent
from mappings: each read asks for its own bytes, as those of images that are no files and of disks that are written.
"""
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from protocols.aoe.station cimport SECTOR, Disk, Station
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


cdef uint64_t size_of(const Disk *disk) noexcept nogil:
    return disk.sectors * SECTOR


cdef uint64_t parts_of(const Disk *disk) noexcept nogil:
    return (size_of(disk) + PART - 1) // PART


cdef int open_mapping(Disk *disk) except -1:
    # A disk that is written may have its bytes elsewhere from one moment to the next.
    if disk.is_writable:
        return 0
    disk.parts = <uint8_t *> calloc(parts_of(disk) + 1, 1)
    if disk.parts == NULL:
        raise MemoryError
    return 0


cdef void close_mapping(Disk *disk) noexcept nogil:
    if disk.mapped != NULL:
        munmap(disk.mapped, disk.mapped_length)
    free(disk.parts)


cdef bint map_file(Disk *disk, int fd, uint64_t before) noexcept nogil:
    # The disk's bytes come after so many of the file's.
    cdef size_t length = before + size_of(disk)
    cdef void *mapped = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0)
    if mapped == MAP_FAILED:
        return False
    disk.mapped = mapped
    disk.mapped_length = length
    disk.mapping = <const char *> mapped + before
    disk.fd = fd
    return True


cdef uint8_t look_for(Disk *disk, uint64_t part) noexcept nogil:
    cdef Place place
    cdef uint64_t offset = part * PART
    cdef size_t length = min(<uint64_t> PART, size_of(disk) - offset)
    if (<Image> disk.image).place(offset, length, &place) != 0 or place.offset < offset:
        return ABSENT
    if disk.mapped == NULL and not map_file(disk, place.fd, place.offset - offset):
        return ABSENT
    if place.fd != disk.fd or <const char *> disk.mapped + place.offset != disk.mapping + offset:
        return ABSENT
    return PRESENT


cdef const char *find_mapped(Station *station, Disk *disk, uint64_t offset, size_t length) noexcept nogil:
    # Where the kernel finds bytes of the disk without waiting; NULL: read them.
    cdef uint64_t part
    if disk.parts == NULL or not 0 < length <= LARGEST or station.now < station.doubted:
        return NULL
    if station.now >= disk.believed:
        memset(disk.parts, UNKNOWN, parts_of(disk))
        disk.believed = station.now + BELIEF
    for part in range(offset // PART, (offset + length - 1) // PART + 1):
        if disk.parts[part] == UNKNOWN:
            disk.parts[part] = look_for(disk, part)
        if disk.parts[part] == ABSENT:
            return NULL
    return disk.mapping + offset


cdef void doubt(Station *station) noexcept nogil:
    # Something is no longer where it was; what is believed by then is asked for anew.
    station.doubted = station.now + BELIEF


cdef void watch_faults(Station *station) noexcept nogil:
    cdef rusage used
    station.gathered = 0
    if getrusage(RUSAGE_THREAD, &used) == 0 and used.ru_majflt != station.faults:
        station.faults = used.ru_majflt
        doubt(station)
