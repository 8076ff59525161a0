# cython: language_level=3
"""One response's body on its way from an image to a socket; nothing of it is for Python.

Bytes that a file has in memory go by sendfile. Where a file's are cold the workers read them into memory first, one
piece ahead of what is sent; what no file has as it is, is copied. A socket that is full parks its body: the kernel
says when there is room, and a timer ends whoever takes nothing in for too long. In line, each has a turn of bounded
bytes and then stands last.
"""
from libc.errno cimport EAGAIN, ECONNRESET, EINTR, EIO, ENOMEM, EPIPE, ETIMEDOUT, errno
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, itimerspec, timespec
from posix.types cimport off_t
from posix.unistd cimport close, read

from protocols.pump cimport EPOLL_CTL_DEL, epoll_ctl, epoll_event
from storage.image cimport Image, Place
from storage.workers cimport TASK_READ, TASK_WARM, TaskKind, ring, submit

cdef extern from "<sys/sendfile.h>" nogil:
    ssize_t sendfile(int to, int source, off_t *offset, size_t length)

cdef extern from "<sys/socket.h>" nogil:
    int MSG_NOSIGNAL
    int MSG_DONTWAIT
    ssize_t send(int fd, const void *data, size_t length, int flags)
    int setsockopt(int fd, int level, int option, const void *value, unsigned int length)

cdef extern from "<netinet/in.h>" nogil:
    int IPPROTO_TCP

cdef extern from "<netinet/tcp.h>" nogil:
    int TCP_CORK

cdef extern from "<sys/ioctl.h>" nogil:
    int ioctl(int fd, unsigned long request, ...)

cdef extern from "<linux/sockios.h>" nogil:
    unsigned long SIOCOUTQ

cdef extern from "<sys/timerfd.h>" nogil:
    int TFD_TIMER_ABSTIME
    int timerfd_settime(int fd, int flags, const itimerspec *value, itimerspec *before)

cdef enum:
    SECOND = 1_000_000_000  # nanoseconds
    RETRY = 20_000_000  # nanoseconds until the workers' full queue is tried again: others' tasks do not wake us

cdef enum Step:
    GO_ON
    PARK
    WAIT  # for the workers
    OVER


cdef uint64_t read_clock() noexcept nogil:
    cdef timespec time
    clock_gettime(CLOCK_MONOTONIC, &time)
    return <uint64_t> time.tv_sec * SECOND + <uint64_t> time.tv_nsec


# Whose turn it is.


cdef void make_ready(Station *station, Body *body) noexcept nogil:
    if body.is_ready or body.is_dead:
        return
    body.is_ready = True
    body.next_ready = NULL
    if station.ready == NULL:
        station.ready = body
    else:
        station.ready_tail.next_ready = body
    station.ready_tail = body


cdef void set_cork(Body *body, int is_corked) noexcept nogil:
    # No short segment between two sendfiles: sixteen clients get a tenth more. Of a unix socket it is refused.
    setsockopt(body.fd, IPPROTO_TCP, TCP_CORK, &is_corked, sizeof(is_corked))


cdef void settle(Station *station, Body *body) noexcept nogil:
    # Its end is told, and its memory goes, once no line and no worker knows it any more.
    if not body.is_dead or body.has_task or body.is_ready or body.is_waiting:
        return
    drop_cold(body)
    body.next_ended = station.ended
    station.ended = body


cdef void end_body(Station *station, Body *body, Ending ending, int failure) noexcept nogil:
    # Its descriptor closes now: nothing more is sent.
    cdef epoll_event unused
    if body.is_dead:
        return
    set_cork(body, 0)
    body.is_dead = True
    body.ending = ending
    body.failure = failure
    epoll_ctl(station.epoll, EPOLL_CTL_DEL, body.fd, &unused)  # the caller's duplicate would keep it registered
    close(body.fd)
    body.fd = -1
    unlink(station, body)


# Who stalls.


cdef void unlink(Station *station, Body *body) noexcept nogil:
    if body.older == NULL:
        station.oldest = body.newer
    else:
        body.older.newer = body.newer
    if body.newer == NULL:
        station.newest = body.older
    else:
        body.newer.older = body.older


cdef void append(Station *station, Body *body) noexcept nogil:
    body.moved = station.now
    body.newer = NULL
    body.older = station.newest
    if station.newest == NULL:
        station.oldest = body
    else:
        station.newest.newer = body
    station.newest = body


