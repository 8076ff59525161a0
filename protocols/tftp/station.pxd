# What one pump and its transfers are made of, as C. The transfers' order is fair: each takes a turn, then stands last.
# Times are nanoseconds of CLOCK_MONOTONIC, 0 for none.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from protocols.tftp.rto cimport Rto, RtoRules
from storage.workers cimport Lane, Task

cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        uint32_t s_addr
    struct sockaddr_in:
        uint16_t sin_family
        uint16_t sin_port
        in_addr sin_addr

cdef enum:
    HEAD = 4  # bytes before a DATA packet's payload
    SEGMENTS = 64  # of one send: what every kernel with UDP_SEGMENT takes (UDP_MAX_SEGMENTS)
    SEND_MOST = 65507  # bytes of one send: an IPv4 packet's less its IP and UDP headers
    PIECE = 64 << 10  # bytes that the workers read at once
    STAGE = 64 << 10  # bytes: what one send takes, and what is read ahead for a client that is alone
    SHELF = 12 << 10  # bytes; with 8 blocks of 1428 read at once a block in lock step costs a tenth less

cdef enum Ending:
    GOES_ON
    COMPLETED
    PROBED
    ABORTED
    TIMED_OUT
    BROKEN  # the file could not be read
    STOPPED

cdef enum Due:
    NOTHING
    OFFER  # the OACK
    WINDOW

# Bytes of a file that were read, and where they are from.
cdef struct Shelf:
    char *bytes  # behind room for one head
    size_t room
    Transfer *owner  # NULL: it holds nothing
    uint64_t offset
    size_t length
    uint64_t since  # from here on it is whole

# A piece of a file that had to come from the disk. The bytes follow the struct.
cdef struct Piece:
    Task task  # first: the workers hand back its address
    Transfer *owner
    uint64_t offset
    size_t length

cdef struct Transfer:
    int fd
    sockaddr_in peer
    Ending ending
    int failed  # the errno of BROKEN
    void *image  # an Image; the seat's, which outlives the transfer
    void *seat
    # the terms
    uint32_t blksize
    uint32_t windowsize
    uint32_t together  # blocks of one send
    size_t window_length
    uint64_t size
    uint64_t last  # the short block that ends the file; blocks count from 1 and do not wrap
    char *offer
    size_t offer_length
    uint64_t patience  # nanoseconds without progress
    # how far it is
    Due due
    bint is_offering
    uint64_t acked
    uint64_t sent
    uint64_t next  # of the window that is due
    uint64_t end
    bint was_sent_once  # what is under way now was never sent before: fit for measuring
    bint is_plain  # its route takes no segments: one datagram at a time
    bint is_clogged  # the socket is full
    Rto rto
    uint32_t silent_resends  # since the client was last heard
    uint64_t resent
    uint64_t sent_at
    uint64_t heard_at
    uint64_t progress_at
    uint64_t deadline
    # why it has a turn
    bint is_ready  # among the ready
    bint is_readable
    bint is_overdue
    bint is_repeated  # the request came again
    bint is_abandoned  # the client began something else
    bint is_dead
    Transfer *next_ready
    Transfer *next_waiting
    Transfer *next_ended
    # its alarm
    uint32_t place  # among the alarms, from 1; 0: has none
    uint64_t alarm  # at this time or later its deadline is looked at
    Shelf shelf  # its own, where windows are small
    # from the disk
    Piece *piece
    bint is_reading  # the workers have the piece
    bint is_waiting  # among those that wait for the workers' queue

cdef struct Words:
    const char *start
    size_t length

# What the pump has seen since it last told, beside ends.
cdef struct Counts:
    uint32_t malformed
    uint32_t unknown_tid
    uint32_t send_failed
    uint32_t receive_failed

cdef struct Station:
    int epoll
    int timer
    Lane *lane
    RtoRules rules
    uint32_t offer_resends
    uint32_t final_resends
    Words stranger  # ERROR packets, as Python made them
    Words broken
    Words stopped
    uint64_t now
    # the one whose turn it is uses these; what the stage holds may serve the next turn of the same
    Shelf stage
    Transfer *alone  # who had the only turn of the last batch
    uint8_t heads[SEGMENTS][HEAD]
    # who is next
    Transfer *ready
    Transfer *ready_tail
    Transfer *waiting
    Transfer *ended  # to be told
    Transfer *ended_tail
    # whose time comes, as a heap
    Transfer **alarms
    uint32_t alarm_count
    uint32_t alarm_room
    uint64_t timer_at
    Counts counts
