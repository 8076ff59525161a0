# One user at a time of a writable image: the newest, once it does anything.
from libc.stdint cimport uint64_t

from storage.image cimport Image

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_rwlock_t:
        pass

cdef class Tenure:
    cdef readonly Image image
    cdef pthread_rwlock_t lock  # shared by operations under way, alone for who takes over
    cdef uint64_t holder  # the number of the lease that is in force
    cdef uint64_t given
    cdef object __weakref__

cdef class LeaseImage(Image):
    cdef readonly Tenure tenure
    cdef uint64_t number
    cdef int enter(self) noexcept nogil
    cdef bint enter_now(self) noexcept nogil
