# cython: language_level=3
"""Native pumps: each a thread of its own that sleeps on one epoll descriptor and serves batches without the GIL.

asyncio watches an eventfd that says there is something to hear; everything else between Python and a pump happens
between two batches, by a fair lock. Measured against the loop watching the pump's descriptor itself: no turn of the
loop between a request and its reply, and pumps may be many.

A client that talks again and again wakes the thread again and again, and on a virtual machine a sleeping core takes
longer to wake than the reply takes to make. So the thread looks again for a while before it sleeps, as long as that
was worth it lately; the kernel's haltpoll governor does the same with the same bounds.
"""
from libc.errno cimport errno
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport close

import os

from storage.scheduling cimport ask_short_slices
from storage.workers cimport Task, Workers, close_lane, open_lane, ring

cdef extern from "<pthread.h>" nogil:
    int pthread_create(pthread_t *thread, void *attributes, void *(*start)(void *) noexcept nogil, void *argument)
    int pthread_join(pthread_t thread, void **result)
    int pthread_mutex_init(pthread_mutex_t *lock, void *attributes)
    int pthread_mutex_destroy(pthread_mutex_t *lock)
    int pthread_mutex_lock(pthread_mutex_t *lock)
    int pthread_mutex_unlock(pthread_mutex_t *lock)

cdef extern from "<signal.h>" nogil:
    ctypedef struct sigset_t:
        pass
    int SIG_SETMASK
    int sigfillset(sigset_t *signals)
    int pthread_sigmask(int how, const sigset_t *signals, sigset_t *before)

cdef extern from "<sys/eventfd.h>" nogil:
    int EFD_CLOEXEC
    int EFD_NONBLOCK
    int eventfd(unsigned int start, int flags)
    int eventfd_read(int fd, uint64_t *value)
    int eventfd_write(int fd, uint64_t value)

cdef enum:
    POLL_MOST = 200_000  # nanoseconds of looking again; haltpoll's guest_halt_poll_ns
    POLL_LEAST = 50_000  # where it begins anew; haltpoll's guest_halt_poll_grow_start


cdef uint64_t now() noexcept nogil:
    cdef timespec time
    clock_gettime(CLOCK_MONOTONIC, &time)
    return <uint64_t> time.tv_sec * 1_000_000_000 + <uint64_t> time.tv_nsec


cdef int look(int epoll, epoll_event *events, uint64_t nanoseconds) noexcept nogil:
    # Without sleeping. No sched_yield in between: where anything else is runnable it may cost a whole time slice.
    cdef uint64_t end = now() + nanoseconds
    cdef int count
    while True:
        count = epoll_wait(epoll, events, EVENTS, 0)
        if count != 0 or now() >= end:
            return count


cdef int sleep(int epoll, epoll_event *events, uint64_t *patience) noexcept nogil:
    # Until something is ready: first looking, for as long as it was worth it lately, then asleep.
    cdef uint64_t began
    cdef int count = 0
    if patience[0]:
        count = look(epoll, events, patience[0])
    if count != 0:
        return count
    began = now()
    count = epoll_wait(epoll, events, EVENTS, -1)
    if now() - began <= POLL_MOST:  # looking a little longer would have found it
        patience[0] = min(<uint64_t> POLL_MOST, max(<uint64_t> POLL_LEAST, 2 * patience[0]))
    else:
        patience[0] = 0
    return count


cdef void *drive(void *argument) noexcept nogil:
    cdef epoll_event events[EVENTS]
    cdef uint64_t patience = 0
    cdef int count
    cdef bint is_over = False
    ask_short_slices()
    while not is_over:
        count = sleep((<Pump> argument).epoll, events, &patience)
        (<Pump> argument).enter()
        is_over = (<Pump> argument).is_stopping
        if not is_over and count > 0 and (<Pump> argument).serve(events, count):
            eventfd_write((<Pump> argument).news, 1)
        (<Pump> argument).leave()
    return NULL


