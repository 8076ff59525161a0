# One response's body on its way from an image to a socket, and the line of those whose sockets have room.
from libc.stdint cimport uint64_t

from storage.workers cimport Lane, Task

cdef enum:
    TURN = 256 << 10  # bytes of one body, then it is the next one's turn; 64 KiB to 4 MiB sent less, or no more
    BATCH = 8 << 20  # of all bodies, then Python may have a word: about three milliseconds
    COPY = 128 << 10  # read and sent at once where sendfile can't; held for a client only while a disk is cold
    WARM = 1 << 20  # bytes the workers read at once, one piece ahead of what is sent

cdef enum Ending:
    LIVES
    SENT
    LEFT  # the client
    STALLED
    FAILED  # the image
    STOPPED

cdef struct Body:
    Task task  # first: the workers hand back its address
    int fd
    Ending ending
    int failure  # errno, of who left and of what failed
    uint64_t number
    void *image  # an Image; the pump's list keeps it
    uint64_t start
    uint64_t at  # of the image: what goes next
    uint64_t end
    uint64_t warm_end  # up to here the workers were asked for bytes that were cold
    uint64_t copy_end  # up to here there is no sendfile
    char *cold  # what the workers read, where it can't stay with the file
    size_t cold_at
    size_t cold_end
    bint has_task
    bint is_dead  # its socket is gone; the workers see it between two steps
    bint is_parked  # the socket is full
    bint is_ready  # stands in line
    bint is_waiting  # for room in the workers' queue
    int unsent  # bytes in the socket when it was parked
    uint64_t moved  # nanoseconds, monotonic: when it last got on
    Body *older  # by `moved`
    Body *newer
    Body *next_ready
    Body *next_waiting
    Body *next_ended

cdef struct Station:
    int epoll
    int timer  # a timerfd, for who stalls, and for who waits for the workers
    Lane *lane
    uint64_t stall  # nanoseconds
    uint64_t now  # when this batch began
    uint64_t done  # bytes sent in this batch
    char *stage  # COPY bytes, for the one whose turn it is
    bint is_timed
    Body *ready
    Body *ready_tail
    Body *waiting
    Body *ended  # to be told
    Body *oldest
    Body *newest

cdef uint64_t read_clock() noexcept nogil
cdef void enlist(Station *station, Body *body) noexcept nogil
cdef void make_ready(Station *station, Body *body) noexcept nogil
cdef void end_body(Station *station, Body *body, Ending ending, int failure) noexcept nogil
cdef void settle(Station *station, Body *body) noexcept nogil
cdef void serve_line(Station *station) noexcept nogil
cdef void take_back(Station *station, Body *body) noexcept nogil
cdef void ring_timer(Station *station) noexcept nogil
