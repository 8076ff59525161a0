# cython: language_level=3
"""Windows of DATA on their way to a client's socket; nothing of it is for Python.

The blocks of a window lie one behind the other on the station's stage, as the file has them, and go out by one call
that gathers their heads from elsewhere: segments of one send (UDP_SEGMENT), which pass the kernel's network as one
packet. Where the route takes none they are messages of one sendmmsg.
"""
from libc.errno cimport EAGAIN, EINTR, EINVAL, EIO, ENOMEM, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from protocols.tftp.line cimport end_transfer
from protocols.tftp.station cimport (
    BROKEN, HEAD, NOTHING, PIECE, SEGMENTS, SHELF, Piece, Shelf, Station, Transfer, sockaddr_in,
)
from storage.image cimport Image
from storage.workers cimport TASK_READ, submit

cdef extern from "<errno.h>":
    int EMSGSIZE
    int EOPNOTSUPP

cdef extern from "<sys/socket.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        void *msg_name
        unsigned int msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
    struct mmsghdr:
        msghdr msg_hdr
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    ssize_t sendto(int fd, const void *data, size_t length, int flags, const void *address, unsigned int size)
    ssize_t sendmsg(int fd, const msghdr *message, int flags)
    int sendmmsg(int fd, mmsghdr *messages, unsigned int count, int flags)
    size_t CMSG_LEN(size_t length)
    size_t CMSG_SPACE(size_t length)
    void *CMSG_DATA(cmsghdr *control)

cdef extern from "<netinet/udp.h>" nogil:
    int SOL_UDP
    int UDP_SEGMENT

cdef enum:
    OPCODE_DATA = 3
    CONTROL = 64  # bytes: room for one control message that holds a number


cdef void write_head(uint8_t *head, uint64_t block) noexcept nogil:
    head[0] = 0
    head[1] = OPCODE_DATA
    head[2] = (block >> 8) & 0xFF
    head[3] = block & 0xFF


cdef bint send_packet(Station *station, Transfer *transfer, const char *packet, size_t length) noexcept nogil:
    # False when the socket is full. Any other failure counts as a lost packet: the alarm takes care of it.
    cdef ssize_t sent
    while True:
        sent = sendto(transfer.fd, packet, length, 0, &transfer.peer, sizeof(sockaddr_in))
        if sent >= 0:
            return True
        if errno == EAGAIN:
            transfer.is_clogged = True
            return False
        if errno != EINTR:
            station.counts.send_failed += 1
            return True


cdef size_t payload_of(const Transfer *transfer, uint64_t block) noexcept nogil:
    cdef uint64_t begin = (block - 1) * transfer.blksize
    return <size_t> min(<uint64_t> transfer.blksize, transfer.size - begin)


cdef size_t gather(
    Station *station, const Transfer *transfer, char *payload, uint32_t count, iovec *pieces
) noexcept nogil:
    # Heads and payloads in turn; how many pieces. Only the last payload may be short, or empty.
    cdef uint32_t at
    cdef size_t used = 0, length
    for at in range(count):
        length = payload_of(transfer, transfer.next + at)
        write_head(station.heads[at], transfer.next + at)
        pieces[used].iov_base = station.heads[at]
        pieces[used].iov_len = HEAD
        pieces[used + 1].iov_base = payload + <size_t> at * transfer.blksize
        pieces[used + 1].iov_len = length
        used += 2
    return used


cdef int send_segments(Station *station, Transfer *transfer, char *payload, uint32_t count) noexcept nogil:
    # How many blocks went out: all or none, 0 when the socket is full, -1 when the route takes no segments.
    cdef iovec pieces[2 * SEGMENTS]
    cdef char control[CONTROL]
    cdef msghdr message
    cdef cmsghdr *segment = <cmsghdr *> control
    cdef uint16_t size = <uint16_t> (HEAD + transfer.blksize)
    memset(&message, 0, sizeof(message))
    message.msg_name = &transfer.peer
    message.msg_namelen = sizeof(sockaddr_in)
    message.msg_iov = pieces
    message.msg_iovlen = gather(station, transfer, payload, count, pieces)
    message.msg_control = control
    message.msg_controllen = CMSG_SPACE(sizeof(size))
    segment.cmsg_len = CMSG_LEN(sizeof(size))
    segment.cmsg_level = SOL_UDP
    segment.cmsg_type = UDP_SEGMENT
    memcpy(CMSG_DATA(segment), &size, sizeof(size))
    while True:
        if sendmsg(transfer.fd, &message, 0) >= 0:
            return count
        if errno == EAGAIN:
            transfer.is_clogged = True
            return 0
        # Packets larger than the interface's MTU, or an interface that leaves checksums to us.
        if errno == EINVAL or errno == EMSGSIZE or errno == EIO or errno == EOPNOTSUPP:
            return -1
        if errno != EINTR:
            station.counts.send_failed += count
            return count


