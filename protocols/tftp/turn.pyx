# cython: language_level=3
"""One transfer's turn at the pump; nothing of it is for Python.

A turn takes at most one datagram from the transfer's socket and sends at most one window. What becomes of each is as
in reading.py and transfer.py, the twins of this, which say why.
"""
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint16_t, uint64_t
from libc.string cimport memset

from protocols.pump cimport EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT, epoll_ctl, epoll_event
from protocols.tftp.alarms cimport set_alarm
from protocols.tftp.line cimport end_transfer, make_ready
from protocols.tftp.rto cimport back_off, measure, recover
from protocols.tftp.station cimport (
    ABORTED, BROKEN, COMPLETED, HEAD, NOTHING, OFFER, PROBED, TIMED_OUT, WINDOW, Piece, Station, Transfer, sockaddr_in,
)
from protocols.tftp.windows cimport forget_piece, send_packet, send_window
cdef extern from "<sys/socket.h>" nogil:
    ssize_t recvfrom(int fd, void *into, size_t length, int flags, void *address, unsigned int *size)
    ssize_t sendto(int fd, const void *data, size_t length, int flags, const void *address, unsigned int size)

cdef enum:
    OPCODE_RRQ = 1
    OPCODE_WRQ = 2
    OPCODE_DATA = 3
    OPCODE_ACK = 4
    OPCODE_ERROR = 5
    OPCODE_OACK = 6
    RECEIVE = 64  # bytes of a datagram that are looked at: what it is, and a number


cdef void make_window_due(Transfer *transfer) noexcept nogil:
    transfer.due = WINDOW
    transfer.next = transfer.acked + 1
    transfer.end = min(transfer.acked + transfer.windowsize, transfer.last)


cdef void begin_transfer(Station *station, Transfer *transfer) noexcept nogil:
    transfer.was_sent_once = True
    transfer.progress_at = station.now
    if transfer.offer_length:
        transfer.is_offering = True
        transfer.due = OFFER
    else:
        make_window_due(transfer)


cdef bint has_begun(const Transfer *transfer) noexcept nogil:
    # Whether more than the first answer was ever sent.
    return transfer.acked > 0 or (transfer.offer_length and not transfer.is_offering)


cdef void resend(Station *station, Transfer *transfer) noexcept nogil:
    back_off(&transfer.rto, &station.rules)
    transfer.was_sent_once = False
    transfer.silent_resends += 1
    transfer.deadline = station.now + transfer.rto.wait  # also where the socket is full
    if transfer.is_offering:
        transfer.resent += 1
        transfer.due = OFFER
    else:
        transfer.resent += transfer.sent - transfer.acked
        make_window_due(transfer)


cdef void on_progress(Station *station, Transfer *transfer) noexcept nogil:
    transfer.progress_at = station.now
    if transfer.was_sent_once:
        measure(&transfer.rto, &station.rules, station.now - transfer.sent_at)
    else:
        recover(&transfer.rto, &station.rules)
    transfer.was_sent_once = transfer.sent == transfer.acked
    transfer.deadline = 0  # nothing is under way until the bytes are there
    make_window_due(transfer)


cdef void on_ack(Station *station, Transfer *transfer, uint16_t block) noexcept nogil:
    cdef uint64_t ahead = (block - transfer.acked) & 0xFFFF
    if transfer.is_offering:
        if block == 0:
            transfer.is_offering = False
            on_progress(station, transfer)
        return
    if ahead == 0 or ahead > transfer.sent - transfer.acked:
        return  # a duplicate or an old one: never a reason to send (quirk T-8)
    transfer.acked += ahead
    if transfer.acked == transfer.last:
        end_transfer(station, transfer, COMPLETED, NULL)
        return
    transfer.resent += transfer.sent - transfer.acked
    on_progress(station, transfer)


cdef void on_datagram(Station *station, Transfer *transfer, const uint8_t *data, size_t length) noexcept nogil:
    cdef unsigned int opcode = data[0] << 8 | data[1] if length >= 2 else 0
    if opcode == OPCODE_RRQ or opcode == OPCODE_WRQ or opcode == OPCODE_OACK:
        return
    if length < HEAD or (opcode != OPCODE_DATA and opcode != OPCODE_ACK and opcode != OPCODE_ERROR):
        station.counts.malformed += 1
        return
    transfer.heard_at = station.now
    transfer.silent_resends = 0
    if opcode == OPCODE_ACK:
        on_ack(station, transfer, <uint16_t> (data[2] << 8 | data[3]))
    elif opcode == OPCODE_ERROR:
        end_transfer(station, transfer, PROBED if transfer.is_offering else ABORTED, NULL)


