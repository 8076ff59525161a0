# cython: language_level=3
"""What the sanitizers must not let pass: tests/deploy/test_sanitize.py sees each of these end in a report."""
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset


cdef char *take(size_t length) except NULL:
    cdef char *taken = <char *> malloc(length)
    if taken == NULL:
        raise MemoryError
    memset(taken, 0, length)
    return taken


def read_behind(size_t length):
    cdef char *taken = take(length)
    cdef int value = taken[length]
    free(taken)
    return value


def write_behind(size_t length):
    cdef char *taken = take(length)
    memset(taken, 1, length + 1)
    cdef int value = taken[0]  # else the compiler leaves out what nobody would see
    free(taken)
    return value


def read_freed(size_t length):
    cdef char *taken = take(length)
    free(taken)
    return taken[0]


def overflow(int value):
    cdef int sum = value + 1
    return sum


def read_across(size_t offset):
    cdef char *taken = take(offset + 4)
    cdef uint32_t value = (<uint32_t *> (taken + offset))[0]
    free(taken)
    return value


def lose(size_t length, int times):
    for _ in range(times):
        take(length)
