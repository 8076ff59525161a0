# Files in memory, that the kernel copies replies from. A mapping belongs to one pump, as does a belief.
from libc.stdint cimport uint8_t, uint64_t

# An image's file in memory.
cdef struct Mapping:
    uint8_t *parts  # what is believed of each; NULL where nothing is to be sent from there
    double believed  # until then
    uint64_t size  # bytes of the image
    const char *start  # of the image's first byte, NULL while nothing is mapped
    void *mapped
    size_t mapped_length
    int fd  # of the file

# How well what is believed has proved true.
cdef struct Belief:
    double doubted  # until then nothing is sent from mapped files
    long faults  # of the pump's thread, that waited for a disk
    uint64_t gathered  # replies sent from mapped files since those were looked at

cdef int open_mapping(Mapping *mapping, uint64_t size) except -1
cdef void close_mapping(Mapping *mapping) noexcept nogil
cdef const char *find_mapped(
    Mapping *mapping, void *image, const Belief *belief, double now, uint64_t offset, size_t length
) noexcept nogil
cdef uint64_t place_of(const Mapping *mapping, const char *data) noexcept nogil
cdef void doubt(Belief *belief, double now) noexcept nogil
cdef void watch_faults(Belief *belief, double now) noexcept nogil
