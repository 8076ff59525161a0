# cython: language_level=3
"""What a pump has to tell Python, in a bounded line: frames that are Python's to answer, and news of machines.

What finds the line full is dropped and counted; an initiator asks again, and news that was not told comes with the
machine's next command.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from protocols.aoe.accounts cimport Account
from protocols.aoe.pumped import CommandBegan, FrameCame, ImageFailed
from protocols.aoe.station cimport (
    NOTE_FAILED, NOTE_FIRST, NOTE_FRAME, NOTES_BYTES, NOTES_MOST, NOTES_OF_ONE, Disk, Note, Station, mac_at,
)
from protocols.ethernet import format_mac


cdef Note *add(Station *station, size_t length) noexcept nogil:
    # At the line's end, or NULL when it is full.
    cdef Note *note = NULL
    if station.noted < NOTES_MOST and station.noted_bytes + length <= NOTES_BYTES:
        note = <Note *> malloc(sizeof(Note) + length)
    if note == NULL:
        station.tally.dropped_rare += 1
        return NULL
    memset(note, 0, sizeof(Note))
    note.length = length
    if station.notes == NULL:
        station.notes = note
    else:
        station.notes_tail.next = note
    station.notes_tail = note
    station.noted += 1
    station.noted_bytes += length
    return note


cdef bint is_flooding(const Station *station, uint64_t mac) noexcept nogil:
    cdef const Note *note = station.notes
    cdef uint32_t count = 0
    while note != NULL:
        if note.kind == NOTE_FRAME and note.mac == mac:
            count += 1
        note = note.next
    return count >= NOTES_OF_ONE


cdef void note_frame(Station *station, const uint8_t *frame, size_t length) noexcept nogil:
    cdef uint64_t mac = mac_at(frame + 6) if length >= 12 else 0
    cdef Note *note
    if is_flooding(station, mac):
        station.tally.dropped_rare += 1
        return
    note = add(station, length)
    if note == NULL:
        return
    note.kind = NOTE_FRAME
    note.mac = mac
    memcpy(note + 1, frame, length)


cdef void note_first(Station *station, Account *account) noexcept nogil:
    # A machine's first command at a target, or the first since Python asked to hear of it.
    cdef Note *note = add(station, 0)
    if note == NULL:
        return
    note.kind = NOTE_FIRST
    note.mac = account.mac
    note.address = account.address
    account.is_told = True


cdef void note_failed(Station *station, Disk *disk, int failed) noexcept nogil:
    # Once a target: a broken disk fails every read of every machine.
    cdef Note *note
    station.tally.image_errors += 1
    if disk.has_failed:
        return
    note = add(station, 0)
    if note == NULL:
        return
    note.kind = NOTE_FAILED
    note.address = disk.address
    note.failed = failed
    disk.has_failed = True


cdef object event_of(const Note *note):
    cdef uint32_t shelf = note.address >> 8, slot = note.address & 0xFF
    if note.kind == NOTE_FRAME:
        return FrameCame(PyBytes_FromStringAndSize(<const char *> (note + 1), note.length))
    if note.kind == NOTE_FIRST:
        return CommandBegan(format_mac(int(note.mac).to_bytes(6, "big")), shelf, slot)
    return ImageFailed(shelf, slot, note.failed)


cdef void drop_first(Station *station) noexcept nogil:
    cdef Note *note = station.notes
    station.notes = note.next
    station.noted -= 1
    station.noted_bytes -= note.length
    free(note)


cdef list take_notes(Station *station, int most):
    cdef list events = []
    while station.notes != NULL and len(events) < most:
        events.append(event_of(station.notes))
        drop_first(station)
    return events


cdef void drop_notes(Station *station) noexcept nogil:
    while station.notes != NULL:
        drop_first(station)
