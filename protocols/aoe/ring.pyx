# cython: language_level=3
"""The ring of memory that the kernel puts frames into, and the order in which they leave it.

Nothing of it is for Python. Speaks packet(7): PACKET_RX_RING of TPACKET_V2, PACKET_COPY_THRESH. Measured, with 64 reads
in flight: the ring answers a tenth more of them than recvmmsg, and slots that are no larger than a read's request, so
that the ring stays in the processor's cache, a few hundredths more. A frame that is larger, a write's, comes as from
any socket. Version 3 of the ring hands frames over by the block, after a millisecond at the least.

A socket is one line that all machines stand in, and one of them may have 64 reads of 8 KiB there. So each frame that
came is put in its machine's own line, and the lines take turns (stochastic fair queueing, McKenney 1990): who asks
for little waits for a turn of each of the others, not for all that they asked.
"""
from libc.errno cimport EAGAIN, ENETDOWN, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

import os

from protocols.aoe.station cimport LINES, SLOTS, Line, Ring, Station, bucket_of, mac_at

cdef extern from *:
    """
    #include <linux/if_packet.h>
    #define AOE_STATUS(header) __atomic_load_n(&(header)->tp_status, __ATOMIC_ACQUIRE)
    #if defined(__x86_64__) || defined(__i386__)
    #define AOE_PAUSE() __builtin_ia32_pause()
    #else
    #define AOE_PAUSE() ((void) 0)
    #endif
    #define AOE_RELEASE(header) __atomic_store_n(&(header)->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE)
    """
    struct tpacket2_hdr:
        uint32_t tp_len
        uint32_t tp_snaplen
        unsigned short tp_mac
    struct tpacket_req:
        unsigned int tp_block_size
        unsigned int tp_block_nr
        unsigned int tp_frame_size
        unsigned int tp_frame_nr
    uint32_t AOE_STATUS(tpacket2_hdr *header) nogil
    void AOE_RELEASE(tpacket2_hdr *header) nogil
    void AOE_PAUSE() nogil
    enum:
        TPACKET_V2
        TP_STATUS_USER
        TP_STATUS_COPY
        PACKET_VERSION
        PACKET_COPY_THRESH
        PACKET_RX_RING

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    enum:
        SOL_PACKET
        MSG_DONTWAIT
    int setsockopt(int fd, int level, int option, const void *value, socklen_t length)
    ssize_t recv(int fd, void *into, size_t length, int flags)

cdef extern from "<sys/mman.h>" nogil:
    enum:
        PROT_READ
        PROT_WRITE
        MAP_SHARED
    void *MAP_FAILED
    void *mmap(void *where, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void *where, size_t length)

cdef enum:
    SLOT = 128  # bytes: the kernel's 66, and the shortest frame, which a read's request is
    BLOCK = 64 << 10  # bytes that the kernel finds in one piece
    LOOKS = 32  # at the ring between two at the clock, which takes as long as some
    LARGEST_FRAME = 65535 + 18  # bytes, as link.py has it
    TURN = 16  # sectors: one of the largest reads at an MTU of 9000, or eight of the smallest
    SECTORS_AT = 26  # in a frame, where an ATA command says how many


cdef int set_option(int fd, int option, int value) except -1:
    if setsockopt(fd, SOL_PACKET, option, &value, sizeof(value)) < 0:
        raise OSError(errno, os.strerror(errno))
    return 0


cdef int map_slots(Ring *ring) except -1:
    cdef tpacket_req wanted
    wanted.tp_block_size = BLOCK
    wanted.tp_block_nr = SLOTS * SLOT // BLOCK
    wanted.tp_frame_size = SLOT
    wanted.tp_frame_nr = SLOTS
    set_option(ring.fd, PACKET_VERSION, TPACKET_V2)
    set_option(ring.fd, PACKET_COPY_THRESH, 1)
    if setsockopt(ring.fd, SOL_PACKET, PACKET_RX_RING, &wanted, sizeof(wanted)) < 0:
        raise OSError(errno, os.strerror(errno))
    cdef void *slots = mmap(NULL, SLOTS * SLOT, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, 0)
    if slots == MAP_FAILED:
        raise OSError(errno, os.strerror(errno))
    ring.slots = <char *> slots
    return 0


cdef int open_ring(Ring *ring, int fd) except -1:
    # Of a bound packet socket, in zeroed memory; `free_ring` also when it fails.
    ring.fd = fd
    ring.salt = int.from_bytes(os.urandom(8), "big")  # so that nobody can choose to stand in another's line
    ring.large = <uint8_t *> malloc(LARGEST_FRAME)
    if ring.large == NULL:
        raise MemoryError
    return map_slots(ring)


