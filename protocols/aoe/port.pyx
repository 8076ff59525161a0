# cython: language_level=3
"""The packet sockets of a pump: one whose frames come by a ring (ring.pyx), one by which replies go out by the batch.

Nothing of it is for Python. Speaks packet(7): PACKET_QDISC_BYPASS. Measured, with 64 reads in flight: a socket of its
own to send by, whose every sent frame would else ask epoll who waits for room, answers some hundredths more of them.
To have the processor fetch the data of replies that wait to be sent made no difference with two sectors in each.
There is no ring for sending: it is slower, and it shares its pages with whoever receives on the same machine (a
bridge's other port, a virtual machine), and gives them back to us before they were read there.
"""
from libc.errno cimport EFAULT, EINTR, ENOBUFS, ENODEV, ENETDOWN, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from posix.unistd cimport close

import os

from protocols.aoe.ring cimport free_ring, open_ring
from protocols.aoe.station cimport CHUNK, ERRNO_MOST, REPLY, SHORTEST, Port, Station, Wish, iovec, mmsghdr
from storage.mapping cimport doubt, watch_faults

cdef extern from "<linux/if_packet.h>" nogil:
    struct tpacket_stats:
        unsigned int tp_drops
    enum:
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
    int sendmmsg(int fd, mmsghdr *messages, unsigned int count, int flags)

cdef enum:
    SEND = 32 << 10  # bytes of replies that wait for no others: who is answered first has its reply soon


cdef Port *open_port(int fd, int out) except NULL:
    # Of two bound packet sockets, which stay the caller's when it fails.
    cdef int yes = 1
    cdef Port *port = <Port *> calloc(1, sizeof(Port))
    if port == NULL:
        raise MemoryError
    port.out = out
    try:
        open_ring(&port.ring, fd)
        if setsockopt(out, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof(yes)) < 0:
            raise OSError(errno, os.strerror(errno))
    except (OSError, MemoryError):
        free_port(port)
        raise
    return port


cdef void free_port(Port *port) noexcept nogil:
    # All but its sockets.
    free_ring(&port.ring)
    free(port)


cdef void close_port(Port *port) noexcept nogil:
    close(port.ring.fd)
    close(port.out)


cdef void take_error(Station *station, Port *port) noexcept nogil:
    # Said once when the link goes down; the kernel hooks the socket up again by itself.
    cdef int failed = 0
    cdef socklen_t length = sizeof(failed)
    getsockopt(port.ring.fd, SOL_SOCKET, SO_ERROR, &failed, &length)
    station.tally.link_down += failed == ENETDOWN


cdef uint64_t count_missed(Port *port) noexcept nogil:
    # Frames that found the ring full since the last time.
    cdef tpacket_stats found
    cdef socklen_t length = sizeof(found)
    memset(&found, 0, sizeof(found))
    getsockopt(port.ring.fd, SOL_PACKET, PACKET_STATISTICS, &found, &length)
    return found.tp_drops


cdef void queue(Station *station, size_t pieces, size_t length, Wish *owner) noexcept nogil:
    # To be sent with the others.
    cdef uint32_t at = station.queued
    station.messages[at].msg_hdr.msg_iov = &station.pieces[2 * at]
    station.messages[at].msg_hdr.msg_iovlen = pieces
    station.owners[at] = owner
    station.queued += 1
    station.queued_bytes += length
    if station.queued == CHUNK or station.queued_bytes >= SEND:
        send_queued(station)


cdef void post(Station *station, uint8_t *reply, size_t length, Wish *owner) noexcept nogil:
    # There must be SHORTEST bytes of room. `owner` has the bytes, and goes once they went.
    if length < SHORTEST:
        memset(reply + length, 0, SHORTEST - length)
        length = SHORTEST
    station.pieces[2 * station.queued] = iovec(reply, length)
    queue(station, 1, length, owner)


cdef void post_gathered(Station *station, uint8_t *reply, const char *data, size_t length) noexcept nogil:
    # With a sector at the least, which stays where it is until it went.
    station.pieces[2 * station.queued] = iovec(reply, REPLY)
    station.pieces[2 * station.queued + 1] = iovec(<void *> data, length)
    station.belief.gathered += 1
    queue(station, 2, REPLY + length, NULL)


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
    station.queued = station.queued_bytes = station.staged = 0
    if station.belief.gathered >= CHUNK:
        watch_faults(&station.belief, station.now)
