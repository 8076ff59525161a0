# cython: language_level=3
"""The packet sockets of a pump: frames in by a ring that the kernel fills, replies out by the batch.

Nothing of it is for Python. Speaks packet(7): PACKET_RX_RING of TPACKET_V2, PACKET_COPY_THRESH, PACKET_QDISC_BYPASS.
Measured, with 64 reads in flight: the ring answers a tenth more of them than recvmmsg, and slots that are no larger
than a read's request, so that the ring stays in the processor's cache, together with a socket of its own to send by,
whose every sent frame would else ask epoll who waits for room, another tenth. A frame that is larger, a write's,
comes as from any socket. Version 3 of the ring hands frames over by the block, after a millisecond at the least.
To have the processor fetch the data of replies that wait to be sent made no difference with two sectors in each.
There is no ring for sending: it is slower, and it shares its pages with whoever receives on the same machine (a
bridge's other port, a virtual machine), and gives them back to us before they were read there.
"""
from libc.errno cimport EAGAIN, EFAULT, EINTR, ENOBUFS, ENODEV, ENETDOWN, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport close

import os

from protocols.aoe.station cimport CHUNK, ERRNO_MOST, REPLY, SHORTEST, Port, Station, Wish, iovec, mmsghdr
from storage.mapping cimport doubt, watch_faults

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
    struct tpacket_stats:
        unsigned int tp_drops
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
        PACKET_STATISTICS
        PACKET_QDISC_BYPASS

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    enum:
        SOL_SOCKET
        SOL_PACKET
        SO_ERROR
        MSG_DONTWAIT
    int setsockopt(int fd, int level, int option, const void *value, socklen_t length)
    int getsockopt(int fd, int level, int option, void *value, socklen_t *length)
    ssize_t recv(int fd, void *into, size_t length, int flags)
    int sendmmsg(int fd, mmsghdr *messages, unsigned int count, int flags)

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
    SLOTS = 4096  # 250 machines with 16 requests each
    BLOCK = 64 << 10  # bytes that the kernel finds in one piece
    LOOKS = 32  # at the ring between two at the clock, which takes as long as some
    LARGEST_FRAME = 65535 + 18  # bytes, as link.py has it


cdef int set_option(int fd, int option, int value) except -1:
    if setsockopt(fd, SOL_PACKET, option, &value, sizeof(value)) < 0:
        raise OSError(errno, os.strerror(errno))
    return 0


cdef int map_ring(Port *port) except -1:
    cdef tpacket_req wanted
    wanted.tp_block_size = BLOCK
    wanted.tp_block_nr = SLOTS * SLOT // BLOCK
    wanted.tp_frame_size = SLOT
    wanted.tp_frame_nr = SLOTS
    set_option(port.out, PACKET_QDISC_BYPASS, 1)
    set_option(port.fd, PACKET_VERSION, TPACKET_V2)
    set_option(port.fd, PACKET_COPY_THRESH, 1)
    if setsockopt(port.fd, SOL_PACKET, PACKET_RX_RING, &wanted, sizeof(wanted)) < 0:
        raise OSError(errno, os.strerror(errno))
    cdef void *ring = mmap(NULL, SLOTS * SLOT, PROT_READ | PROT_WRITE, MAP_SHARED, port.fd, 0)
    if ring == MAP_FAILED:
        raise OSError(errno, os.strerror(errno))
    port.ring = <char *> ring
    return 0


cdef Port *open_port(int fd, int out) except NULL:
    # Of two bound packet sockets, which stay the caller's when it fails.
    cdef Port *port = <Port *> calloc(1, sizeof(Port))
    if port == NULL:
        raise MemoryError
    port.fd = fd
    port.out = out
    port.large = <uint8_t *> malloc(LARGEST_FRAME)
    try:
        if port.large == NULL:
            raise MemoryError
        map_ring(port)
    except (OSError, MemoryError):
        free_port(port)
        raise
    return port


cdef void free_port(Port *port) noexcept nogil:
    # All but its sockets.
    if port.ring != NULL:
        munmap(port.ring, SLOTS * SLOT)
    free(port.large)
    free(port)


cdef void close_port(Port *port) noexcept nogil:
    close(port.fd)
    close(port.out)


cdef inline tpacket2_hdr *slot_of(const Port *port) noexcept nogil:
    return <tpacket2_hdr *> (port.ring + <size_t> port.at * SLOT)


cdef const uint8_t *take_large(Station *station, Port *port, size_t *length) noexcept nogil:
    # The frame at the head of the socket's own queue; the kernel put it there before it filled the slot.
    cdef ssize_t got = -1
    cdef int attempt
    for attempt in range(3):  # an error that was left on the socket is told first, and a signal may come
        got = recv(port.fd, port.large, LARGEST_FRAME, MSG_DONTWAIT)
        if got >= 0 or errno == EAGAIN:
            break
        count_error(station, errno)
    length[0] = <size_t> max(got, <ssize_t> 0)
    return port.large


