# What one pump and its clients are made of, as C. The clients' order is fair: each takes a turn, then stands last.
from libc.stdint cimport uint16_t, uint32_t, uint64_t

from protocols.nbd.frames cimport Refusal, Request, Rules
from storage.trace cimport Record
from storage.mapping cimport Belief, Mapping
from storage.workers cimport Lane, Task

cdef enum:
    INBOX = 256 << 10  # bytes; what a client sent ahead of the handshake's end is at most this (endpoint.py)
    RECEIVE = 16 << 10  # bytes of one receive: 585 requests, and all that a client at its bounds makes us keep
    GATHER = 64 << 10  # bytes of replies after which they are sent: with 256 KiB, large reads took a third longer
    INLINE_MOST = 1 << 20  # bytes of a read copied in a turn; more would keep the others for a millisecond
    SENDFILE_LEAST = 32 << 10  # bytes of a read that is sent without copying; below, one copy is cheaper than two calls
    TURN_REQUESTS = 64  # of one client, then it is the next one's turn
    HAND_OVER_COST = 7  # requests' worth of a turn to give one to the workers: a burst of cold reads is many turns
    TURN_BYTES = 256 << 10  # likewise; with 1 MiB a client beside a bulk reader waited three times as long
    PARTS_MOST = 2 * TURN_REQUESTS  # a header and its data for each
    TASKS_MOST = 32  # of one client among the workers: a deep queue of cold reads leaves room for others'

cdef enum Ending:
    LIVES
    DISCONNECTED
    HUNG_UP
    RESET
    MALFORMED
    STOPPED
    STARVED  # of memory
    SHORTENED  # its file became shorter while a reply was being sent from it

# A request on its way through the workers; then its reply on its way to the socket. The bytes follow the struct, or
# are a file's.
cdef struct Parcel:
    Task task  # first: the workers hand back its address
    Client *owner
    Parcel *next
    Request request
    int fd  # of a file; -1: the bytes are here
    char *bytes
    uint64_t at  # of bytes or of the file: what is still to be sent
    uint64_t end

# A part of the replies that are about to be sent: of the stage, or of a file in memory.
cdef struct Part:
    const char *start
    size_t length
    const Mapping *mapping  # NULL: it is the stage's

# A BLOCK_STATUS on its way to Python, or a command that failed.
cdef struct Note:
    Client *client
    Note *next
    Request request
    int failed

cdef struct Client:
    int fd
    Ending ending
    void *image  # an Image; the seat's, which outlives the client
    Mapping *mapping  # of its file; NULL: its replies are copied
    void *seat
    Record *trace  # of its reads; the seat's; NULL: nobody asks
    Rules rules
    bint is_readable  # bytes or an end may wait in the socket
    bint saw_end  # the peer's end is told once: read on until it comes
    bint is_leaving
    bint is_ready  # among the ready
    bint is_waiting  # among those that wait for the workers' queue
    bint is_dead
    Client *next_ready
    Client *next_waiting
    Client *next_ended
    # what came in
    char *kept
    size_t kept_length
    Request request
    bint has_request  # checked; waits for room, for its data or for the workers
    Parcel *filling  # the WRITE whose data comes in
    size_t filled
    uint32_t drain  # bytes of a refused WRITE still to pass over
    Refusal refusal  # then to be sent
    # what is under way
    uint32_t in_flight
    uint64_t bytes_in_flight
    uint32_t tasks
    # what goes out
    Parcel *outbox
    Parcel *outbox_tail
    size_t unsent
    # sums
    uint64_t bytes_read
    uint64_t bytes_written
    uint64_t requests

cdef struct Station:
    int epoll
    Lane *lane
    uint32_t requests_most
    uint64_t bytes_most
    uint32_t cached_most
    size_t gather
    # the one whose turn it is uses these
    char *inbox
    size_t in_at
    size_t in_end
    char *stage
    size_t staged
    Part parts[PARTS_MOST]
    uint32_t parted
    size_t staged_parts  # bytes of the stage that are in parts
    size_t mapped  # bytes of files in memory that are
    double now
    Belief belief
    # who is next
    Client *ready
    Client *ready_tail
    Client *waiting
    Client *ended  # to be told
    Note *notes
    Note *notes_tail
    # what this run has done
    uint64_t done_requests
    uint64_t done_bytes
