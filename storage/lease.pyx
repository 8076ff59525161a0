# cython: language_level=3
"""One user at a time of a writable image: the newest, once it does anything.

A machine that was reset connects again while its old connection still looks alive, with writes of it among the
workers. The new connection's first operation waits for those that are being carried out, and from then on the old
one's fail with ESTALE: none can reach the image after what the machine wrote since. A connection that only asks what
an export is does nothing, and so takes nothing over.
"""
from libc.errno cimport EAGAIN, EOPNOTSUPP, ESTALE
from libc.stdint cimport uint64_t

from storage.image cimport Image, Place

cdef extern from "<pthread.h>" nogil:
    int pthread_rwlock_init(pthread_rwlock_t *lock, void *attributes)
    int pthread_rwlock_destroy(pthread_rwlock_t *lock)
    int pthread_rwlock_rdlock(pthread_rwlock_t *lock)
    int pthread_rwlock_tryrdlock(pthread_rwlock_t *lock)
    int pthread_rwlock_wrlock(pthread_rwlock_t *lock)
    int pthread_rwlock_unlock(pthread_rwlock_t *lock)


cdef class Tenure:
    def __cinit__(self, Image image not None):
        self.image = image
        pthread_rwlock_init(&self.lock, NULL)

    def __dealloc__(self):
        pthread_rwlock_destroy(&self.lock)

    def lease(self):
        cdef LeaseImage made = LeaseImage.__new__(LeaseImage)
        self.given += 1
        made.tenure = self
        made.number = self.given
        made.size = self.image.size
        made.writable = self.image.writable
        made.version = self.image.version
        return made


cdef class LeaseImage(Image):
    def __init__(self):
        raise TypeError("a lease comes from Tenure.lease")

    @property
    def is_over(self):
        return self.tenure.holder > self.number

    cdef int enter(self) noexcept nogil:
        # 0 with the lock shared, or -ESTALE.
        cdef uint64_t holder
        while True:
            pthread_rwlock_rdlock(&self.tenure.lock)
            holder = self.tenure.holder
            if holder == self.number:
                return 0
            pthread_rwlock_unlock(&self.tenure.lock)
            if holder > self.number:
                return -ESTALE
            pthread_rwlock_wrlock(&self.tenure.lock)
            self.tenure.holder = max(self.tenure.holder, self.number)
            pthread_rwlock_unlock(&self.tenure.lock)

    cdef bint enter_now(self) noexcept nogil:
        # As enter, for the holder only, and without waiting.
        if pthread_rwlock_tryrdlock(&self.tenure.lock) != 0:
            return False
        if self.tenure.holder == self.number:
            return True
        pthread_rwlock_unlock(&self.tenure.lock)
        return False

    cdef ssize_t read_now(self, char *into, size_t length, uint64_t offset) noexcept nogil:
        cdef ssize_t got
        if not self.enter_now():
            return -EAGAIN
        got = self.tenure.image.read_now(into, length, offset)
        pthread_rwlock_unlock(&self.tenure.lock)
        return got

    cdef ssize_t read(self, char *into, size_t length, uint64_t offset) noexcept nogil:
        cdef ssize_t got = self.enter()
        if got == 0:
            got = self.tenure.image.read(into, length, offset)
            pthread_rwlock_unlock(&self.tenure.lock)
        return got

    cdef ssize_t write(self, const char *data, size_t length, uint64_t offset) noexcept nogil:
        cdef ssize_t put = self.enter()
        if put == 0:
            put = self.tenure.image.write(data, length, offset)
            pthread_rwlock_unlock(&self.tenure.lock)
        return put

    cdef int flush(self) noexcept nogil:
        cdef int failed = self.enter()
        if failed == 0:
            failed = self.tenure.image.flush()
            pthread_rwlock_unlock(&self.tenure.lock)
        return failed

    cdef int punch(self, uint64_t offset, uint64_t length) noexcept nogil:
        cdef int failed = self.enter()
        if failed == 0:
            failed = self.tenure.image.punch(offset, length)
            pthread_rwlock_unlock(&self.tenure.lock)
        return failed

    cdef int place(self, uint64_t offset, size_t length, Place *into) noexcept nogil:
        return -EOPNOTSUPP  # whoever has a place may use it when the lease is over

    def extents(self, uint64_t offset, uint64_t length):
        return self.tenure.image.extents(offset, length)