cdef void note_progress(Station *station, Body *body) noexcept nogil:
    unlink(station, body)
    append(station, body)


cdef void set_timer(Station *station) noexcept nogil:
    # For the one that got on longest ago; it is moved when it rings, not with every byte.
    cdef itimerspec when
    cdef uint64_t at
    if station.is_timed or (station.oldest == NULL and station.waiting == NULL):
        return
    at = station.now + RETRY if station.waiting != NULL else station.oldest.moved + station.stall
    memset(&when, 0, sizeof(when))
    when.it_value.tv_sec = at // SECOND
    when.it_value.tv_nsec = at % SECOND
    timerfd_settime(station.timer, TFD_TIMER_ABSTIME, &when, NULL)
    station.is_timed = True


cdef bint takes_in(Body *body) noexcept nogil:
    # A slow client empties its socket for long before the kernel says that there is room again.
    cdef int unsent = 0
    if not body.is_parked:
        return True  # we, or a disk, are the slow ones
    if ioctl(body.fd, SIOCOUTQ, &unsent) < 0 or unsent >= body.unsent:
        return False
    body.unsent = unsent
    return True


cdef void retry_waiting(Station *station) noexcept nogil:
    cdef Body *body
    while station.waiting != NULL:
        body = station.waiting
        station.waiting = body.next_waiting
        body.is_waiting = False
        if not body.is_parked:
            make_ready(station, body)
        settle(station, body)


cdef void ring_timer(Station *station) noexcept nogil:
    cdef uint64_t rung
    cdef Body *body
    read(station.timer, &rung, sizeof(rung))
    station.is_timed = False
    retry_waiting(station)
    while station.oldest != NULL and station.now - station.oldest.moved >= station.stall:
        body = station.oldest
        if takes_in(body):
            note_progress(station, body)
        else:
            end_body(station, body, STALLED, 0)
            settle(station, body)


cdef void enlist(Station *station, Body *body) noexcept nogil:
    # A newcomer.
    set_cork(body, 1)
    station.now = read_clock()
    append(station, body)
    make_ready(station, body)


# How the bytes go.


cdef Step over(Body *body, Ending ending, int failure) noexcept nogil:
    body.ending = ending
    body.failure = failure
    return OVER


cdef Step hand_over(Station *station, Body *body, TaskKind kind, uint64_t offset, uint64_t length) noexcept nogil:
    body.task.kind = kind
    body.task.image = body.image
    body.task.data = body.cold
    body.task.offset = offset
    body.task.length = length
    body.task.flush_after = False
    body.task.is_cancelled = &body.is_dead
    body.has_task = submit(station.lane, &body.task) == 0
    if not body.has_task and not body.is_waiting:
        body.is_waiting = True
        body.next_waiting = station.waiting
        station.waiting = body
        station.is_timed = False  # sooner than anybody stalls
    return WAIT


cdef void drop_cold(Body *body) noexcept nogil:
    free(body.cold)
    body.cold = NULL


cdef Step read_cold(Station *station, Body *body, size_t length) noexcept nogil:
    if body.cold == NULL:
        body.cold = <char *> malloc(COPY)
    if body.cold == NULL:
        return over(body, FAILED, ENOMEM)
    body.cold_at = 0
    body.cold_end = length
    hand_over(station, body, TASK_READ, body.at, length)
    if not body.has_task:
        drop_cold(body)
    return WAIT


cdef Step send_bytes(Body *body, const char *data, size_t length) noexcept nogil:
    cdef ssize_t sent = send(body.fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT)
    if sent >= 0:
        body.at += sent
        return GO_ON
    if errno == EINTR:
        return GO_ON
    return PARK if errno == EAGAIN else over(body, LEFT, errno)


cdef Step send_cold(Body *body) noexcept nogil:
    cdef uint64_t before = body.at
    cdef Step step = send_bytes(body, body.cold + body.cold_at, body.cold_end - body.cold_at)
    body.cold_at += body.at - before
    if body.cold_at == body.cold_end:
        drop_cold(body)
    return step


