# cython: language_level=3
"""The native data path of NBD: many clients' transmission behind one epoll descriptor.

asyncio watches that descriptor only. Each `run` serves a batch without the GIL: clients that became ready stand in
one line, each takes a turn (turn.pyx), and the batch ends when the line is empty or the batch has done enough; the
descriptor stays readable while anybody stands in line. What Python must know comes back as a list, never by a call.
"""
from cpython.bytes cimport PyBytes_AS_STRING
from libc.errno cimport errno
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset
from posix.unistd cimport close

cimport cython

import os

from protocols.nbd.frames cimport ERROR_MOST, REPLY_ROOM, Request, make_rules
from protocols.nbd.outbox cimport end_client, make_parcel, make_ready, post
from protocols.nbd.pumped import Closed, Failed, StatusAsked, Sums
from protocols.nbd.station cimport (
    DISCONNECTED, GATHER, HUNG_UP, INBOX, INLINE_MOST, MALFORMED, RECEIVE, RESET, STARVED, STOPPED, Client, Note, Parcel,
    Station,
)
from protocols.nbd.turn cimport take_back, take_turn
from storage.image cimport Image
from storage.workers cimport Task, Workers, close_lane, open_lane, ring, take_done

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        void *ptr
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int EPOLL_CLOEXEC
    int EPOLL_CTL_ADD
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLLRDHUP
        EPOLLHUP
        EPOLLERR
        EPOLLET
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event *event)
    int epoll_wait(int epoll, epoll_event *events, int most, int milliseconds)

cdef enum:
    EVENTS = 256  # ready clients taken from the kernel at once
    BATCH_REQUESTS = 1024  # of one run, then the loop has its turn: about three milliseconds of small reads
    BATCH_BYTES = 8 << 20  # likewise, for large ones

REASONS = {
    DISCONNECTED: "disconnected",
    HUNG_UP: "hung_up",
    RESET: "reset",
    MALFORMED: "malformed",
    STOPPED: "stopped",
    STARVED: "out_of_memory",
}


cdef class Seat:
    # Keeps a client's image, and the client itself, for as long as a task may use them.
    cdef Client *client
    cdef Image image
    cdef uint64_t number

    def __dealloc__(self):
        if self.client != NULL:
            free(self.client.kept)
        free(self.client)


cdef void take_tasks_back(Station *station) noexcept nogil:
    cdef Task *task = take_done(&station.lane)
    cdef Task *following
    cdef Client *client
    cdef bint is_any = task != NULL
    while task != NULL:
        following = task.next
        take_back(station, <Parcel *> task)
        task = following
    while is_any and station.waiting != NULL:  # the queue has room again
        client = station.waiting
        station.waiting = client.next_waiting
        client.is_waiting = False
        make_ready(station, client)


cdef void line_up(Station *station) noexcept nogil:
    # Clients that the kernel says are ready, to the end of the line.
    cdef epoll_event events[EVENTS]
    cdef Client *client
    cdef int at, count = epoll_wait(station.epoll, events, EVENTS, 0)
    for at in range(count):
        client = <Client *> events[at].data.ptr
        if client == NULL:
            take_tasks_back(station)
            continue
        if events[at].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR):
            client.is_readable = True
        if events[at].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR):
            client.saw_end = True
        make_ready(station, client)


cdef void serve(Station *station) noexcept nogil:
    cdef Client *client
    cdef int turns
    station.done_requests = station.done_bytes = 0
    line_up(station)
    while station.ready != NULL:
        turns = 0
        while station.ready != NULL:
            if station.done_requests >= BATCH_REQUESTS or station.done_bytes >= BATCH_BYTES:
                ring(&station.lane)  # who is left in line must be served though no socket says so
                return
            client = station.ready
            station.ready = client.next_ready
            client.is_ready = False
            turns += 1
            if not client.is_dead:
                take_turn(station, client)
        if turns > 1:
            line_up(station)  # in a crowd others have come meanwhile; after a single one that would be a call for nothing


cdef int keep_first(Client *client, bytes first) except -1:
    cdef size_t length = len(first)
    if length > INBOX:
        raise ValueError(f"{length} bytes were sent ahead, over the limit of {INBOX}")
    if length:
        client.kept = <char *> malloc(length)
        if client.kept == NULL:
            raise MemoryError
        memcpy(client.kept, PyBytes_AS_STRING(first), length)
        client.kept_length = length
    return 0


cdef object sums_of(const Client *client):
    return Sums(client.bytes_read, client.bytes_written, client.requests, client.unsent)


cdef object event_of(const Note *note, uint64_t seat):
    cdef const Request *request = &note.request
    if note.failed:
        return Failed(seat, request.offset, note.failed)
    cookie = int.from_bytes(request.cookie[:8], "big")
    return StatusAsked(seat, request.flags, cookie, request.offset, request.length)


