# Native threads that carry out image operations which may block, for pumps: without the GIL on either side.
from libc.stdint cimport uint32_t, uint64_t

from storage.threads cimport pthread_cond_t, pthread_mutex_t

cdef enum TaskKind:
    TASK_READ
    TASK_WRITE
    TASK_ZERO  # write zeros
    TASK_PUNCH  # write zeros, or have the range take no room
    TASK_TRIM  # have the range take no room, where that can be
    TASK_WARM   # read, and drop what was read
    TASK_FLUSH

# The submitter owns a task and the image it names, and keeps both until the task comes back.
cdef struct Task:
    TaskKind kind
    bint flush_after  # flush once the rest succeeded (FUA)
    void *image  # an Image
    char *data
    uint64_t offset
    uint64_t length
    int result  # 0 or -errno, once it is back
    const bint *is_cancelled  # read between two steps; a cancelled task comes back early, with -ECANCELED
    Lane *lane
    Task *next

cdef struct Pool:
    pthread_mutex_t lock
    pthread_cond_t wanted
    pthread_cond_t steady_wanted  # for the first thread, which is asked before the others
    bint does_steady_wait
    Task *head
    Task *tail
    uint32_t queued
    Lane *refused  # whose task found the queue full; they are rung once it has room
    bint is_stopping
    uint32_t begun  # threads
    char *zeros

cdef struct Lane:
    Pool *pool
    pthread_mutex_t lock
    pthread_cond_t emptied
    Task *head
    Task *tail
    uint64_t outstanding
    bint is_refused  # among the pool's refused, under the pool's lock
    Lane *next_refused
    int bell

cdef int submit(Lane *lane, Task *task) noexcept nogil
cdef Task *take_done(Lane *lane) noexcept nogil
cdef void ring(Lane *lane) noexcept nogil
cdef int open_lane(Lane *lane, Workers workers) except -1
cdef Task *close_lane(Lane *lane) noexcept nogil

cdef class Workers:
    cdef Pool pool
    cdef list threads