cdef Step send_copy(Station *station, Body *body, size_t length) noexcept nogil:
    cdef ssize_t got = (<Image> body.image).read_now(station.stage, length, body.at)
    if got == -EAGAIN:
        return read_cold(station, body, length)
    if got != <ssize_t> length:
        return over(body, FAILED, <int> -got if got < 0 else EIO)
    return send_bytes(body, station.stage, length)


cdef Step send_file(Body *body, const Place *place, size_t length) noexcept nogil:
    cdef off_t offset = <off_t> place.offset
    cdef ssize_t sent = sendfile(body.fd, place.fd, &offset, length)
    if sent > 0:
        body.at += sent
        return GO_ON
    if sent < 0 and errno == EAGAIN:
        return PARK
    if sent < 0 and errno in (EPIPE, ECONNRESET, ETIMEDOUT):  # told once, so not to be left for another call
        return over(body, LEFT, errno)
    if sent == 0 or errno != EINTR:
        body.copy_end = body.at + COPY  # it can't say whether file or socket failed; reading and sending can
    return GO_ON


cdef void look_ahead(Station *station, Body *body) noexcept nogil:
    # Of a body that met cold bytes: while one piece is sent the next is read.
    cdef Place unused
    cdef uint64_t length
    cdef int found
    if body.has_task or body.at >= body.warm_end or body.warm_end >= body.end or body.warm_end - body.at > WARM:
        return
    length = min(<uint64_t> WARM, body.end - body.warm_end)
    found = (<Image> body.image).place(body.warm_end, length, &unused)
    if found == 0:
        body.warm_end += length
    elif found == -EAGAIN:
        hand_over(station, body, TASK_WARM, body.warm_end, length)


cdef Step warm(Station *station, Body *body) noexcept nogil:
    # Cold bytes of a file: once by way of the workers' reading, and if they are gone again, by copying.
    if body.at < body.warm_end:
        body.copy_end = body.at + COPY
        return GO_ON
    return hand_over(station, body, TASK_WARM, body.at, min(<uint64_t> WARM, body.end - body.at))


cdef Step advance(Station *station, Body *body, uint64_t stop) noexcept nogil:
    cdef Place place
    cdef int found
    if body.has_task and (body.cold != NULL or body.at < body.copy_end or body.at >= body.warm_end):
        return WAIT
    if body.cold != NULL:
        return send_cold(body)
    if body.at < body.copy_end:
        return send_copy(station, body, min(min(stop, body.copy_end) - body.at, <uint64_t> COPY))
    if body.at < body.warm_end:
        stop = min(stop, body.warm_end)  # what follows may be cold still
    found = (<Image> body.image).place(body.at, stop - body.at, &place)
    if found == 0:
        return send_file(body, &place, stop - body.at)
    if found == -EAGAIN:
        return warm(station, body)
    body.copy_end = body.at + COPY
    return GO_ON


cdef void take_turn(Station *station, Body *body) noexcept nogil:
    cdef uint64_t began = body.at, stop = min(body.at + TURN, body.end)
    cdef Step step = GO_ON
    body.is_parked = False
    look_ahead(station, body)
    while step == GO_ON and body.at < stop:
        step = advance(station, body, stop)
    station.done += body.at - began
    if body.at > began:
        note_progress(station, body)
    if step == OVER:
        end_body(station, body, body.ending, body.failure)
    elif body.at == body.end:
        end_body(station, body, SENT, 0)
    elif step == GO_ON:
        make_ready(station, body)
    elif step == PARK:
        body.is_parked = True
        ioctl(body.fd, SIOCOUTQ, &body.unsent)
    settle(station, body)


cdef void serve_line(Station *station) noexcept nogil:
    cdef Body *body
    while station.ready != NULL:
        if station.done >= BATCH:
            ring(station.lane)  # who is left in line must be served though no socket says so
            break
        body = station.ready
        station.ready = body.next_ready
        body.is_ready = False
        if body.is_dead:
            settle(station, body)
        else:
            take_turn(station, body)
    set_timer(station)


cdef void take_back(Station *station, Body *body) noexcept nogil:
    # What the workers are done with. A warming that failed is like one that did not last: copying says why.
    body.has_task = False
    if body.task.kind == TASK_WARM:
        body.warm_end = max(body.warm_end, body.task.offset + body.task.length)
    elif body.task.result < 0 and not body.is_dead:
        end_body(station, body, FAILED, -body.task.result)
    if not body.is_parked:
        make_ready(station, body)
    settle(station, body)
