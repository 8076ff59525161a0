# cython: language_level=3
"""Replies on their way to a client's socket; nothing of it is for Python.

Replies made in a turn lie one behind the other on the station's stage and go out by one call; the data of a large
read goes from the page cache to the socket by sendfile. What the socket does not take, and what the workers bring,
waits in the client's outbox; while anything does, the client is parked: no more of its requests are read.
"""
from libc.errno cimport EAGAIN, EFAULT, EINTR, errno
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from posix.types cimport off_t
from posix.unistd cimport close

from protocols.nbd.frames cimport ERROR_MOST, REPLY_ROOM
from protocols.nbd.station cimport PARTS_MOST, RESET, SHORTENED, STARVED, Client, Ending, Parcel, Part, Station
from protocols.pump cimport EPOLL_CTL_DEL, epoll_ctl, epoll_event
from storage.mapping cimport Mapping, doubt, place_of

cdef extern from "<sys/socket.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    int MSG_MORE
    int MSG_NOSIGNAL
    ssize_t send(int fd, const void *data, size_t length, int flags)
    ssize_t sendmsg(int fd, const msghdr *message, int flags)

cdef extern from "<sys/sendfile.h>" nogil:
    ssize_t sendfile(int to, int fd, off_t *at, size_t length)

cdef enum:
    PIECES = 64  # parcels that go out by one call


cdef Parcel *make_parcel(Client *client, size_t room) noexcept nogil:
    # Room for that many bytes, or for any error; NULL when there is no memory.
    cdef Parcel *parcel = <Parcel *> malloc(sizeof(Parcel) + max(room, <size_t> ERROR_MOST))
    if parcel == NULL:
        return NULL
    memset(parcel, 0, sizeof(Parcel))
    parcel.owner = client
    parcel.fd = -1
    parcel.bytes = <char *> (parcel + 1)
    return parcel


cdef void post(Client *client, Parcel *parcel, uint64_t begin, uint64_t length) noexcept nogil:
    parcel.at = begin
    parcel.end = begin + length
    parcel.next = NULL
    if client.outbox == NULL:
        client.outbox = parcel
    else:
        client.outbox_tail.next = parcel
    client.outbox_tail = parcel
    client.unsent += length


cdef void drop_sent(Client *client, uint64_t sent) noexcept nogil:
    cdef Parcel *first
    cdef uint64_t length
    client.unsent -= sent
    while client.outbox != NULL:
        first = client.outbox
        length = first.end - first.at
        if sent < length:
            first.at += sent
            return
        sent -= length
        client.outbox = first.next
        free(first)
    client.outbox_tail = NULL


cdef bint has_failed(Station *station, Client *client) noexcept nogil:
    # After a call that sent nothing: False when the socket is only full. Ends the client when it is broken.
    if errno == EINTR:
        return True
    if errno == EFAULT:  # a file in memory was cut short
        doubt(&station.belief, station.now)
        end_client(station, client, SHORTENED)
    elif errno != EAGAIN:
        end_client(station, client, RESET)
    return False


cdef ssize_t send_pieces(Client *client) noexcept nogil:
    # Parcels up to the first that is a file's, in one call.
    cdef iovec pieces[PIECES]
    cdef msghdr message
    cdef Parcel *parcel = client.outbox
    memset(&message, 0, sizeof(message))
    message.msg_iov = pieces
    while parcel != NULL and parcel.fd < 0 and message.msg_iovlen < PIECES:
        pieces[message.msg_iovlen].iov_base = parcel.bytes + parcel.at
        pieces[message.msg_iovlen].iov_len = parcel.end - parcel.at
        message.msg_iovlen += 1
        parcel = parcel.next
    return sendmsg(client.fd, &message, MSG_NOSIGNAL if parcel == NULL else MSG_NOSIGNAL | MSG_MORE)


cdef ssize_t send_from(Client *client, int fd, uint64_t at, uint64_t length) noexcept nogil:
    cdef off_t offset = at
    return sendfile(client.fd, fd, &offset, length)


cdef bint send_outbox(Station *station, Client *client) noexcept nogil:
    # True once it is empty; else the client is parked, or dead.
    cdef Parcel *first
    cdef ssize_t sent
    while client.outbox != NULL:
        first = client.outbox
        if first.fd < 0:
            sent = send_pieces(client)
        else:
            sent = send_from(client, first.fd, first.at, first.end - first.at)
        if sent > 0:
            drop_sent(client, sent)
        elif sent == 0:
            end_client(station, client, SHORTENED)
        elif not has_failed(station, client):
            return False
    return not client.is_dead


cdef void clear_stage(Station *station) noexcept nogil:
    station.staged = station.staged_parts = station.mapped = 0
    station.parted = 0


