# cython: language_level=3
"""The native data path of AoE: ATA reads, writes and flushes from a packet socket to images and back.

A batch takes frames from the socket's ring (port.pyx), answers each ATA command at once where memory has its bytes
(turn.pyx) or by way of the workers (wishes.pyx), and sends the replies together. Everything rare goes to Python
(notes.pyx). Initiators take turns, and what costs much is bounded for each.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cimport cython

from errno import errorcode

from protocols.aoe.accounts cimport Ledger
from protocols.aoe.notes cimport drop_notes, take_notes
from protocols.aoe.port cimport close_port, count_missed, free_port, open_port, send_queued, take_error
from protocols.aoe.ring cimport await_frame, give_back, next_frame
from protocols.aoe.station cimport (
    BATCH, CHUNK, ERRNO_MOST, LIST_MOST, NOTES_MOST, REPLY, SECTOR, SHORTEST, Disk, Port, Station, Wish, bucket_of,
)
from protocols.aoe.turn cimport find_disk, take_frame
from protocols.aoe.wishes cimport end_wish, release_wish
from protocols.pump cimport EPOLL_CTL_DEL, EPOLLERR, EPOLLIN, Pump, epoll_ctl, epoll_event
from storage.image cimport Image
from storage.mapping cimport close_mapping, open_mapping
from storage.trace cimport Trace
from storage.workers cimport Task, ring, take_done

cdef extern from "<sys/eventfd.h>" nogil:
    int eventfd_write(int fd, uint64_t value)

cdef enum:
    LOOK = 40_000  # nanoseconds for the next request of an initiator that has several under way
    TOLD_MOST = 64  # events of one `tell`: under 2 ms of Python's work, then the loop has its turn


cdef double TURN = 0.002  # seconds of one batch, however slowly its frames come: Python may wait for its end


cdef class Seat:
    # Keeps a disk and its image for as long as a task may use them.
    cdef Disk *disk
    cdef Image image

    def __cinit__(self, uint32_t address, Image image not None, uint64_t sectors):
        self.image = image
        self.disk = <Disk *> calloc(1, sizeof(Disk))
        if self.disk == NULL:
            raise MemoryError
        self.disk.address = address
        self.disk.image = <void *> image
        self.disk.sectors = sectors
        self.disk.is_writable = image.writable
        if not image.writable:
            open_mapping(&self.disk.mapping, sectors * SECTOR)

    def __dealloc__(self):
        if self.disk != NULL:
            close_mapping(&self.disk.mapping)
        free(self.disk)


cdef double seconds() noexcept nogil:
    cdef timespec time
    clock_gettime(CLOCK_MONOTONIC, &time)
    return <double> time.tv_sec + <double> time.tv_nsec * 1e-9


cdef void take_tasks_back(Station *station) noexcept nogil:
    cdef Task *task = take_done(station.lane)
    cdef Task *following
    while task != NULL:
        following = task.next
        end_wish(station, <Wish *> task)
        task = following


cdef void retire(Station *station, int epoll) noexcept nogil:
    # Sockets that have a successor.
    cdef epoll_event unused
    cdef Port *port
    while station.leaving != NULL:
        port = station.leaving
        station.leaving = port.next
        epoll_ctl(epoll, EPOLL_CTL_DEL, port.ring.fd, &unused)
        station.tally.missed += count_missed(port)
        close_port(port)
        port.next = station.dead
        station.dead = port


cdef uint32_t drain(Station *station, uint32_t most) noexcept nogil:
    # Answer what is in the ring; how many frames that were.
    cdef const uint8_t *frame
    cdef size_t length = 0
    cdef uint32_t taken = 0
    while taken < most:
        frame = next_frame(station, &station.port.ring, &length)
        if frame == NULL:
            break
        if length:
            take_frame(station, frame, length)
        give_back(&station.port.ring)
        taken += 1
    send_queued(station)
    return taken


cdef void serve_ring(Station *station) noexcept nogil:
    # Then look again, while that is worth it and nobody else waits: the workers, or Python for what there is to tell.
    cdef uint32_t taken = 0, last
    while taken < BATCH:
        last = drain(station, BATCH - taken)
        taken += last
        station.is_lively = station.is_lively or last > 1
        if not station.is_lively or station.lane.head != NULL or station.notes != NULL:
            break
        if seconds() - station.now > TURN:
            break
        station.is_lively = await_frame(&station.port.ring, LOOK)
        if not station.is_lively:
            break
    if station.port.ring.held:
        ring(station.lane)  # frames that are in line must be served though the socket may not say so


cdef uint32_t list_macs(uint64_t *into, macs) except? 0:
    if len(macs) > LIST_MOST:
        raise ValueError(f"{len(macs)} MACs: a list has at most {LIST_MOST}")
    cdef uint32_t at = 0
    for mac in macs:
        into[at] = int.from_bytes(mac, "big")
        at += 1
    return at


cdef void free_ports(Port *port) noexcept nogil:
    cdef Port *following
    while port != NULL:
        following = port.next
        free_port(port)
        port = following


@cython.no_gc_clear  # its seats are in the workers' hands until __dealloc__ has waited for them
cdef class AoePump(Pump):
    cdef Station station
    cdef Ledger ledger
    cdef dict seats  # by shelf and slot
    cdef list leaving  # seats of targets that were removed; they stay until their tasks are back

    def __cinit__(self, limits, *, workers):
        self.seats = {}
        self.leaving = []
        self.ledger = Ledger(limits.initiators)
        self.station.lane = &self.lane
        self.station.accounts = &self.ledger.table
        self.station.in_flight_most = limits.in_flight
        self.station.in_flight_of_one = limits.in_flight_per_initiator

    def __dealloc__(self):
        self.shut()
        drop_notes(&self.station)
        free_ports(self.station.dead)
        free(self.station.stage)

    cdef int pause(self) except -1:
        # From here to `leave` no batch runs.
        self.require_open()
        with nogil:
            self.enter()
        return 0

    def listen(self, sock, out):
        self.require_open()
        cdef Port *port = open_port(sock.fileno(), out.fileno())
        self.pause()
        try:
            self.watch(port.ring.fd, port, EPOLLIN)
            sock.detach()
            out.detach()
            if self.station.port != NULL:
                self.station.port.next = self.station.leaving
                self.station.leaving = self.station.port
            self.station.port = port
            ring(&self.lane)
        except OSError:
            free_port(port)
            raise
        finally:
            self.leave()

    def fit(self, bytes mac not None, uint8_t frame_sectors):
        cdef size_t room = max(REPLY + <size_t> frame_sectors * SECTOR, <size_t> SHORTEST) + 63
        if len(mac) != 6:
            raise ValueError(f"a MAC has 6 bytes, not {len(mac)}")
        cdef uint8_t *stage = <uint8_t *> malloc(CHUNK * room)
        if stage == NULL:
            raise MemoryError
        self.pause()
        free(self.station.stage)
        self.station.stage = stage
        self.station.frame_sectors = frame_sectors
        memcpy(self.station.mac, <const char *> mac, 6)
        self.leave()

    def add(self, uint16_t shelf, uint8_t slot, Image image not None, uint64_t sectors):
        if sectors > image.size // SECTOR:
            raise ValueError(f"{sectors} sectors are more than the image's {image.size} bytes")
        cdef Seat seat = Seat(<uint32_t> shelf << 8 | slot, image, sectors)
        if (shelf, slot) in self.seats:
            raise ValueError(f"e{shelf}.{slot} is taken")
        cdef Disk **bucket = &self.station.disks[bucket_of(seat.disk.address)]
        self.pause()
        self.seats[shelf, slot] = seat
        seat.disk.next = bucket[0]
        bucket[0] = seat.disk
        self.leave()

    def admit(self, uint16_t shelf, uint8_t slot, list mask not None, list reserved not None):
        cdef Seat seat = self.seats[shelf, slot]
        cdef uint64_t admitted[LIST_MOST]
        cdef uint64_t holders[LIST_MOST]
        cdef uint32_t admitted_count = list_macs(admitted, mask), holder_count = list_macs(holders, reserved)
        self.pause()
        memcpy(seat.disk.mask, admitted, admitted_count * sizeof(uint64_t))
        memcpy(seat.disk.reserved, holders, holder_count * sizeof(uint64_t))
        seat.disk.admitted = admitted_count
        seat.disk.holders = holder_count
        self.leave()

    def remove(self, uint16_t shelf, uint8_t slot):
        cdef Seat seat = self.seats[shelf, slot]
        cdef Disk **link = &self.station.disks[bucket_of(seat.disk.address)]
        self.pause()
        while link[0] != seat.disk:
            link = &link[0].next
        link[0] = seat.disk.next
        self.ledger.forget(shelf, slot)
        self.leaving.append(self.seats.pop((shelf, slot)))
        self.leave()

    def note_identify(self, str mac not None, uint16_t shelf, uint8_t slot):
        self.pause()
        try:
            return self.ledger.note_identify(mac, shelf, slot, seconds())
        finally:
            self.leave()

    def note_query(self, str mac not None, uint16_t shelf, uint8_t slot):
        self.pause()
        try:
            self.ledger.note_query(mac, shelf, slot, seconds())
        finally:
            self.leave()

    def trace(self, str mac not None, uint16_t shelf, uint8_t slot, Trace trace not None):
        self.pause()
        try:
            self.ledger.trace(mac, shelf, slot, seconds(), trace)
        finally:
            self.leave()

    def await_command(self, str mac not None):
        self.pause()
        try:
            self.ledger.await_command(mac)
        finally:
            self.leave()

    def initiators(self):
        self.pause()
        try:
            return self.ledger.snapshot()
        finally:
            self.leave()

    def counts(self):
        self.pause()
        if self.station.port != NULL:
            self.station.tally.missed += count_missed(self.station.port)
        tally = self.station.tally
        memset(&self.station.tally, 0, sizeof(self.station.tally))
        self.leave()
        found = {
            "replies": tally.replies,
            "refused": tally.refused,
            "image_errors": tally.image_errors,
            "dropped_in_flight": tally.dropped_in_flight,
            "dropped_overlapping": tally.dropped_overlapping,
            "repeated": tally.repeated,
            "dropped_rare": tally.dropped_rare,
            "missed": tally.missed,
            "link_down": tally.link_down,
            "detours": tally.detours,
        }
        for number in range(ERRNO_MOST):
            found["unsent_" + errorcode.get(number, "other").lower()] = tally.unsent[<int> number]
        return {name: count for name, count in found.items() if count}

    cdef bint serve(self, epoll_event *events, int count) noexcept nogil:
        cdef Station *station = &self.station
        cdef int at
        station.now = seconds()
        for at in range(count):
            if events[at].data.ptr == NULL:
                take_tasks_back(station)
            elif events[at].events & EPOLLERR:
                take_error(station, <Port *> events[at].data.ptr)
        retire(station, self.epoll)
        send_queued(station)
        if station.port != NULL and station.stage != NULL:
            serve_ring(station)
        return station.notes != NULL

    cdef list tell(self):
        cdef list events = take_notes(&self.station, TOLD_MOST if self.is_open else NOTES_MOST)
        if self.station.notes != NULL:
            eventfd_write(self.news, 1)
        free_ports(self.station.dead)
        self.station.dead = NULL
        self._forget()
        return events

    cdef int _forget(self) except -1:
        # Seats that the workers don't know any more.
        cdef Seat seat
        if self.leaving:
            self.leaving = [seat for seat in self.leaving if seat.disk.tasks]
        return 0

    cdef void end_all(self) noexcept:
        if self.station.port != NULL:
            self.station.port.next = self.station.leaving
            self.station.leaving = self.station.port
        self.station.port = NULL
        retire(&self.station, self.epoll)

    cdef void take_back(self, Task *task) noexcept nogil:
        release_wish(&self.station, <Wish *> task)
        free(task)
