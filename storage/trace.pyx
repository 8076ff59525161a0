# cython: language_level=3
"""What one client reads of one image: noted by a pump without the GIL, looked at by Python at any time.

A lock keeps the two apart: taking it when nobody else has it costs a hundredth of answering a read, and no pump waits
longer for it than Python takes to copy the runs.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from storage.threads cimport pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock

cdef enum:
    ROOM_LEAST = 256  # runs that the first read makes room for: 6 KiB


cdef uint64_t now() noexcept nogil:
    cdef timespec time
    clock_gettime(CLOCK_MONOTONIC, &time)
    return <uint64_t> time.tv_sec * 1_000_000_000 + <uint64_t> time.tv_nsec


cdef bint make_room(Record *record) noexcept nogil:
    cdef uint32_t wanted
    cdef Run *runs
    if record.used < record.room:
        return True
    wanted = min(record.most, max(<uint32_t> ROOM_LEAST, 2 * record.room))
    if wanted == record.room:
        return False
    runs = <Run *> realloc(record.runs, wanted * sizeof(Run))
    if runs == NULL:
        return False
    record.runs, record.room = runs, wanted
    return True


cdef bint lengthen(Record *record, uint64_t offset, uint32_t length) noexcept nogil:
    # Whether the read follows the last run, which then has it.
    cdef Run *last
    if record.used == 0:
        return False
    last = &record.runs[record.used - 1]
    if last.offset + last.length != offset or last.length + <uint64_t> length > RUN_MOST:
        return False
    last.length += length
    last.reads += 1
    return True


cdef void append(Record *record, uint64_t offset, uint32_t length) noexcept nogil:
    cdef Run *run
    if lengthen(record, offset, length):
        return
    if not make_room(record):
        record.dropped += 1
        return
    run = &record.runs[record.used]
    run.at, run.offset, run.length, run.reads = now() - record.began, offset, length, 1
    record.used += 1


cdef void note_read(Record *record, uint64_t offset, uint32_t length) noexcept nogil:
    if record.is_over:
        return
    pthread_mutex_lock(&record.lock)
    if not record.is_over:  # it may have been ended meanwhile, and then has no room any more
        append(record, offset, length)
    pthread_mutex_unlock(&record.lock)


cdef class Trace:
    def __cinit__(self, uint32_t most):
        if most == 0:
            raise ValueError("a trace has room for one run at least")
        pthread_mutex_init(&self.record.lock, NULL)
        self.record.most = most
        self.record.began = now()

    def __dealloc__(self):
        free(self.record.runs)
        pthread_mutex_destroy(&self.record.lock)

    @property
    def is_over(self):
        return bool(self.record.is_over)

    @property
    def dropped(self):
        return self.record.dropped

    def __len__(self):
        return self.record.used

    def note(self, uint64_t offset, uint32_t length):
        with nogil:
            note_read(&self.record, offset, length)

    def runs(self):
        cdef uint32_t used, at
        cdef Run *copied = NULL
        with nogil:
            pthread_mutex_lock(&self.record.lock)
            used = self.record.used
            if used:
                copied = <Run *> realloc(NULL, used * sizeof(Run))
            if copied != NULL:
                memcpy(copied, self.record.runs, used * sizeof(Run))
            pthread_mutex_unlock(&self.record.lock)
        if used and copied == NULL:
            raise MemoryError
        try:
            return [(copied[at].offset, copied[at].length, copied[at].at, copied[at].reads) for at in range(used)]
        finally:
            free(copied)

    def end(self):
        with nogil:
            pthread_mutex_lock(&self.record.lock)
            self.record.is_over = True
            free(self.record.runs)
            self.record.runs = NULL
            self.record.used = self.record.room = 0
            pthread_mutex_unlock(&self.record.lock)