@cython.no_gc_clear  # its seats are in the workers' hands until __dealloc__ has waited for them
cdef class NbdPump:
    cdef Station station
    cdef Workers workers
    cdef object limits
    cdef dict seats  # by number; the dead stay until their tasks are back
    cdef list leaving  # seats whose end was told
    cdef uint64_t last_seat
    cdef bint is_open

    def __cinit__(self, limits, Workers workers not None):
        self.station.epoll = -1
        self.workers = workers
        self.limits = limits
        self.seats = {}
        self.leaving = []
        self.station.requests_most = limits.requests_in_flight
        self.station.bytes_most = limits.bytes_in_flight
        self.station.cached_most = limits.cached
        self.station.gather = min(limits.unsent, GATHER)
        self.station.inbox = <char *> malloc(INBOX + RECEIVE)
        # A turn's replies up to the bound, and the one that passes it.
        self.station.stage = <char *> malloc(2 * REPLY_ROOM + GATHER + INLINE_MOST + ERROR_MOST)
        if self.station.inbox == NULL or self.station.stage == NULL:
            raise MemoryError
        open_lane(&self.station.lane, workers)
        self.is_open = True
        self.station.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.station.epoll < 0:
            raise OSError(errno, os.strerror(errno))
        self._watch(self.station.lane.bell, NULL, EPOLLIN)

    def __dealloc__(self):
        self._release()
        free(self.station.inbox)
        free(self.station.stage)

    cdef int _watch(self, int fd, Client *client, uint32_t events) except -1:
        cdef epoll_event event
        memset(&event, 0, sizeof(event))
        event.events = events
        event.data.ptr = client
        if epoll_ctl(self.station.epoll, EPOLL_CTL_ADD, fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        return 0

    cdef int _require_open(self) except -1:
        if not self.is_open:
            raise ValueError("the pump is closed")
        return 0

    def fileno(self):
        self._require_open()
        return self.station.epoll

    def adopt(self, sock, Image image not None, agreement, bytes first_bytes not None):
        self._require_open()
        cdef Seat seat = Seat()
        cdef Client *client = <Client *> calloc(1, sizeof(Client))
        if client == NULL:
            raise MemoryError
        seat.client = client
        seat.image = image
        seat.number = self.last_seat + 1
        client.image = <void *> image
        client.seat = <void *> seat
        client.fd = sock.fileno()
        client.is_readable = True
        make_rules(&client.rules, agreement, self.limits)
        keep_first(client, first_bytes)
        self._watch(client.fd, client, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)
        sock.detach()
        self.last_seat = seat.number
        self.seats[seat.number] = seat
        make_ready(&self.station, client)
        ring(&self.station.lane)
        return seat.number

    def run(self):
        self._require_open()
        with nogil:
            serve(&self.station)
        return self._tell()

    def answer(self, uint64_t number, bytes reply not None):
        self._require_open()
        cdef Seat seat = self.seats.get(number)
        if seat is None or seat.client.is_dead:
            return
        cdef Parcel *parcel = make_parcel(seat.client, len(reply))
        if parcel == NULL:
            raise MemoryError
        memcpy(parcel.bytes, PyBytes_AS_STRING(reply), len(reply))
        seat.client.in_flight -= 1
        post(seat.client, parcel, 0, len(reply))
        make_ready(&self.station, seat.client)
        ring(&self.station.lane)

    def connections(self):
        cdef Seat seat
        return {seat.number: sums_of(seat.client) for seat in self.seats.values() if not seat.client.is_dead}

    def close(self):
        self._release()
        return self._tell()

    cdef list _tell(self):
        # Everything noted, in order; ends come last, since a client's failures came before.
        cdef list events = []
        cdef Note *note
        cdef Client *client
        while self.station.notes != NULL:
            note = self.station.notes
            self.station.notes = note.next
            events.append(event_of(note, (<Seat> note.client.seat).number))
            free(note)
        self.station.notes_tail = NULL
        while self.station.ended != NULL:
            client = self.station.ended
            self.station.ended = client.next_ended
            self.leaving.append(<Seat> client.seat)
            events.append(Closed((<Seat> client.seat).number, REASONS[client.ending], sums_of(client)))
        if self.leaving:
            self._forget()
        return events

    cdef int _forget(self) except -1:
        # Those of the dead that neither the workers nor a line know any more.
        cdef Seat seat
        staying = []
        for seat in self.leaving:
            if seat.client.tasks or seat.client.is_ready or seat.client.is_waiting:
                staying.append(seat)
            else:
                del self.seats[seat.number]
        self.leaving = staying
        return 0

    cdef void _release(self) noexcept:
        # The workers read and write for clients until their lane is empty.
        cdef Task *task
        cdef Task *following
        cdef Note *note
        cdef Seat seat
        if not self.is_open:
            return
        self.is_open = False
        for seat in self.seats.values():
            end_client(&self.station, seat.client, STOPPED)
        with nogil:
            task = close_lane(&self.station.lane)
            while task != NULL:
                following = task.next
                take_back(&self.station, <Parcel *> task)
                task = following
        if self.station.epoll >= 0:
            close(self.station.epoll)