cdef int send_messages(Station *station, Transfer *transfer, char *payload, uint32_t count) noexcept nogil:
    # How many blocks went out, less than all when the socket is full.
    cdef iovec pieces[2 * SEGMENTS]
    cdef mmsghdr messages[SEGMENTS]
    cdef uint32_t at
    cdef int done = 0, sent
    memset(messages, 0, count * sizeof(mmsghdr))
    gather(station, transfer, payload, count, pieces)
    for at in range(count):
        messages[at].msg_hdr.msg_name = &transfer.peer
        messages[at].msg_hdr.msg_namelen = sizeof(sockaddr_in)
        messages[at].msg_hdr.msg_iov = pieces + 2 * at
        messages[at].msg_hdr.msg_iovlen = 2
    while done < <int> count:
        sent = sendmmsg(transfer.fd, messages + done, count - done, 0)
        if sent > 0:
            done += sent
        elif errno == EAGAIN:
            transfer.is_clogged = True
            return done
        elif errno != EINTR:
            station.counts.send_failed += 1
            done += 1
    return done


cdef int send_blocks(Station *station, Transfer *transfer, Shelf *shelf, char *payload, uint32_t count) noexcept nogil:
    # The next blocks of the window; how many went out, less than all when the socket is full.
    cdef int sent
    if count == 1:
        # Its head takes the place of bytes before it, which the shelf then holds no more.
        write_head(<uint8_t *> payload - HEAD, transfer.next)
        if shelf.owner == transfer:
            shelf.since = max(shelf.since, (transfer.next - 1) * transfer.blksize)
        return send_packet(station, transfer, payload - HEAD, HEAD + payload_of(transfer, transfer.next))
    if not transfer.is_plain:
        sent = send_segments(station, transfer, payload, count)
        if sent >= 0:
            return sent
        transfer.is_plain = True
    return send_messages(station, transfer, payload, count)


cdef void forget_piece(Transfer *transfer) noexcept nogil:
    free(transfer.piece)
    transfer.piece = NULL


cdef void break_off(Station *station, Transfer *transfer, int failed) noexcept nogil:
    transfer.failed = failed
    end_transfer(station, transfer, BROKEN, &station.broken)


cdef void ask_workers(Station *station, Transfer *transfer, uint64_t offset, size_t length) noexcept nogil:
    # For these bytes and some that follow; the transfer has its next turn when they are here.
    cdef Piece *piece
    length = <size_t> min(<uint64_t> max(length, <size_t> PIECE), transfer.size - offset)
    forget_piece(transfer)
    piece = <Piece *> malloc(sizeof(Piece) + length)
    if piece == NULL:
        break_off(station, transfer, ENOMEM)
        return
    memset(piece, 0, sizeof(Piece))
    piece.owner = transfer
    piece.offset = piece.task.offset = offset
    piece.length = piece.task.length = length
    piece.task.kind = TASK_READ
    piece.task.image = transfer.image
    piece.task.data = <char *> (piece + 1)
    piece.task.is_cancelled = &transfer.is_dead
    transfer.piece = piece
    transfer.deadline = 0  # nothing is under way until the bytes are here
    transfer.is_reading = submit(station.lane, &piece.task) == 0
    if not transfer.is_reading:
        transfer.is_waiting = True
        transfer.next_waiting = station.waiting
        station.waiting = transfer