cdef void part_stage(Station *station) noexcept nogil:
    # What was staged since the last part is one.
    cdef size_t length = station.staged - station.staged_parts
    if length:
        station.parts[station.parted] = Part(station.stage + REPLY_ROOM + station.staged_parts, length, NULL)
        station.parted += 1
        station.staged_parts = station.staged


cdef void stage_mapped(Station *station, const Mapping *mapping, const char *data, size_t length) noexcept nogil:
    # Bytes of a file in memory, behind what is staged; there must be room for two parts.
    part_stage(station)
    station.parts[station.parted] = Part(data, length, mapping)
    station.parted += 1
    station.mapped += length
    station.belief.gathered += 1


cdef size_t drop_parts(Part *parts, size_t count, size_t sent) noexcept nogil:
    # How many parts were sent whole; the one after them begins with its rest.
    cdef size_t whole = 0
    while whole < count and sent >= parts[whole].length:
        sent -= parts[whole].length
        whole += 1
    if whole < count:
        parts[whole].start += sent
        parts[whole].length -= sent
    return whole


cdef ssize_t send_parts(Client *client, const Part *parts, size_t count, int flags) noexcept nogil:
    cdef iovec pieces[PARTS_MOST]
    cdef msghdr message
    cdef size_t at
    for at in range(count):
        pieces[at] = iovec(<void *> parts[at].start, parts[at].length)
    memset(&message, 0, sizeof(message))
    message.msg_iov = pieces
    message.msg_iovlen = count
    return sendmsg(client.fd, &message, flags)


cdef bint keep_parts(Client *client, const Part *parts, size_t count) noexcept nogil:
    # What the socket did not take; False when there is no memory for it.
    cdef Parcel *rest
    cdef size_t at, copied
    for at in range(count):
        copied = parts[at].length if parts[at].mapping == NULL else 0
        rest = make_parcel(client, copied)
        if rest == NULL:
            return False
        if copied:
            memcpy(rest.bytes, parts[at].start, copied)
            post(client, rest, 0, copied)
        else:
            rest.fd = parts[at].mapping.fd
            post(client, rest, place_of(parts[at].mapping, parts[at].start), parts[at].length)
    return True


cdef bint send_staged(Station *station, Client *client, int flags) noexcept nogil:
    part_stage(station)
    cdef size_t count = station.parted, done = 0
    cdef Part *parts = station.parts
    cdef ssize_t sent
    clear_stage(station)
    while done < count:
        if count - done == 1:
            sent = send(client.fd, parts[done].start, parts[done].length, flags)
        else:
            sent = send_parts(client, parts + done, count - done, flags)
        if sent >= 0:
            done += drop_parts(parts + done, count - done, sent)
        elif not has_failed(station, client):
            break
    if done == count or client.is_dead:
        return not client.is_dead
    if not keep_parts(client, parts + done, count - done):
        end_client(station, client, STARVED)
    return False


cdef bint send_stage(Station *station, Client *client) noexcept nogil:
    # Everything on the stage; True when the socket took it all, else the client is parked, or dead.
    return send_staged(station, client, MSG_NOSIGNAL)


cdef bint send_file(Station *station, Client *client, int fd, uint64_t at, uint64_t length) noexcept nogil:
    # What is on the stage, and behind it those bytes of a file; as send_stage.
    cdef bint is_open = send_staged(station, client, MSG_NOSIGNAL | MSG_MORE)
    cdef Parcel *rest
    if client.is_dead:
        return False
    rest = make_parcel(client, 0)
    if rest == NULL:
        end_client(station, client, STARVED)
        return False
    rest.fd = fd
    post(client, rest, at, length)
    return is_open and send_outbox(station, client)


cdef void make_ready(Station *station, Client *client) noexcept nogil:
    if client.is_ready or client.is_dead:
        return
    client.is_ready = True
    client.next_ready = NULL
    if station.ready == NULL:
        station.ready = client
    else:
        station.ready_tail.next_ready = client
    station.ready_tail = client


cdef void end_client(Station *station, Client *client, Ending ending) noexcept nogil:
    # Its socket closes now; its memory goes once its tasks are back and its end is told.
    cdef epoll_event unused
    if client.is_dead:
        return
    client.is_dead = True  # the workers see it between two steps
    client.ending = ending
    epoll_ctl(station.epoll, EPOLL_CTL_DEL, client.fd, &unused)  # a duplicate elsewhere would keep it registered
    close(client.fd)
    client.fd = -1
    drop_sent(client, client.unsent)
    free(client.filling)
    free(client.kept)
    client.filling = NULL
    client.kept = NULL
    client.kept_length = 0
    client.next_ended = station.ended
    station.ended = client
