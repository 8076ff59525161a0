# cython: language_level=3
"""Native threads that carry out image operations which may block: the cold half of every pump.

A pump fills in a `Task`, submits it by its own `Lane` and goes on; a thread carries it out, and the lane's eventfd
becomes readable. Nothing here holds the GIL, so neither Python nor any other client waits for a disk. Long operations
are done in steps with a place in the queue for each, so that gigabytes of zeros share the threads.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EIO, ENOMEM, EOPNOTSUPP, errno
from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset
from posix.unistd cimport close

import os

from storage.image cimport Image
from storage.scheduling cimport give_way
from storage.threads cimport (
    pthread_cond_broadcast,
    pthread_cond_destroy,
    pthread_cond_init,
    pthread_cond_signal,
    pthread_cond_wait,
    pthread_join,
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_unlock,
    pthread_t,
    start_thread,
)

cdef extern from "<errno.h>":
    int ECANCELED

cdef extern from "<sys/eventfd.h>" nogil:
    int EFD_CLOEXEC
    int EFD_NONBLOCK
    int eventfd(unsigned int start, int flags)
    int eventfd_read(int fd, uint64_t *value)
    int eventfd_write(int fd, uint64_t value)

cdef enum:
    STEADY = 1  # the number of the thread that has a share of a core which others keep busy; the rest have what is left

THREADS = 8  # enough to keep a solid state disk's queue busy; a spinning one orders what it is given
QUEUE_MOST = 4096  # tasks of all clients that wait; past it submitters wait, each with the request it was at

cdef uint32_t queue_most = QUEUE_MOST
cdef size_t STEP = 1 << 20  # bytes of one step of zeroing or warming; a disk does that in some milliseconds
cdef size_t PUNCH_STEP = 256 << 20  # bytes of one step of punching, where only the file system's books change


cdef int whole(ssize_t count, uint64_t length) noexcept nogil:
    if count < 0:
        return <int> count
    return 0 if <uint64_t> count == length else -EIO  # the file was truncated


cdef int carry_out(Task *task, const char *zeros, char *scratch, size_t length) noexcept nogil:
    if task.kind == TASK_READ:
        return whole((<Image> task.image).read(task.data, length, task.offset), length)
    if task.kind == TASK_WRITE:
        return whole((<Image> task.image).write(task.data, length, task.offset), length)
    if task.kind == TASK_ZERO:
        return whole((<Image> task.image).write(zeros, length, task.offset), length)
    if task.kind == TASK_PUNCH or task.kind == TASK_TRIM:
        return (<Image> task.image).punch(task.offset, length)
    if task.kind == TASK_WARM:
        if scratch == NULL:
            return -ENOMEM
        return whole((<Image> task.image).read(scratch, length, task.offset), length)
    return (<Image> task.image).flush()


cdef bint advance(Task *task, const char *zeros, char *scratch) noexcept nogil:
    # One step; True once the task is over.
    cdef uint64_t length = task.length
    if task.is_cancelled != NULL and task.is_cancelled[0]:
        task.result = -ECANCELED
        return True
    if task.kind == TASK_ZERO or task.kind == TASK_WARM:
        length = min(length, <uint64_t> STEP)
    if task.kind == TASK_PUNCH or task.kind == TASK_TRIM:
        length = min(length, <uint64_t> PUNCH_STEP)
    task.result = carry_out(task, zeros, scratch, length)
    if task.result == -EOPNOTSUPP and task.kind == TASK_PUNCH:
        task.kind = TASK_ZERO
        return False
    if task.result == -EOPNOTSUPP and task.kind == TASK_TRIM:
        task.result = 0  # it was but a hint
    if task.kind == TASK_READ or task.kind == TASK_WRITE:
        length = task.length
    task.offset += length
    task.length -= length
    if task.result == 0 and task.length:
        return False
    if task.result == 0 and task.flush_after:
        task.result = (<Image> task.image).flush()
    return True


cdef void wake(Pool *pool) noexcept nogil:
    # The steady thread if it waits: on a busy core any other may not run for long, with the task in its hands.
    if pool.does_steady_wait:
        pool.does_steady_wait = False
        pthread_cond_signal(&pool.steady_wanted)
    else:
        pthread_cond_signal(&pool.wanted)


cdef void await_task(Pool *pool, bint is_steady) noexcept nogil:
    if is_steady:
        pool.does_steady_wait = True
        pthread_cond_wait(&pool.steady_wanted, &pool.lock)
        pool.does_steady_wait = False
    else:
        pthread_cond_wait(&pool.wanted, &pool.lock)


cdef void enqueue(Pool *pool, Task *task) noexcept nogil:
    task.next = NULL
    if pool.tail == NULL:
        pool.head = task
    else:
        pool.tail.next = task
    pool.tail = task
    pool.queued += 1
    wake(pool)


cdef void ring_refused(Pool *pool) noexcept nogil:
    # There is room again, and half a queue of it: who was refused need not come back one by one.
    cdef Lane *lane
    while pool.refused != NULL:
        lane = pool.refused
        pool.refused = lane.next_refused
        lane.is_refused = False
        ring(lane)


cdef void remember_refused(Pool *pool, Lane *lane) noexcept nogil:
    if not lane.is_refused:
        lane.is_refused = True
        lane.next_refused = pool.refused
        pool.refused = lane


cdef void forget_refused(Pool *pool, Lane *lane) noexcept nogil:
    cdef Lane **link = &pool.refused
    pthread_mutex_lock(&pool.lock)
    while link[0] != NULL and link[0] != lane:
        link = &link[0].next_refused
    if link[0] == lane:
        link[0] = lane.next_refused
    pthread_mutex_unlock(&pool.lock)


cdef Task *dequeue(Pool *pool, bint is_steady) noexcept nogil:
    # Waits; NULL once the pool stops and nothing is left.
    while pool.head == NULL:
        if pool.is_stopping:
            return NULL
        await_task(pool, is_steady)
    cdef Task *task = pool.head
    pool.head = task.next
    if pool.head == NULL:
        pool.tail = NULL
    pool.queued -= 1
    if pool.refused != NULL and pool.queued <= queue_most // 2:
        ring_refused(pool)
    return task


cdef void hand_back(Task *task) noexcept nogil:
    cdef Lane *lane = task.lane
    cdef bint was_empty
    pthread_mutex_lock(&lane.lock)
    was_empty = lane.head == NULL
    task.next = NULL
    if was_empty:
        lane.head = task
    else:
        lane.tail.next = task
    lane.tail = task
    lane.outstanding -= 1
    if was_empty:
        eventfd_write(lane.bell, 1)  # under the lock: once nothing is outstanding the lane may be freed
    if lane.outstanding == 0:
        pthread_cond_signal(&lane.emptied)
    pthread_mutex_unlock(&lane.lock)


cdef void *work(void *argument) noexcept nogil:
    cdef Pool *pool = <Pool *> argument
    cdef Task *task
    cdef bint is_over, is_steady
    cdef char *scratch = <char *> malloc(STEP)  # no memory until something is warmed
    pthread_mutex_lock(&pool.lock)
    pool.begun += 1
    is_steady = pool.begun == STEADY
    give_way(wholly=not is_steady)
    while True:
        task = dequeue(pool, is_steady)
        if task == NULL:
            break
        pthread_mutex_unlock(&pool.lock)
        is_over = advance(task, pool.zeros, scratch)
        if is_over:
            hand_back(task)
        pthread_mutex_lock(&pool.lock)
        if not is_over:
            enqueue(pool, task)  # it was let in already: the bound is not asked again
    pthread_mutex_unlock(&pool.lock)
    free(scratch)
    return NULL


cdef int submit(Lane *lane, Task *task) noexcept nogil:
    # 0, or -EAGAIN when the queue is full: submit again when the bell rings, which it will.
    cdef Pool *pool = lane.pool
    cdef int refused = 0
    task.lane = lane
    pthread_mutex_lock(&lane.lock)
    lane.outstanding += 1
    pthread_mutex_unlock(&lane.lock)
    pthread_mutex_lock(&pool.lock)
    if pool.queued >= queue_most or pool.is_stopping:
        refused = -EAGAIN
        remember_refused(pool, lane)
    else:
        enqueue(pool, task)
    pthread_mutex_unlock(&pool.lock)
    if refused:
        pthread_mutex_lock(&lane.lock)
        lane.outstanding -= 1
        pthread_mutex_unlock(&lane.lock)
    return refused


cdef Task *take_done(Lane *lane) noexcept nogil:
    # What came back, oldest first, linked by `next`; makes the bell silent.
    cdef uint64_t rung
    cdef Task *done
    pthread_mutex_lock(&lane.lock)
    eventfd_read(lane.bell, &rung)
    done = lane.head
    lane.head = lane.tail = NULL
    pthread_mutex_unlock(&lane.lock)
    return done


cdef void ring(Lane *lane) noexcept nogil:
    # The owner's own use of the bell: there is work left that no descriptor tells of.
    eventfd_write(lane.bell, 1)


cdef int open_lane(Lane *lane, Workers workers) except -1:
    # The owner keeps `workers` alive, and gives the lane back by close_lane.
    memset(lane, 0, sizeof(Lane))
    lane.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    if lane.bell < 0:
        raise OSError(errno, os.strerror(errno))
    lane.pool = &workers.pool
    pthread_mutex_init(&lane.lock, NULL)
    pthread_cond_init(&lane.emptied, NULL)
    return 0


cdef Task *close_lane(Lane *lane) noexcept nogil:
    # Waits until nothing is outstanding; what came back and was not taken is the caller's.
    pthread_mutex_lock(&lane.lock)
    while lane.outstanding:
        pthread_cond_wait(&lane.emptied, &lane.lock)
    pthread_mutex_unlock(&lane.lock)
    forget_refused(lane.pool, lane)
    cdef Task *done = take_done(lane)
    close(lane.bell)
    pthread_mutex_destroy(&lane.lock)
    pthread_cond_destroy(&lane.emptied)
    return done


cdef class Workers:
    def __cinit__(self):
        self.threads = []
        pthread_mutex_init(&self.pool.lock, NULL)
        pthread_cond_init(&self.pool.wanted, NULL)
        pthread_cond_init(&self.pool.steady_wanted, NULL)

    def __init__(self):
        if self.threads:
            raise ValueError("the threads run already")
        self.pool.zeros = <char *> calloc(1, STEP)
        if self.pool.zeros == NULL:
            raise MemoryError
        try:
            for _ in range(THREADS):
                self._start()
        except OSError:
            self.close()
            raise

    def _start(self):
        cdef pthread_t thread
        cdef int failed = start_thread(&thread, work, &self.pool)
        if failed:
            raise OSError(failed, os.strerror(failed))
        self.threads.append(<uintptr_t> thread)

    def __dealloc__(self):
        self.close()
        free(self.pool.zeros)
        pthread_mutex_destroy(&self.pool.lock)
        pthread_cond_destroy(&self.pool.wanted)
        pthread_cond_destroy(&self.pool.steady_wanted)

    def close(self):
        cdef pthread_t thread
        with nogil:
            pthread_mutex_lock(&self.pool.lock)
            self.pool.is_stopping = True
            pthread_cond_broadcast(&self.pool.wanted)
            pthread_cond_broadcast(&self.pool.steady_wanted)
            pthread_mutex_unlock(&self.pool.lock)
        while self.threads:
            thread = <pthread_t> <uintptr_t> self.threads.pop()
            with nogil:
                pthread_join(thread, NULL)

    def read(self, Image image not None, list ranges not None):
        cdef Lane lane
        cdef size_t count = len(ranges), at
        cdef int refused
        if self.pool.is_stopping:
            raise ValueError("the threads have ended")
        if count > queue_most:
            raise OSError(EAGAIN, os.strerror(EAGAIN))
        cdef Task *tasks = <Task *> calloc(count + 1, sizeof(Task))
        if tasks == NULL:
            raise MemoryError
        try:
            buffers = [read_task(&tasks[at], image, ranges[at][0], ranges[at][1]) for at in range(count)]
            open_lane(&lane, self)
            with nogil:
                for at in range(count):
                    refused = submit(&lane, &tasks[at])
                    if refused:
                        tasks[at].result = refused
                close_lane(&lane)
            return [tasks[at].result or buffers[at] for at in range(count)]
        finally:
            free(tasks)


cdef bytes read_task(Task *task, Image image, uint64_t offset, size_t length):
    cdef bytes into = PyBytes_FromStringAndSize(NULL, length)
    task.kind = TASK_READ
    task.image = <void *> image
    task.data = PyBytes_AS_STRING(into)
    task.offset = offset
    task.length = length
    return into