cdef Shelf *shelf_of(Station *station, Transfer *transfer) noexcept nogil:
    # Its own where that holds more than one window; where there is no memory for that the stage will do.
    if 2 * transfer.window_length > SHELF:
        return &station.stage
    if transfer.shelf.bytes == NULL:
        transfer.shelf.bytes = <char *> malloc(HEAD + SHELF)
        if transfer.shelf.bytes == NULL:
            return &station.stage
        transfer.shelf.room = SHELF
    return &transfer.shelf


cdef bint holds(const Shelf *shelf, const Transfer *transfer, uint64_t offset, size_t length) noexcept nogil:
    return shelf.owner == transfer and shelf.since <= offset and offset + length <= shelf.offset + shelf.length


cdef void put_on(Shelf *shelf, Transfer *transfer, uint64_t offset, size_t length) noexcept nogil:
    shelf.owner = transfer
    shelf.offset = shelf.since = offset
    shelf.length = length


cdef bint take_from_piece(Shelf *shelf, Transfer *transfer, uint64_t offset, size_t length) noexcept nogil:
    cdef Piece *piece = transfer.piece
    if piece == NULL:
        return False
    if offset < piece.offset or offset + length > piece.offset + piece.length:
        forget_piece(transfer)
        return False
    memcpy(shelf.bytes + HEAD, <char *> (piece + 1) + (offset - piece.offset), length)
    put_on(shelf, transfer, offset, length)
    return True


cdef ssize_t read_onto(Shelf *shelf, Transfer *transfer, uint64_t offset, size_t length) noexcept nogil:
    cdef ssize_t got
    shelf.owner = NULL
    got = (<Image> transfer.image).read_now(shelf.bytes + HEAD, length, offset)
    if got == <ssize_t> length:
        put_on(shelf, transfer, offset, length)
    return got


cdef bint find_bytes(
    Station *station, Transfer *transfer, Shelf *shelf, uint64_t offset, size_t length
) noexcept nogil:
    # False when they must come from the disk, or can't be had and the transfer is over.
    cdef ssize_t got
    cdef size_t wanted = length
    if length == 0 or holds(shelf, transfer, offset, length) or take_from_piece(shelf, transfer, offset, length):
        return True
    if shelf == &transfer.shelf:
        wanted = <size_t> min(<uint64_t> shelf.room, transfer.size - offset)
    got = read_onto(shelf, transfer, offset, wanted)
    if got == <ssize_t> wanted:
        return True
    if got == -EAGAIN:
        ask_workers(station, transfer, offset, length)
    else:
        break_off(station, transfer, <int> -got if got < 0 else EIO)
    return False


cdef void read_ahead(Station *station, Transfer *transfer) noexcept nogil:
    # While a client that is alone takes what was sent: what it will ask for next, if memory has it.
    cdef uint64_t offset = transfer.sent * transfer.blksize, rest
    cdef Shelf *shelf = shelf_of(station, transfer)
    if transfer.due != NOTHING or transfer.is_offering or offset >= transfer.size:
        return
    rest = transfer.size - offset
    if transfer.window_length <= shelf.room and not holds(
        shelf, transfer, offset, <size_t> min(<uint64_t> transfer.window_length, rest)
    ):
        read_onto(shelf, transfer, offset, <size_t> min(<uint64_t> shelf.room, rest))


cdef void send_window(Station *station, Transfer *transfer) noexcept nogil:
    # What of it is not yet sent, until it is, the socket is full or bytes are missing.
    cdef Shelf *shelf = shelf_of(station, transfer)
    cdef uint32_t count
    cdef uint64_t offset
    cdef size_t length
    cdef char *payload
    transfer.deadline = station.now + transfer.rto.wait
    while transfer.next <= transfer.end:
        count = <uint32_t> min(<uint64_t> transfer.together, transfer.end - transfer.next + 1)
        offset = (transfer.next - 1) * transfer.blksize
        length = <size_t> min(<uint64_t> count * transfer.blksize, transfer.size - offset)
        if not find_bytes(station, transfer, shelf, offset, length):
            return
        payload = shelf.bytes + HEAD + (offset - shelf.offset if length else 0)
        transfer.next += send_blocks(station, transfer, shelf, payload, count)
        transfer.sent = max(transfer.sent, transfer.next - 1)
        if transfer.is_clogged:
            return
    transfer.due = NOTHING
    transfer.sent_at = station.now