cdef void free_ring(Ring *ring) noexcept nogil:
    # All but its socket.
    if ring.slots != NULL:
        munmap(ring.slots, SLOTS * SLOT)
    free(ring.large)


cdef inline tpacket2_hdr *slot_of(const Ring *ring, uint32_t at) noexcept nogil:
    return <tpacket2_hdr *> (ring.slots + <size_t> at * SLOT)


cdef inline bint is_filled(const Ring *ring) noexcept nogil:
    # Whether the kernel has put a frame where the next one comes; one in line may lie there still.
    return ring.held < SLOTS and AOE_STATUS(slot_of(ring, ring.at)) & TP_STATUS_USER


cdef const uint8_t *frame_of(const tpacket2_hdr *slot) noexcept nogil:
    return <const uint8_t *> slot + slot.tp_mac


cdef Line *line_of(Ring *ring, tpacket2_hdr *slot) noexcept nogil:
    # Large frames stand in one line, for they must be taken from the socket in the order that they came in.
    if AOE_STATUS(slot) & TP_STATUS_COPY:
        return &ring.lines[LINES]
    return &ring.lines[bucket_of(mac_at(frame_of(slot) + 6) ^ ring.salt)]


cdef void wait_turn(Ring *ring, Line *line) noexcept nogil:
    line.next = NULL
    if ring.first == NULL:
        ring.first = line
    else:
        ring.last.next = line
    ring.last = line


cdef void line_up(Ring *ring) noexcept nogil:
    # Frames that came, each to the end of its line.
    cdef Line *line
    while is_filled(ring):
        line = line_of(ring, slot_of(ring, ring.at))
        if line.is_waiting:
            ring.following[line.tail] = <uint16_t> ring.at
        else:
            line.is_waiting = True
            line.head = ring.at
            wait_turn(ring, line)
        line.tail = ring.at
        ring.held += 1
        ring.at = (ring.at + 1) % SLOTS


cdef void end_turn(Ring *ring) noexcept nogil:
    cdef Line *line = ring.first
    ring.first = line.next
    ring.sectors = 0
    if line.is_waiting:
        wait_turn(ring, line)


cdef const uint8_t *take_large(Station *station, Ring *ring, size_t *length) noexcept nogil:
    # The frame at the head of the socket's own queue; the kernel put it there before it filled the slot.
    cdef ssize_t got = -1
    cdef int attempt
    for attempt in range(3):  # an error that was left on the socket is told first, and a signal may come
        got = recv(ring.fd, ring.large, LARGEST_FRAME, MSG_DONTWAIT)
        if got >= 0 or errno == EAGAIN:
            break
        station.tally.link_down += errno == ENETDOWN
    length[0] = <size_t> max(got, <ssize_t> 0)
    return ring.large


cdef const uint8_t *next_frame(Station *station, Ring *ring, size_t *length) noexcept nogil:
    # NULL when there is none; it stays where it is until `give_back`.
    cdef tpacket2_hdr *slot
    line_up(ring)
    if ring.first == NULL:
        return NULL
    slot = slot_of(ring, ring.first.head)
    if AOE_STATUS(slot) & TP_STATUS_COPY:
        ring.sectors += TURN
        return take_large(station, ring, length)
    length[0] = slot.tp_snaplen
    if slot.tp_snaplen < slot.tp_len:  # larger than the slot, and the socket's queue is full
        station.tally.missed += 1
        length[0] = 0
    ring.sectors += max(frame_of(slot)[SECTORS_AT], <uint8_t> 1)  # of the slot's memory, however short the frame
    return frame_of(slot)


cdef void give_back(Ring *ring) noexcept nogil:
    cdef Line *line = ring.first
    AOE_RELEASE(slot_of(ring, line.head))
    ring.held -= 1
    line.is_waiting = line.head != line.tail
    line.head = ring.following[line.head]
    if ring.sectors >= TURN or not line.is_waiting:
        end_turn(ring)


cdef uint64_t now() noexcept nogil:
    cdef timespec time
    clock_gettime(CLOCK_MONOTONIC, &time)
    return <uint64_t> time.tv_sec * 1_000_000_000 + <uint64_t> time.tv_nsec


cdef bint await_frame(const Ring *ring, uint64_t nanoseconds) noexcept nogil:
    # Whether one comes while we look: at memory only, which asks nothing of the kernel.
    cdef uint64_t end = now() + nanoseconds
    cdef int looks
    while True:
        for looks in range(LOOKS):
            if is_filled(ring):
                return True
            AOE_PAUSE()
        if now() >= end:
            return False
