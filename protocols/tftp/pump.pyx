# cython: language_level=3
"""The native data path of TFTP's read transfers: many sockets and all their timers behind one epoll descriptor.

Each batch serves the transfers that became ready, or whose time has come, without the GIL: they stand in one line,
each takes a turn (turn.pyx), and the batch ends when the line is empty or its time is over. What Python must know
comes back as a list, never by a call. Left out: netascii, whose blocks are made one from the other (channel.py).
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport errno
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport close, read

cimport cython

import os
import socket

from protocols.pump cimport EPOLLIN, EPOLLOUT, Pump, epoll_event
from protocols.tftp.alarms cimport make_room, set_timer, take_overdue
from protocols.tftp.line cimport end_transfer, make_ready
from protocols.tftp.options import MAX_BLKSIZE, MAX_WINDOWSIZE, MIN_BLKSIZE
from protocols.tftp.patience import FIRST_RTO, MAX_RTO, UNMEASURED_IN_A_ROW
from protocols.tftp.pumped import Counted, Ended
from protocols.tftp.reading import FINAL_RESENDS, MIN_RTO
from protocols.tftp.refusals import BROKEN as BROKEN_FILE, STOPPING
from protocols.tftp.rto cimport begin_rto
from protocols.tftp.station cimport (
    ABORTED, BROKEN, COMPLETED, HEAD, PROBED, SEGMENTS, SEND_MOST, STAGE, STOPPED, TIMED_OUT, Counts, Piece,
    Station, Transfer, Words,
)
from protocols.tftp.transfer import PATIENT_TRIES, START_RESENDS, Outcome
from protocols.tftp.turn cimport ask_again, begin_transfer, has_begun, on_room, take_back, take_turn
from protocols.tftp.windows cimport read_ahead
from protocols.tftp.wire import ErrorCode, build_error, build_oack
from storage.image cimport Image
from storage.workers cimport Task, ring, take_done

cdef extern from "<sys/socket.h>" nogil:
    int AF_INET

cdef extern from "<arpa/inet.h>" nogil:
    uint16_t htons(uint16_t number)

cdef extern from "<sys/timerfd.h>" nogil:
    int TFD_CLOEXEC
    int TFD_NONBLOCK
    int timerfd_create(int clock, int flags)

cdef uint64_t SECOND = 1_000_000_000
cdef uint64_t BATCH = 3_000_000  # nanoseconds; then Python may have its turn with the pump
cdef uint64_t LATE_DUPLICATE = SECOND  # a repeated request this soon after a sign of life is the network's doing

OUTCOMES = {
    COMPLETED: Outcome.COMPLETED,
    PROBED: Outcome.PROBED,
    ABORTED: Outcome.ABORTED,
    TIMED_OUT: Outcome.TIMED_OUT,
    BROKEN: Outcome.FAILED,
    STOPPED: Outcome.FAILED,
}


cdef class Seat:
    # Keeps a transfer and its image for as long as a batch or the workers may use them.
    cdef Transfer *transfer
    cdef Image image
    cdef uint64_t number

    def __dealloc__(self):
        if self.transfer != NULL:
            free(self.transfer.piece)
            free(self.transfer.offer)
            free(self.transfer.shelf.bytes)
        free(self.transfer)


cdef uint64_t now() noexcept nogil:
    cdef timespec time
    clock_gettime(CLOCK_MONOTONIC, &time)
    return <uint64_t> time.tv_sec * SECOND + <uint64_t> time.tv_nsec


cdef uint64_t nanoseconds(double seconds) noexcept nogil:
    return <uint64_t> (seconds * SECOND)


cdef void take_pieces_back(Station *station) noexcept nogil:
    cdef Task *task = take_done(station.lane)
    cdef Task *following
    while task != NULL:
        following = task.next
        take_back(station, <Piece *> task)
        task = following
    ask_again(station)


cdef void line_up_overdue(Station *station) noexcept nogil:
    cdef uint64_t unused
    cdef Transfer *transfer
    if read(station.timer, &unused, sizeof(unused)) > 0:
        station.timer_at = 0
    while True:
        transfer = take_overdue(station)
        if transfer == NULL:
            return
        transfer.is_overdue = True
        make_ready(station, transfer)


cdef void line_up(Station *station, epoll_event *events, int count) noexcept nogil:
    # Transfers that the kernel says are ready, to the end of the line.
    cdef Transfer *transfer
    cdef int at
    for at in range(count):
        transfer = <Transfer *> events[at].data.ptr
        if transfer == NULL:
            take_pieces_back(station)
        elif <void *> transfer == <void *> station:
            line_up_overdue(station)
        elif not transfer.is_dead:
            if events[at].events & EPOLLOUT:
                on_room(station, transfer)
            if events[at].events & ~<uint32_t> EPOLLOUT:
                transfer.is_readable = True
            make_ready(station, transfer)


cdef Transfer *next_in_line(Station *station) noexcept nogil:
    cdef Transfer *transfer = station.ready
    station.ready = transfer.next_ready
    transfer.is_ready = False
    return transfer


cdef void serve_line(Station *station, epoll_event *events, int count) noexcept nogil:
    cdef Transfer *transfer = NULL
    cdef uint64_t began
    cdef int turns = 0
    station.now = began = now()
    line_up(station, events, count)
    while station.ready != NULL:
        if station.now - began >= BATCH:
            ring(station.lane)  # who is left in line must be served though no socket says so
            break
        transfer = next_in_line(station)
        if not transfer.is_dead:
            take_turn(station, transfer)
        turns += 1
        station.now = now()
    if turns == 1 and not transfer.is_dead and transfer == station.alone:
        read_ahead(station, transfer)
    station.alone = transfer if turns == 1 and not transfer.is_dead else NULL
    set_timer(station)


cdef Words words(bytes packet):
    cdef Words made
    made.start = PyBytes_AS_STRING(packet)
    made.length = PyBytes_GET_SIZE(packet)
    return made


cdef int set_peer(Transfer *transfer, peer) except -1:
    address, port = peer
    cdef bytes packed = socket.inet_aton(address)
    transfer.peer.sin_family = AF_INET
    transfer.peer.sin_port = htons(port)
    memcpy(&transfer.peer.sin_addr, PyBytes_AS_STRING(packed), sizeof(transfer.peer.sin_addr))
    return 0


cdef int set_terms(Transfer *transfer, terms, uint64_t size) except -1:
    transfer.blksize = terms.blksize
    transfer.windowsize = terms.windowsize
    if not MIN_BLKSIZE <= transfer.blksize <= MAX_BLKSIZE or not 1 <= transfer.windowsize <= MAX_WINDOWSIZE:
        raise ValueError(f"blksize {terms.blksize} and windowsize {terms.windowsize} are no terms")
    transfer.together = min(SEGMENTS, SEND_MOST // (HEAD + transfer.blksize))
    transfer.window_length = <size_t> transfer.windowsize * transfer.blksize
    transfer.size = size
    transfer.last = size // transfer.blksize + 1
    return 0


cdef int keep_offer(Transfer *transfer, bytes offer) except -1:
    transfer.offer_length = len(offer)
    transfer.offer = <char *> malloc(transfer.offer_length + 1)
    if transfer.offer == NULL:
        raise MemoryError
    memcpy(transfer.offer, PyBytes_AS_STRING(offer), transfer.offer_length)
    return 0


cdef uint64_t size_of(const Transfer *transfer) noexcept nogil:
    # Payload bytes that the client acknowledged.
    return min(transfer.acked * transfer.blksize, transfer.size)


cdef bint goes_on(const Transfer *transfer) noexcept nogil:
    return not transfer.is_dead and not transfer.is_abandoned


cdef object ended(const Transfer *transfer):
    outcome = OUTCOMES[transfer.ending]
    return Ended((<Seat> transfer.seat).number, outcome, size_of(transfer), transfer.resent, transfer.failed)


cdef bint has_counted(const Counts *counts) noexcept nogil:
    return counts.malformed or counts.unknown_tid or counts.send_failed or counts.receive_failed


cdef list counted(Counts *counts):
    cdef dict found = dict(counts[0])
    counts[0] = Counts(0, 0, 0, 0)
    return [Counted(name, number) for name, number in found.items() if number]


@cython.no_gc_clear  # its seats are in the workers' hands until __dealloc__ has waited for them
cdef class TftpPump(Pump):
    cdef Station station
    cdef tuple packets  # what the station's words point to
    cdef dict seats  # by number; the dead stay until the workers are done with them
    cdef list leaving  # seats whose end was told
    cdef uint64_t last_seat

    def __cinit__(self, *, workers):
        self.seats = {}
        self.leaving = []
        self.station.epoll = self.epoll
        self.station.lane = &self.lane
        self.station.timer = -1
        self._take_rules()
        self.station.stage.room = STAGE
        self.station.stage.bytes = <char *> malloc(HEAD + STAGE)
        if self.station.stage.bytes == NULL:
            raise MemoryError
        self.station.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)
        if self.station.timer < 0:
            raise OSError(errno, os.strerror(errno))
        self.watch(self.station.timer, &self.station, EPOLLIN)

    def __dealloc__(self):
        self.shut()
        free(self.station.stage.bytes)
        free(self.station.alarms)
        if self.station.timer >= 0:
            close(self.station.timer)

    cdef int _take_rules(self) except -1:
        self.station.rules.first = nanoseconds(FIRST_RTO)
        self.station.rules.least = nanoseconds(MIN_RTO)
        self.station.rules.most = nanoseconds(MAX_RTO)
        self.station.rules.unmeasured_most = UNMEASURED_IN_A_ROW
        self.station.offer_resends = START_RESENDS
        self.station.final_resends = FINAL_RESENDS
        self.packets = (
            build_error(ErrorCode.UNKNOWN_TID, "unknown transfer ID"),
            build_error(BROKEN_FILE.code, BROKEN_FILE.message),
            build_error(STOPPING.code, STOPPING.message),
        )
        self.station.stranger = words(self.packets[0])
        self.station.broken = words(self.packets[1])
        self.station.stopped = words(self.packets[2])
        return 0

    def adopt(self, sock, peer, Image image not None, terms, double give_up_after):
        self.require_open()
        cdef bytes offer = build_oack(terms.answer) if terms.answer else b""
        cdef Seat seat = Seat()
        cdef Transfer *transfer = <Transfer *> calloc(1, sizeof(Transfer))
        if transfer == NULL:
            raise MemoryError
        seat.transfer = transfer
        seat.image = image
        transfer.image = <void *> image
        transfer.seat = <void *> seat
        transfer.fd = sock.fileno()
        set_peer(transfer, peer)
        set_terms(transfer, terms, image.size)
        keep_offer(transfer, offer)
        transfer.patience = nanoseconds(max(give_up_after, PATIENT_TRIES * (terms.timeout or 0)))
        begin_rto(&transfer.rto, &self.station.rules, (terms.timeout or 0) * SECOND)
        with nogil:
            self.enter()
        try:
            self._seat(seat)
        finally:
            self.leave()
        sock.detach()
        return seat.number

    cdef int _seat(self, Seat seat) except -1:
        make_room(&self.station, len(self.seats) + 1)
        self.watch(seat.transfer.fd, seat.transfer, EPOLLIN)
        self.last_seat += 1
        seat.number = self.last_seat
        self.seats[seat.number] = seat
        self.station.now = now()
        begin_transfer(&self.station, seat.transfer)
        make_ready(&self.station, seat.transfer)
        ring(&self.lane)
        return 0

    cdef Transfer *_find(self, uint64_t number):
        # One that goes on; NULL for none. Under the lock.
        cdef Seat seat = self.seats.get(number)
        return seat.transfer if seat is not None and goes_on(seat.transfer) else NULL

    def repeat(self, uint64_t number):
        self.require_open()
        with nogil:
            self.enter()
        try:
            return self._repeat(self._find(number))
        finally:
            self.leave()

    cdef bint _repeat(self, Transfer *transfer):
        if transfer == NULL:
            return False
        if has_begun(transfer):
            return transfer.heard_at and now() - transfer.heard_at < LATE_DUPLICATE
        transfer.is_repeated = True
        make_ready(&self.station, transfer)
        ring(&self.lane)
        return True

    def abandon(self, uint64_t number):
        self.require_open()
        with nogil:
            self.enter()
        try:
            return self._abandon(self._find(number))
        finally:
            self.leave()

    cdef object _abandon(self, Transfer *transfer):
        if transfer == NULL:
            return None
        transfer.is_abandoned = True
        transfer.ending = ABORTED
        make_ready(&self.station, transfer)
        ring(&self.lane)
        return ended(transfer)

    def sizes(self):
        cdef Seat seat
        with nogil:
            self.enter()
        try:
            return {seat.number: size_of(seat.transfer) for seat in self.seats.values() if goes_on(seat.transfer)}
        finally:
            self.leave()

    cdef bint serve(self, epoll_event *events, int count) noexcept nogil:
        serve_line(&self.station, events, count)
        return self.station.ended != NULL or has_counted(&self.station.counts)

    cdef list tell(self):
        cdef list events = counted(&self.station.counts)
        cdef Transfer *transfer
        while self.station.ended != NULL:
            transfer = self.station.ended
            self.station.ended = transfer.next_ended
            self.leaving.append(<Seat> transfer.seat)
            if not transfer.is_abandoned:  # that was told at once
                events.append(ended(transfer))
        if self.leaving:
            self._forget()
        return events

    cdef int _forget(self) except -1:
        # Those of the dead that neither the workers nor a line know any more.
        cdef Seat seat
        staying = []
        for seat in self.leaving:
            if seat.transfer.is_reading or seat.transfer.is_ready or seat.transfer.is_waiting:
                staying.append(seat)
            else:
                del self.seats[seat.number]
        self.leaving = staying
        return 0

    cdef void end_all(self) noexcept:
        cdef Seat seat
        for seat in self.seats.values():
            end_transfer(&self.station, seat.transfer, STOPPED, &self.station.stopped)

    cdef void take_back(self, Task *task) noexcept nogil:
        take_back(&self.station, <Piece *> task)
