# What went wrong, told without the GIL: filled in where it is seen, raised where Python called.
from libc.stdint cimport uint64_t

cdef enum FaultKind:
    CORRUPT
    UNSUPPORTED
    OUT_OF_RANGE
    FAILED  # the base image's own error, or no memory: `number` says which

cdef struct Fault:
    FaultKind kind
    int number          # errno, positive
    uint64_t offset     # of the image's bytes
    const char *what    # a literal

# Each fills `fault` in and returns the negative errno that a pump is answered with.
cdef int corrupt(Fault *fault, const char *what, uint64_t offset) noexcept nogil
cdef int unsupported(Fault *fault, const char *what, uint64_t offset) noexcept nogil
cdef int out_of_range(Fault *fault, const char *what, uint64_t offset) noexcept nogil
cdef int failed(Fault *fault, int number, uint64_t offset) noexcept nogil

cdef object raise_fault(const Fault *fault)
