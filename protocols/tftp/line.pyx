# cython: language_level=3
"""The line in which transfers wait for their turns, and how they leave it; nothing of it is for Python."""
from posix.unistd cimport close

from protocols.pump cimport EPOLL_CTL_DEL, epoll_ctl, epoll_event
from protocols.tftp.alarms cimport drop_alarm
from protocols.tftp.station cimport Ending, Station, Transfer, Words, sockaddr_in

cdef extern from "<sys/socket.h>" nogil:
    ssize_t sendto(int fd, const void *data, size_t length, int flags, const void *address, unsigned int size)


cdef void make_ready(Station *station, Transfer *transfer) noexcept nogil:
    if transfer.is_ready or transfer.is_dead:
        return
    transfer.is_ready = True
    transfer.next_ready = NULL
    if station.ready == NULL:
        station.ready = transfer
    else:
        station.ready_tail.next_ready = transfer
    station.ready_tail = transfer


cdef void end_transfer(Station *station, Transfer *transfer, Ending ending, const Words *farewell) noexcept nogil:
    # Its socket closes now; its memory goes once the workers are done with it and its end is told.
    cdef epoll_event unused
    if transfer.is_dead:
        return
    transfer.is_dead = True  # the workers see it before they begin
    transfer.ending = ending
    if farewell != NULL and sendto(
        transfer.fd, farewell.start, farewell.length, 0, &transfer.peer, sizeof(sockaddr_in)
    ) < 0:
        station.counts.send_failed += 1
    epoll_ctl(station.epoll, EPOLL_CTL_DEL, transfer.fd, &unused)  # a duplicate elsewhere would keep it registered
    close(transfer.fd)
    transfer.fd = -1
    drop_alarm(station, transfer)
    if station.stage.owner == transfer:
        station.stage.owner = NULL
    if station.alone == transfer:
        station.alone = NULL
    transfer.next_ended = NULL
    if station.ended == NULL:
        station.ended = transfer
    else:
        station.ended_tail.next_ended = transfer
    station.ended_tail = transfer
