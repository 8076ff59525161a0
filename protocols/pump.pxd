# What every native pump is: a thread of its own behind one epoll descriptor, which Python meets only between batches.
from libc.stdint cimport uint32_t, uint64_t

from storage.workers cimport Lane, Task, Workers

cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t
    ctypedef struct pthread_mutex_t:
        pass

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        void *ptr
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int EPOLL_CLOEXEC
    int EPOLL_CTL_ADD
    int EPOLL_CTL_DEL
    int EPOLL_CTL_MOD
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLLRDHUP
        EPOLLHUP
        EPOLLERR
        EPOLLET
        EPOLLONESHOT
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event *event)
    int epoll_wait(int epoll, epoll_event *events, int most, int milliseconds)

cdef enum:
    EVENTS = 256  # ready descriptors taken from the kernel at once

cdef class Pump:
    cdef int epoll  # holds every descriptor of the pump; the lane's bell has data.ptr NULL
    cdef Lane lane
    cdef Workers workers
    cdef bint is_open
    cdef bint is_running
    cdef bint is_stopping  # under the lock
    cdef int news  # an eventfd: there is something to tell
    cdef pthread_t thread
    # Python must not wait forever for a busy thread: who wants `lock` holds `gate` until it has it.
    cdef pthread_mutex_t gate
    cdef pthread_mutex_t lock
    cdef int require_open(self) except -1
    cdef int watch(self, int fd, void *what, uint32_t events) except -1
    cdef void enter(self) noexcept nogil
    cdef void leave(self) noexcept nogil
    cdef void halt(self) noexcept nogil
    cdef void shut(self) noexcept
    # The room's part:
    cdef bint serve(self, epoll_event *events, int count) noexcept nogil
    cdef list tell(self)
    cdef void end_all(self) noexcept
    cdef void take_back(self, Task *task) noexcept nogil