cdef void on_stranger(
    Station *station, Transfer *transfer, const uint8_t *data, ssize_t length, const sockaddr_in *source
) noexcept nogil:
    # ERROR 5, but never in answer to an ERROR; the transfer goes on (quirk T-13).
    station.counts.unknown_tid += 1
    if length >= 2 and data[0] == 0 and data[1] == OPCODE_ERROR:
        return
    if sendto(transfer.fd, station.stranger.start, station.stranger.length, 0, source, sizeof(sockaddr_in)) < 0:
        station.counts.send_failed += 1


cdef void receive(Station *station, Transfer *transfer) noexcept nogil:
    cdef uint8_t data[RECEIVE]
    cdef sockaddr_in source
    cdef unsigned int size = sizeof(source)
    cdef ssize_t length = recvfrom(transfer.fd, data, sizeof(data), 0, &source, &size)
    if length < 0:
        if errno != EAGAIN and errno != EINTR:  # the interface went down, perhaps for a moment
            station.counts.receive_failed += 1
    elif source.sin_port == transfer.peer.sin_port and source.sin_addr.s_addr == transfer.peer.sin_addr.s_addr:
        on_datagram(station, transfer, data, length)
    else:
        on_stranger(station, transfer, data, length, &source)


cdef void on_timeout(Station *station, Transfer *transfer) noexcept nogil:
    cdef bint is_hopeless = station.now - transfer.progress_at >= transfer.patience
    if transfer.is_offering and (transfer.silent_resends >= station.offer_resends or is_hopeless):
        end_transfer(station, transfer, PROBED, NULL)
    elif transfer.sent == transfer.last and transfer.heard_at and transfer.silent_resends >= station.final_resends:
        # All was sent to a client that answered before, and now it is silent: it got what it wanted (quirk T-11).
        transfer.acked = transfer.sent
        end_transfer(station, transfer, COMPLETED, NULL)
    elif is_hopeless:
        end_transfer(station, transfer, TIMED_OUT, NULL)
    else:
        resend(station, transfer)


cdef void send_offer(Station *station, Transfer *transfer) noexcept nogil:
    transfer.deadline = station.now + transfer.rto.wait
    if send_packet(station, transfer, transfer.offer, transfer.offer_length):
        transfer.due = NOTHING
        transfer.sent_at = station.now


cdef void watch_for_room(Station *station, Transfer *transfer) noexcept nogil:
    cdef epoll_event event
    memset(&event, 0, sizeof(event))
    event.events = EPOLLIN | EPOLLOUT
    event.data.ptr = transfer
    epoll_ctl(station.epoll, EPOLL_CTL_MOD, transfer.fd, &event)


cdef void on_room(Station *station, Transfer *transfer) noexcept nogil:
    cdef epoll_event event
    memset(&event, 0, sizeof(event))
    event.events = EPOLLIN
    event.data.ptr = transfer
    epoll_ctl(station.epoll, EPOLL_CTL_MOD, transfer.fd, &event)
    transfer.is_clogged = False


cdef void send_due(Station *station, Transfer *transfer) noexcept nogil:
    if transfer.due == OFFER:
        send_offer(station, transfer)
    else:
        send_window(station, transfer)
    if transfer.is_clogged:
        watch_for_room(station, transfer)


cdef void look_at_what_came(Station *station, Transfer *transfer) noexcept nogil:
    if transfer.is_readable:
        transfer.is_readable = False
        receive(station, transfer)
    if transfer.is_overdue:
        transfer.is_overdue = False
        if not transfer.is_dead and transfer.deadline and transfer.deadline <= station.now:
            on_timeout(station, transfer)
    if transfer.is_repeated:
        transfer.is_repeated = False
        if not transfer.is_dead and not has_begun(transfer) and transfer.due == NOTHING:
            resend(station, transfer)


cdef void take_turn(Station *station, Transfer *transfer) noexcept nogil:
    if transfer.is_abandoned:
        end_transfer(station, transfer, ABORTED, NULL)
        return
    look_at_what_came(station, transfer)
    if transfer.is_dead:
        return
    if transfer.due != NOTHING and not transfer.is_clogged and not transfer.is_reading and not transfer.is_waiting:
        send_due(station, transfer)
    if transfer.deadline and not transfer.is_dead:
        set_alarm(station, transfer)


cdef void ask_again(Station *station) noexcept nogil:
    # The workers' queue has room again.
    cdef Transfer *transfer
    cdef Transfer *following = station.waiting
    station.waiting = NULL
    while following != NULL:
        transfer = following
        following = transfer.next_waiting
        transfer.is_waiting = False
        make_ready(station, transfer)


cdef void take_back(Station *station, Piece *piece) noexcept nogil:
    cdef Transfer *transfer = piece.owner
    transfer.is_reading = False
    if transfer.is_dead:
        return
    if piece.task.result < 0:
        transfer.failed = -piece.task.result
        forget_piece(transfer)
        end_transfer(station, transfer, BROKEN, &station.broken)
    else:
        make_ready(station, transfer)
