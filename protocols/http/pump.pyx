# cython: language_level=3
"""The native data path of HTTP: the bodies of many responses, by sendfile, in a thread of their own.

asyncio and aiohttp read requests and send heads; here the bodies go out (body.pyx), each over a duplicate of its
connection's descriptor that the pump alone uses, so that the connection itself never leaves its transport.
"""
from libc.errno cimport errno
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free, malloc
from posix.fcntl cimport F_GETFL, O_NONBLOCK, fcntl
from posix.time cimport CLOCK_MONOTONIC
from posix.unistd cimport close

cimport cython

import os

from protocols.http.body cimport (
    COPY, FAILED, LEFT, SENT, STALLED, STOPPED, Body, Station, end_body, enlist, make_ready, read_clock, ring_timer,
    serve_line, settle,
)
from protocols.http.body cimport take_back as take_body_back
from protocols.http.pumped import Ended
from protocols.pump cimport EPOLLET, EPOLLIN, EPOLLOUT, Pump, epoll_event
from storage.image cimport Image
from storage.workers cimport Task, Workers, ring, take_done

cdef extern from "<fcntl.h>" nogil:
    int F_DUPFD_CLOEXEC

cdef extern from "<sys/timerfd.h>" nogil:
    int TFD_CLOEXEC
    int TFD_NONBLOCK
    int timerfd_create(int clock, int flags)

REASONS = {SENT: "sent", LEFT: "left", STALLED: "stalled", FAILED: "failed", STOPPED: "stopped"}
cdef double STALL_MOST = 366 * 86400.0  # seconds; a year of nanoseconds fits wherever it is added


cdef class Seat:
    # Keeps a body's image for as long as a line or a worker knows the body, and the body until its end is told.
    cdef Body *body
    cdef Image image

    def __dealloc__(self):
        free(self.body)


cdef int duplicate(int fd) except -1:
    cdef int flags = fcntl(fd, F_GETFL)
    if flags >= 0 and not flags & O_NONBLOCK:
        raise ValueError("the socket blocks")
    cdef int found = fcntl(fd, F_DUPFD_CLOEXEC, 0)
    if found < 0:
        raise OSError(errno, os.strerror(errno))
    return found


@cython.no_gc_clear  # its seats are in the workers' hands until __dealloc__ has waited for them
cdef class HttpPump(Pump):
    cdef Station station
    cdef dict seats  # by number
    cdef uint64_t last_number

    def __cinit__(self, *, Workers workers not None, double stall):
        self.station.timer = -1
        self.seats = {}
        if not 0 < stall <= STALL_MOST:
            raise ValueError(f"nobody can be given {stall} seconds")
        self.station.epoll = self.epoll
        self.station.lane = &self.lane
        self.station.stall = <uint64_t> (stall * 1e9)
        self.station.stage = <char *> malloc(COPY)
        if self.station.stage == NULL:
            raise MemoryError
        self.station.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)
        if self.station.timer < 0:
            raise OSError(errno, os.strerror(errno))
        self.watch(self.station.timer, &self.station, EPOLLIN)

    def __dealloc__(self):
        self.shut()
        free(self.station.stage)
        if self.station.timer > 0:  # it is 0 where the base could not be made
            close(self.station.timer)

    def send(self, int fd, Image image not None, uint64_t offset, uint64_t length):
        self.require_open()
        if length == 0 or offset > image.size or length > image.size - offset:
            raise ValueError(f"{length} bytes at {offset} are no part of an image of {image.size} bytes")
        cdef Seat seat = Seat()
        cdef Body *body = <Body *> calloc(1, sizeof(Body))
        if body == NULL:
            raise MemoryError
        seat.body = body
        seat.image = image
        body.image = <void *> image
        body.start = body.at = offset
        body.end = offset + length
        body.number = self.last_number + 1
        body.fd = duplicate(fd)
        with nogil:
            self.enter()
        try:
            self._admit(seat)
        finally:
            self.leave()
        return body.number

    cdef int _admit(self, Seat seat) except -1:
        try:
            self.watch(seat.body.fd, seat.body, EPOLLOUT | EPOLLET)
        except OSError:
            close(seat.body.fd)
            raise
        self.last_number = seat.body.number
        self.seats[seat.body.number] = seat
        enlist(&self.station, seat.body)
        ring(&self.lane)
        return 0

    def stop(self, uint64_t number):
        self.require_open()
        cdef Seat seat
        with nogil:
            self.enter()
        try:
            seat = self.seats.get(number)
            if seat is not None and not seat.body.is_dead:
                # The thread may hold an event of it: it goes by way of the line, and is told of after that.
                make_ready(&self.station, seat.body)
                end_body(&self.station, seat.body, STOPPED, 0)
                ring(&self.lane)
        finally:
            self.leave()

    def progress(self):
        self.require_open()
        cdef Seat seat
        with nogil:
            self.enter()
        try:
            return {number: seat.body.at - seat.body.start for number, seat in self.seats.items()}
        finally:
            self.leave()

    cdef bint serve(self, epoll_event *events, int count) noexcept nogil:
        cdef Body *body
        cdef int at
        self.station.now = read_clock()
        self.station.done = 0
        for at in range(count):
            if events[at].data.ptr == NULL:
                self._take_done()
            elif events[at].data.ptr == &self.station:
                ring_timer(&self.station)
            else:
                body = <Body *> events[at].data.ptr
                body.is_parked = False
                make_ready(&self.station, body)
        serve_line(&self.station)
        return self.station.ended != NULL

    cdef void _take_done(self) noexcept nogil:
        cdef Task *task = take_done(&self.lane)
        cdef Task *following
        while task != NULL:
            following = task.next
            self.take_back(task)
            task = following

    cdef void take_back(self, Task *task) noexcept nogil:
        take_body_back(&self.station, <Body *> task)

    cdef list tell(self):
        cdef list events = []
        cdef Body *body
        while self.station.ended != NULL:
            body = self.station.ended
            self.station.ended = body.next_ended
            events.append(Ended(body.number, body.at - body.start, REASONS[body.ending], body.failure))
            del self.seats[body.number]  # and with the seat the body
        events.reverse()  # they were put one before the other
        return events

    cdef void end_all(self) noexcept:
        cdef Seat seat
        cdef bint is_to_settle
        self.station.ready = self.station.waiting = NULL
        for seat in self.seats.values():
            is_to_settle = not seat.body.is_dead or seat.body.is_ready or seat.body.is_waiting
            seat.body.is_ready = seat.body.is_waiting = False
            end_body(&self.station, seat.body, STOPPED, 0)
            if is_to_settle:
                settle(&self.station, seat.body)