cdef class Pump:
    def __cinit__(self, *args, Workers workers not None, **others):
        self.epoll = self.news = -1
        pthread_mutex_init(&self.gate, NULL)
        pthread_mutex_init(&self.lock, NULL)
        self.workers = workers
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise OSError(errno, os.strerror(errno))
        self.news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        if self.news < 0:
            raise OSError(errno, os.strerror(errno))
        open_lane(&self.lane, workers)
        self.is_open = True
        self.watch(self.lane.bell, NULL, EPOLLIN)

    def __dealloc__(self):
        # The room's own __dealloc__ has shut the pump: its part of the work is no more at this point.
        if self.epoll >= 0:
            close(self.epoll)
        if self.news >= 0:
            close(self.news)
        pthread_mutex_destroy(&self.lock)
        pthread_mutex_destroy(&self.gate)

    cdef int watch(self, int fd, void *what, uint32_t events) except -1:
        # Tell `serve` of a descriptor by `what`, which is NULL for the bell only.
        cdef epoll_event event
        memset(&event, 0, sizeof(event))
        event.events = events
        event.data.ptr = what
        if epoll_ctl(self.epoll, EPOLL_CTL_ADD, fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        return 0

    cdef int require_open(self) except -1:
        if not self.is_open:
            raise ValueError("the pump is closed")
        return 0

    cdef void enter(self) noexcept nogil:
        # From here to `leave` no batch runs.
        pthread_mutex_lock(&self.gate)
        pthread_mutex_lock(&self.lock)
        pthread_mutex_unlock(&self.gate)

    cdef void leave(self) noexcept nogil:
        pthread_mutex_unlock(&self.lock)

    cdef void shut(self) noexcept:
        # Every room's close and __dealloc__: the thread ends, then the clients, then what the workers had of theirs.
        cdef Task *task
        cdef Task *following
        if not self.is_open:
            return
        with nogil:
            self.halt()
        self.is_open = False
        self.end_all()
        with nogil:
            task = close_lane(&self.lane)
            while task != NULL:
                following = task.next
                self.take_back(task)
                task = following

    cdef void halt(self) noexcept nogil:
        # The thread ends.
        if not self.is_running:
            return
        self.enter()
        self.is_stopping = True
        self.leave()
        ring(&self.lane)
        pthread_join(self.thread, NULL)
        self.is_running = False

    cdef bint serve(self, epoll_event *events, int count) noexcept nogil:
        # One batch for what is ready, some milliseconds at most; whether there is something to tell.
        return False

    cdef list tell(self):
        # What happened since the last time, in order; no batch runs meanwhile.
        return []

    cdef void end_all(self) noexcept:
        # Every client ends: nothing is served any more.
        pass

    cdef void take_back(self, Task *task) noexcept nogil:
        # The workers are done with a task of ours.
        pass

    def start(self):
        cdef sigset_t every, before
        cdef int failed
        self.require_open()
        if self.is_running:
            raise ValueError("the pump runs already")
        sigfillset(&every)  # signals are the main thread's
        pthread_sigmask(SIG_SETMASK, &every, &before)
        failed = pthread_create(&self.thread, NULL, drive, <void *> self)
        pthread_sigmask(SIG_SETMASK, &before, NULL)
        if failed:
            raise OSError(failed, os.strerror(failed))
        self.is_running = True

    def run(self, int milliseconds):
        cdef epoll_event events[EVENTS]
        cdef int count
        self.require_open()
        if self.is_running:
            raise ValueError("the pump has a thread of its own")
        with nogil:
            count = epoll_wait(self.epoll, events, EVENTS, milliseconds)
            if count > 0:
                self.serve(events, count)
        return self.tell()

    def fileno(self):
        self.require_open()
        return self.news

    def events(self):
        cdef uint64_t told
        self.require_open()
        with nogil:
            eventfd_read(self.news, &told)
            self.enter()
        try:
            return self.tell()
        finally:
            self.leave()

    def close(self):
        self.shut()
        return self.tell()
