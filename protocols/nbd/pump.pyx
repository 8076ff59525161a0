# cython: language_level=3
"""The native data path of NBD: many clients' transmission behind one epoll descriptor.

Clients that became ready stand in one line, each takes a turn (turn.pyx), and a batch ends when the line is empty or
the batch has done enough; the bell rings on while anybody stands in line.
"""
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cimport cython

from weakref import WeakValueDictionary

from protocols.nbd.frames cimport ERROR_MOST, REPLY_ROOM, Request, make_rules
from protocols.nbd.outbox cimport end_client, make_parcel, make_ready, post
from protocols.nbd.pumped import Closed, Failed, StatusAsked, Sums
from protocols.nbd.station cimport (
    DISCONNECTED, GATHER, HUNG_UP, INBOX, INLINE_MOST, MALFORMED, RECEIVE, RESET, SHORTENED, STARVED, STOPPED, Client, Note, Parcel,
    Station,
)
from protocols.nbd.turn cimport take_back, take_turn
from protocols.pump cimport (
    EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, EVENTS, Pump, epoll_event, epoll_wait,
)
from storage.image cimport Image
from storage.mapping cimport Mapping, close_mapping, open_mapping, watch_faults
from storage.trace cimport Trace
from storage.workers cimport Task, ring, take_done

cdef enum:
    BATCH_REQUESTS = 1024  # of one batch, then Python has its turn: about three milliseconds of small reads
    BATCH_BYTES = 8 << 20  # likewise, for large ones
    WATCH = 64  # replies from files in memory, then it is asked whether any had to wait

REASONS = {
    DISCONNECTED: "disconnected",
    HUNG_UP: "hung_up",
    RESET: "reset",
    MALFORMED: "malformed",
    STOPPED: "stopped",
    STARVED: "out_of_memory",
    SHORTENED: "image_shortened",
}


cdef class Mapped:
    # An image in memory, for all of a pump's clients that read it.
    cdef Mapping mapping
    cdef Image image
    cdef object __weakref__

    def __cinit__(self, Image image not None):
        self.image = image
        open_mapping(&self.mapping, image.size)

    def __dealloc__(self):
        close_mapping(&self.mapping)


cdef class Seat:
    # Keeps a client's image, and the client itself, for as long as a task may use them.
    cdef Client *client
    cdef Image image
    cdef Mapped mapped
    cdef Trace trace
    cdef uint64_t number

    def __dealloc__(self):
        if self.client != NULL:
            free(self.client.kept)
        free(self.client)


cdef void take_tasks_back(Station *station) noexcept nogil:
    cdef Task *task = take_done(station.lane)
    cdef Task *following
    cdef Client *client
    while task != NULL:
        following = task.next
        take_back(station, <Parcel *> task)
        task = following
    while station.waiting != NULL:  # the queue may have room again
        client = station.waiting
        station.waiting = client.next_waiting
        client.is_waiting = False
        make_ready(station, client)


cdef void line_up(Station *station, epoll_event *events, int count) noexcept nogil:
    # Clients that the kernel says are ready, to the end of the line.
    cdef Client *client
    cdef int at
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


cdef double seconds() noexcept nogil:
    cdef timespec time
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec + time.tv_nsec / 1e9


cdef void serve_line(Station *station, epoll_event *events, int count) noexcept nogil:
    # Round after round: a turn for each who stood in line when it began, then a look at who came meanwhile.
    cdef Client *client
    cdef Client *last
    cdef int turns
    station.done_requests = station.done_bytes = 0
    line_up(station, events, count)
    while station.ready != NULL:
        client = NULL
        last = station.ready_tail
        turns = 0
        while client != last:
            if station.done_requests >= BATCH_REQUESTS or station.done_bytes >= BATCH_BYTES:
                ring(station.lane)  # who is left in line must be served though no socket says so
                return
            client = station.ready
            station.ready = client.next_ready
            client.is_ready = False
            turns += 1
            if not client.is_dead:
                take_turn(station, client)
        if turns > 1 or station.ready != NULL:  # after a single one that is done it would be a call for nothing
            line_up(station, events, epoll_wait(station.epoll, events, EVENTS, 0))


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


cdef Note *take_note(Station *station) noexcept nogil:
    cdef Note *note = station.notes
    station.notes = note.next
    return note


cdef void free_notes(Station *station) noexcept nogil:
    while station.notes != NULL:
        free(take_note(station))


