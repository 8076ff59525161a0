# cython: language_level=3
"""One frame's answer; nothing of it is for Python.

ATA commands are answered here, by the rules of target.py; everything else goes to Python as it came.
"""
from libc.errno cimport EAGAIN, EIO
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from protocols.aoe.accounts cimport Account, count_command, touch
from protocols.aoe.frames cimport (
    ABRT, BAD_ARGUMENT, FLUSH_28, FLUSH_48, IDNF, READ_28, READ_48, TARGET_RESERVED, UNC, WRITE_28, WRITE_48,
    build_failure, build_refusal, build_success, is_command,
)
from protocols.aoe.notes cimport note_failed, note_first, note_frame
from protocols.aoe.port cimport post, post_gathered
from protocols.aoe.station cimport REPLY, SECTOR, SHORTEST, Disk, Station, bucket_of, mac_at
from protocols.aoe.wishes cimport begin_wish
from storage.image cimport Image
from storage.mapping cimport find_mapped
from storage.trace cimport note_read
from storage.workers cimport TASK_FLUSH, TASK_READ, TASK_WRITE

cdef enum:
    ALIGNMENT = 64  # bytes of a cache line: where each reply begins
    LBA28 = 0x0FFFFFFF


cdef Disk *find_disk(const Station *station, uint32_t address) noexcept nogil:
    cdef Disk *disk = station.disks[bucket_of(address)]
    while disk != NULL and disk.address != address:
        disk = disk.next
    return disk


cdef bint is_listed(const uint64_t *macs, uint32_t count, uint64_t mac) noexcept nogil:
    cdef uint32_t at
    for at in range(count):
        if macs[at] == mac:
            return True
    return False


cdef uint8_t *room(Station *station) noexcept nogil:
    return station.stage + station.staged


cdef void send_gathered(Station *station, const char *data, size_t length) noexcept nogil:
    # As send_staged, of REPLY bytes in the room and the data elsewhere.
    cdef uint8_t *reply = room(station)
    station.staged += ALIGNMENT
    post_gathered(station, reply, data, length)


cdef void send_staged(Station *station, size_t length) noexcept nogil:
    # The reply in the room. `post` may have sent all, and then the room begins anew.
    cdef uint8_t *reply = room(station)
    station.staged += (max(length, <size_t> SHORTEST) + ALIGNMENT - 1) & ~<size_t> (ALIGNMENT - 1)
    post(station, reply, length, NULL)


cdef void refuse(Station *station, const uint8_t *frame, uint8_t code) noexcept nogil:
    station.tally.refused += 1
    build_refusal(room(station), frame, station.mac, code)
    send_staged(station, REPLY)


cdef void fail(Station *station, const uint8_t *frame, uint8_t error) noexcept nogil:
    build_failure(room(station), frame, station.mac, error)
    send_staged(station, REPLY)


cdef uint64_t lba_of(const uint8_t *frame) noexcept nogil:
    # The upper four bits of a 28-bit address hold the device number and mode (0xE0), as the Linux driver sets them.
    cdef uint64_t low = (
        <uint64_t> frame[28] | (<uint64_t> frame[29] << 8) | (<uint64_t> frame[30] << 16) | (<uint64_t> frame[31] << 24)
    )
    if frame[27] == READ_48 or frame[27] == WRITE_48:
        return low | (<uint64_t> frame[32] << 32) | (<uint64_t> frame[33] << 40)
    return low & LBA28


cdef bint is_inside(const Disk *disk, const uint8_t *frame) noexcept nogil:
    return lba_of(frame) + frame[26] <= disk.sectors


cdef Account *account_of(Station *station, const Disk *disk, const uint8_t *frame) noexcept nogil:
    cdef Account *account = touch(station.accounts, mac_at(frame + 6), disk.address, station.now)
    if not account.is_told:
        note_first(station, account)
    return account


cdef void read_now(Station *station, Disk *disk, const uint8_t *frame, uint64_t offset, size_t length) noexcept nogil:
    # From where it is mapped or into the place its reply is sent from, if memory has it; else by way of the workers.
    cdef uint8_t *reply = room(station)
    cdef const char *data = find_mapped(
        &disk.mapping, disk.image, &station.belief, station.now, offset, length
    )
    cdef ssize_t got
    if data != NULL:
        build_success(reply, frame, station.mac)
        send_gathered(station, data, length)
        return
    got = (<Image> disk.image).read_now(<char *> reply + REPLY, length, offset)
    if got == -EAGAIN:
        begin_wish(station, disk, frame, TASK_READ, offset, length)
    elif got == <ssize_t> length:
        build_success(reply, frame, station.mac)
        send_staged(station, REPLY + length)
    else:
        note_failed(station, disk, <int> -got if got < 0 else EIO)
        fail(station, frame, UNC)


cdef void on_read(Station *station, Disk *disk, const uint8_t *frame) noexcept nogil:
    cdef size_t length = <size_t> frame[26] * SECTOR
    cdef Account *account
    if frame[26] > station.frame_sectors:
        refuse(station, frame, BAD_ARGUMENT)
    elif not is_inside(disk, frame):
        count_command(account_of(station, disk, frame), 0, 0)
        fail(station, frame, IDNF)
    else:
        account = account_of(station, disk, frame)
        count_command(account, length, 0)
        if account.trace != NULL:
            note_read(account.trace, lba_of(frame) * SECTOR, <uint32_t> length)
        read_now(station, disk, frame, lba_of(frame) * SECTOR, length)


cdef void on_write(Station *station, Disk *disk, const uint8_t *frame, size_t carried) noexcept nogil:
    cdef size_t length = <size_t> frame[26] * SECTOR
    if not disk.is_writable:
        count_command(account_of(station, disk, frame), 0, 0)
        fail(station, frame, ABRT)
    elif frame[26] > station.frame_sectors or carried < length:
        refuse(station, frame, BAD_ARGUMENT)
    elif not is_inside(disk, frame):
        count_command(account_of(station, disk, frame), 0, 0)
        fail(station, frame, IDNF)
    else:
        count_command(account_of(station, disk, frame), 0, length)
        begin_wish(station, disk, frame, TASK_WRITE, lba_of(frame) * SECTOR, length)


cdef void answer(Station *station, Disk *disk, const uint8_t *frame, size_t length) noexcept nogil:
    cdef uint8_t command = frame[27]
    if disk.holders and not is_listed(disk.reserved, disk.holders, mac_at(frame + 6)):
        refuse(station, frame, TARGET_RESERVED)
    elif command == READ_28 or command == READ_48:
        on_read(station, disk, frame)
    elif command == WRITE_28 or command == WRITE_48:
        on_write(station, disk, frame, length - REPLY)
    else:
        count_command(account_of(station, disk, frame), 0, 0)
        if command == FLUSH_28 or command == FLUSH_48:
            begin_wish(station, disk, frame, TASK_FLUSH, 0, 0)
        else:
            fail(station, frame, ABRT)


cdef void take_frame(Station *station, const uint8_t *frame, size_t length) noexcept nogil:
    cdef Disk *disk = NULL
    if is_command(frame, length):
        disk = find_disk(station, (<uint32_t> frame[16] << 16) | (<uint32_t> frame[17] << 8) | frame[18])
    if disk == NULL or (disk.admitted and not is_listed(disk.mask, disk.admitted, mac_at(frame + 6))):
        note_frame(station, frame, length)
    else:
        answer(station, disk, frame, length)
