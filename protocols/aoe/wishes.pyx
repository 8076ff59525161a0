# cython: language_level=3
"""Commands that wait: cold reads, writes and flushes among the workers, bounded in all and for each machine.

What is past a bound is dropped and counted, and the initiator sends it again: AoE has no other way to say "later".

Writes to the same sectors are carried out in the order they came in, never side by side. An initiator that saw no
answer in time sends its write once more, and once one of the two is answered it may write something newer there; a
thread that still had the other would then put back what is old. So a write that is sent again is not done again: its
answer goes out under the newest tag. Another write to some of its sectors is dropped, to come again in its time.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from protocols.aoe.frames cimport ABRT, UNC, build_failure, build_success
from protocols.aoe.notes cimport note_failed
from protocols.aoe.port cimport post
from protocols.aoe.station cimport REPLY, SHORTEST, Disk, Machine, Station, Wish, bucket_of, mac_at
from storage.workers cimport TASK_READ, TASK_WRITE, TaskKind, submit


cdef Machine *find_machine(Station *station, uint64_t mac) noexcept nogil:
    # One that waits for something already, or a new one; NULL without memory.
    cdef Machine **bucket = &station.machines[bucket_of(mac)]
    cdef Machine *machine = bucket[0]
    while machine != NULL and machine.mac != mac:
        machine = machine.next
    if machine != NULL:
        return machine
    machine = <Machine *> calloc(1, sizeof(Machine))
    if machine != NULL:
        machine.mac = mac
        machine.next = bucket[0]
        bucket[0] = machine
    return machine


cdef void let_machine_go(Station *station, Machine *machine) noexcept nogil:
    # Once nothing of it waits.
    cdef Machine **link = &station.machines[bucket_of(machine.mac)]
    if machine.in_flight:
        return
    while link[0] != machine:
        link = &link[0].next
    link[0] = machine.next
    free(machine)


cdef Wish *make_wish(const uint8_t *frame, TaskKind kind, uint64_t offset, size_t length) noexcept nogil:
    # With the request's own header and registers before the data; NULL without memory.
    cdef Wish *wish = <Wish *> malloc(sizeof(Wish) + max(REPLY + length, <size_t> SHORTEST))
    if wish == NULL:
        return NULL
    memset(wish, 0, sizeof(Wish))
    wish.reply = <uint8_t *> (wish + 1)
    wish.length = REPLY + length if kind == TASK_READ else REPLY
    memcpy(wish.reply, frame, REPLY + length if kind == TASK_WRITE else REPLY)
    wish.task.kind = kind
    wish.task.data = <char *> wish.reply + REPLY
    wish.task.offset = offset
    wish.task.length = length
    wish.offset = offset
    wish.size = length
    return wish


cdef Wish *find_overlapping(const Disk *disk, uint64_t offset, size_t length) noexcept nogil:
    # A write that the workers have, to some of these bytes: one of in_flight_most at the worst.
    cdef Wish *wish = disk.writes
    while wish != NULL and (wish.offset + wish.size <= offset or offset + length <= wish.offset):
        wish = wish.next_write
    return wish


cdef bint is_repeat(const Wish *wish, const uint8_t *frame, uint64_t offset, size_t length) noexcept nogil:
    return (
        wish.offset == offset and wish.size == length
        and memcmp(wish.reply + 6, frame + 6, 6) == 0
        and memcmp(wish.reply + REPLY, frame + REPLY, length) == 0
    )


cdef void join_or_drop(
    Station *station, Wish *wish, const uint8_t *frame, uint64_t offset, size_t length
) noexcept nogil:
    # A write that overlaps one which the workers have.
    if is_repeat(wish, frame, offset, length):
        memcpy(wish.reply, frame, REPLY)  # they don't look at that part
        station.tally.repeated += 1
    else:
        station.tally.dropped_overlapping += 1


cdef void link_write(Disk *disk, Wish *wish) noexcept nogil:
    wish.next_write = disk.writes
    disk.writes = wish


cdef void unlink_write(Disk *disk, Wish *wish) noexcept nogil:
    cdef Wish **link = &disk.writes
    while link[0] != wish:
        link = &link[0].next_write
    link[0] = wish.next_write


cdef bint hand_over(Station *station, Disk *disk, Machine *machine, Wish *wish) noexcept nogil:
    wish.disk = disk
    wish.machine = machine
    wish.task.image = disk.image
    if submit(station.lane, &wish.task) < 0:
        return False
    if wish.task.kind == TASK_WRITE:
        link_write(disk, wish)
    machine.in_flight += 1
    disk.tasks += 1
    station.in_flight += 1
    return True


cdef void begin_wish(
    Station *station, Disk *disk, const uint8_t *frame, TaskKind kind, uint64_t offset, size_t length
) noexcept nogil:
    cdef Machine *machine = NULL
    cdef Wish *wish = find_overlapping(disk, offset, length) if kind == TASK_WRITE else NULL
    if wish != NULL:
        join_or_drop(station, wish, frame, offset, length)
        return
    if station.in_flight < station.in_flight_most:
        machine = find_machine(station, mac_at(frame + 6))
    if machine != NULL and machine.in_flight < station.in_flight_of_one:
        wish = make_wish(frame, kind, offset, length)
    if wish != NULL and hand_over(station, disk, machine, wish):
        return
    free(wish)
    if machine != NULL:
        let_machine_go(station, machine)
    station.tally.dropped_in_flight += 1


cdef void release_wish(Station *station, Wish *wish) noexcept nogil:
    # The workers are done with it; its bytes stay.
    if wish.task.kind == TASK_WRITE:
        unlink_write(wish.disk, wish)
    wish.machine.in_flight -= 1
    let_machine_go(station, wish.machine)
    wish.disk.tasks -= 1
    station.in_flight -= 1


cdef void end_wish(Station *station, Wish *wish) noexcept nogil:
    # What the workers are done with becomes its reply.
    cdef uint8_t request[REPLY]
    memcpy(request, wish.reply, REPLY)
    release_wish(station, wish)
    if wish.task.result < 0:
        note_failed(station, wish.disk, -wish.task.result)
        build_failure(wish.reply, request, station.mac, UNC if wish.task.kind == TASK_READ else ABRT)
        wish.length = REPLY
    else:
        build_success(wish.reply, request, station.mac)
    post(station, wish.reply, wish.length, wish)