@cython.no_gc_clear  # its seats are in the workers' hands until __dealloc__ has waited for them
cdef class NbdPump(Pump):
    cdef Station station
    cdef object limits
    cdef dict seats  # by number; the dead stay until their tasks are back
    cdef list leaving  # seats whose end was told
    cdef object mapped  # images in memory, by the number of the image, for as long as a seat has it
    cdef uint64_t last_seat

    def __cinit__(self, limits, *, workers):
        self.limits = limits
        self.seats = {}
        self.leaving = []
        self.mapped = WeakValueDictionary()
        self.station.epoll = self.epoll
        self.station.lane = &self.lane
        self.station.requests_most = limits.requests_in_flight
        self.station.bytes_most = limits.bytes_in_flight
        self.station.cached_most = limits.cached
        self.station.gather = min(limits.unsent, GATHER)
        self.station.inbox = <char *> malloc(INBOX + RECEIVE)
        # A turn's replies up to the bound, and the one that passes it.
        self.station.stage = <char *> malloc(2 * REPLY_ROOM + GATHER + INLINE_MOST + ERROR_MOST)
        if self.station.inbox == NULL or self.station.stage == NULL:
            raise MemoryError

    def __dealloc__(self):
        self.shut()
        free_notes(&self.station)
        free(self.station.inbox)
        free(self.station.stage)

    def adopt(self, sock, Image image not None, agreement, bytes first_bytes not None, Trace trace=None):
        self.require_open()
        cdef Seat seat = Seat()
        cdef Client *client = <Client *> calloc(1, sizeof(Client))
        if client == NULL:
            raise MemoryError
        seat.client = client
        seat.image = image
        client.image = <void *> image
        client.seat = <void *> seat
        if trace is not None:
            seat.trace = trace
            client.trace = &trace.record
        client.fd = sock.fileno()
        client.is_readable = True
        make_rules(&client.rules, agreement, self.limits)
        if client.rules.is_read_only and not image.writable:
            seat.mapped = self._mapped(image)
            client.mapping = &seat.mapped.mapping
        keep_first(client, first_bytes)
        with nogil:
            self.enter()
        try:
            self.watch(client.fd, client, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)
            sock.detach()
            self.last_seat += 1
            seat.number = self.last_seat
            self.seats[seat.number] = seat
            make_ready(&self.station, client)
            ring(&self.lane)
        finally:
            self.leave()
        return seat.number

    cdef Mapped _mapped(self, Image image):
        cdef Mapped mapped = self.mapped.get(id(image))  # which keeps the image: its number is nobody else's
        if mapped is None:
            mapped = self.mapped[id(image)] = Mapped(image)
        return mapped

    def answer(self, uint64_t number, bytes reply not None):
        self.require_open()
        cdef Seat seat = self.seats.get(number)
        if seat is None:
            return
        cdef size_t length = len(reply)
        cdef Parcel *parcel = make_parcel(seat.client, length)
        if parcel == NULL:
            raise MemoryError
        memcpy(parcel.bytes, PyBytes_AS_STRING(reply), length)
        with nogil:
            self.enter()
            if seat.client.is_dead:
                free(parcel)
            else:
                seat.client.in_flight -= 1
                post(seat.client, parcel, 0, length)
                make_ready(&self.station, seat.client)
                ring(&self.lane)
            self.leave()

    def connections(self):
        cdef Seat seat
        with nogil:
            self.enter()
        try:
            return {seat.number: sums_of(seat.client) for seat in self.seats.values() if not seat.client.is_dead}
        finally:
            self.leave()

    cdef bint serve(self, epoll_event *events, int count) noexcept nogil:
        self.station.now = seconds()
        serve_line(&self.station, events, count)
        if self.station.belief.gathered >= WATCH:
            watch_faults(&self.station.belief, self.station.now)
        return self.station.notes != NULL or self.station.ended != NULL

    cdef list tell(self):
        # Ends come last, since a client's failures came before.
        cdef list events = []
        cdef Note *note
        cdef Client *client
        while self.station.notes != NULL:
            note = take_note(&self.station)
            events.append(event_of(note, (<Seat> note.client.seat).number))
            free(note)
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

    cdef void end_all(self) noexcept:
        cdef Seat seat
        for seat in self.seats.values():
            end_client(&self.station, seat.client, STOPPED)

    cdef void take_back(self, Task *task) noexcept nogil:
        take_back(&self.station, <Parcel *> task)