cdef const uint8_t *next_frame(Station *station, Port *port, size_t *length) noexcept nogil:
    # NULL when there is none; it stays where it is until `give_back`.
    cdef tpacket2_hdr *slot = slot_of(port)
    cdef uint32_t status = AOE_STATUS(slot)
    if not status & TP_STATUS_USER:
        return NULL
    if status & TP_STATUS_COPY:
        return take_large(station, port, length)
    length[0] = slot.tp_snaplen
    if slot.tp_snaplen < slot.tp_len:  # larger than the slot, and the socket's queue is full
        station.tally.missed += 1
        length[0] = 0
    return <const uint8_t *> slot + slot.tp_mac


cdef uint64_t now() noexcept nogil:
    cdef timespec time
    clock_gettime(CLOCK_MONOTONIC, &time)
    return <uint64_t> time.tv_sec * 1_000_000_000 + <uint64_t> time.tv_nsec


cdef bint await_frame(const Port *port, uint64_t nanoseconds) noexcept nogil:
    # Whether one comes while we look: at memory only, which asks nothing of the kernel.
    cdef uint64_t end = now() + nanoseconds
    cdef int looks
    while True:
        for looks in range(LOOKS):
            if AOE_STATUS(slot_of(port)) & TP_STATUS_USER:
                return True
            AOE_PAUSE()
        if now() >= end:
            return False


cdef void give_back(Port *port) noexcept nogil:
    AOE_RELEASE(slot_of(port))
    port.at = (port.at + 1) % SLOTS


cdef void count_error(Station *station, int failed) noexcept nogil:
    if failed == ENETDOWN:
        station.tally.link_down += 1


cdef void take_error(Station *station, Port *port) noexcept nogil:
    # Said once when the link goes down; the kernel hooks the socket up again by itself.
    cdef int failed = 0
    cdef socklen_t length = sizeof(failed)
    getsockopt(port.fd, SOL_SOCKET, SO_ERROR, &failed, &length)
    count_error(station, failed)


cdef uint64_t count_missed(Port *port) noexcept nogil:
    # Frames that found the ring full since the last time.
    cdef tpacket_stats found
    cdef socklen_t length = sizeof(found)
    memset(&found, 0, sizeof(found))
    getsockopt(port.fd, SOL_PACKET, PACKET_STATISTICS, &found, &length)
    return found.tp_drops


cdef void queue(Station *station, size_t pieces, Wish *owner) noexcept nogil:
    # To be sent with the others.
    cdef uint32_t at = station.queued
    station.messages[at].msg_hdr.msg_iov = &station.pieces[2 * at]
    station.messages[at].msg_hdr.msg_iovlen = pieces
    station.owners[at] = owner
    station.queued += 1
    if station.queued == CHUNK:
        send_queued(station)


cdef void post(Station *station, uint8_t *reply, size_t length, Wish *owner) noexcept nogil:
    # There must be SHORTEST bytes of room. `owner` has the bytes, and goes once they went.
    if length < SHORTEST:
        memset(reply + length, 0, SHORTEST - length)
        length = SHORTEST
    station.pieces[2 * station.queued] = iovec(reply, length)
    queue(station, 1, owner)


cdef void post_gathered(Station *station, uint8_t *reply, const char *data, size_t length) noexcept nogil:
    # With a sector at the least, which stays where it is until it went.
    station.pieces[2 * station.queued] = iovec(reply, REPLY)
    station.pieces[2 * station.queued + 1] = iovec(<void *> data, length)
    station.belief.gathered += 1
    queue(station, 2, NULL)


cdef void count_unsent(Station *station, int failed, uint32_t count) noexcept nogil:
    station.tally.unsent[failed if 0 < failed < ERRNO_MOST else 0] += count


cdef bint send_part(Station *station, uint32_t *at, bint is_direct) noexcept nogil:
    # What goes out by one call; False when the card's own queue is full.
    cdef int sent = sendmmsg(station.port.out, &station.messages[at[0]], station.queued - at[0], MSG_DONTWAIT)
    if sent > 0:
        at[0] += sent
        station.tally.replies += sent
    elif errno == ENOBUFS and is_direct:
        return False
    elif errno != EINTR:  # the link is down, or every queue is full: the initiator asks again
        if errno == EFAULT:  # a mapped file was cut short
            doubt(&station.belief, station.now)
        count_unsent(station, errno, 1)
        at[0] += 1
    return True


cdef void send_rest(Station *station, uint32_t at) noexcept nogil:
    # By way of the kernel's queue, which is longer than the card's.
    cdef int no = 0, yes = 1
    setsockopt(station.port.out, SOL_PACKET, PACKET_QDISC_BYPASS, &no, sizeof(no))
    station.tally.detours += station.queued - at
    while at < station.queued:
        send_part(station, &at, False)
    setsockopt(station.port.out, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof(yes))


cdef void send_queued(Station *station) noexcept nogil:
    cdef uint32_t at = 0, owned
    if station.port == NULL:
        count_unsent(station, ENODEV, station.queued)
        at = station.queued
    while at < station.queued:
        if not send_part(station, &at, True):
            send_rest(station, at)
            break
    for owned in range(station.queued):
        free(station.owners[owned])
    station.queued = 0
    station.staged = 0
    if station.belief.gathered >= CHUNK:
        watch_faults(&station.belief, station.now)
