# What one pump serves with, as C: its socket, its targets, and the work and the words that wait.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from protocols.aoe.accounts cimport Table
from storage.mapping cimport Belief, Mapping
from storage.workers cimport Lane, Task

cdef extern from "<sys/socket.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    struct mmsghdr:
        msghdr msg_hdr

cdef enum:
    HEADER = 24  # bytes of Ethernet's and AoE's headers
    REGISTERS = 12  # bytes of an ATA argument
    REPLY = 36  # bytes before a reply's data
    SHORTEST = 60  # bytes of a frame, as link.py has it
    SECTOR = 512
    LIST_MOST = 255  # entries of a mask or a reservation: their counts are one byte
    CHUNK = 64  # replies of one sendmmsg, at most
    BATCH = 512  # frames of one batch, then Python has its turn: about two milliseconds
    NOTES_MOST = 256  # frames and events that wait for Python; a classroom that starts asks about so often at once
    NOTES_BYTES = 1 << 20  # of those frames
    NOTES_OF_ONE = 32  # frames of one machine among them: one that floods leaves room for the others
    ERRNO_MOST = 134  # linux/errno.h

cdef struct Wish

# The bytes at one shelf.slot address, and who may have them.
cdef struct Disk:
    uint32_t address  # shelf << 8 | slot
    void *image  # an Image; the seat's, which outlives the disk
    uint64_t sectors
    bint is_writable
    bint is_gone
    bint has_failed  # told once
    uint32_t tasks
    Wish *writes  # that the workers have
    Mapping mapping
    uint32_t admitted  # MACs that see it; 0: every machine
    uint32_t holders  # MACs it is reserved for; 0: not reserved
    uint64_t mask[LIST_MOST]
    uint64_t reserved[LIST_MOST]
    Disk *next  # of its bucket

# A machine that has wishes among the workers.
cdef struct Machine:
    uint64_t mac
    uint32_t in_flight
    Machine *next  # of its bucket

# A command on its way through the workers, then its reply on its way out. The reply follows the struct.
cdef struct Wish:
    Task task  # first: the workers hand back its address
    Disk *disk
    Machine *machine
    uint8_t *reply
    size_t length  # of the reply, when all goes well
    uint64_t offset  # in the image, and how many bytes; the task's own change while it is worked on
    uint64_t size
    Wish *next_write  # of its disk

cdef enum:
    SLOTS = 4096  # of the ring: 250 machines with 16 requests each
    LINES = 256  # machines share one where the hashes of their MACs meet

# Frames that wait for their turn, by their slots, oldest first.
cdef struct Line:
    bint is_waiting
    uint32_t head
    uint32_t tail
    Line *next  # of those that wait

# Memory that the kernel puts frames into, and the lines that they are taken from.
cdef struct Ring:
    int fd
    char *slots
    uint8_t *large  # a frame that no slot holds
    uint32_t at  # the slot that the kernel fills next
    uint32_t held  # slots in line
    Line *first  # whose turn it is
    Line *last
    uint32_t sectors  # that the turn has had
    uint64_t salt  # of the hash
    Line lines[LINES + 1]  # and one for large frames
    uint16_t following[SLOTS]  # the slot behind each in its line

# The sockets: one receives, the other sends.
cdef struct Port:
    Ring ring
    int out
    Port *next  # among those that are leaving, then of the dead

cdef enum NoteKind:
    NOTE_FRAME
    NOTE_FIRST
    NOTE_FAILED

# What is to be told to Python; a frame follows the struct.
cdef struct Note:
    NoteKind kind
    Note *next
    uint64_t mac
    uint32_t address
    int failed
    size_t length

cdef struct Tally:
    uint64_t replies
    uint64_t refused
    uint64_t image_errors
    uint64_t dropped_in_flight
    uint64_t dropped_overlapping
    uint64_t repeated
    uint64_t dropped_rare
    uint64_t missed
    uint64_t link_down
    uint64_t detours
    uint64_t unsent[ERRNO_MOST]

cdef enum:
    BUCKETS = 256  # of disks, and of machines

cdef struct Station:
    Lane *lane
    Table *accounts
    Port *port  # NULL while there is no interface
    Port *leaving
    Port *dead  # closed; their memory goes when no event can name it
    uint8_t mac[6]
    uint32_t frame_sectors
    double now
    bint is_lively  # the last look for another frame found one
    Belief belief
    Disk *disks[BUCKETS]
    # wishes
    Machine *machines[BUCKETS]
    uint32_t in_flight
    uint32_t in_flight_most
    uint32_t in_flight_of_one
    # replies
    uint8_t *stage
    size_t staged
    uint32_t queued
    size_t queued_bytes
    mmsghdr messages[CHUNK]
    iovec pieces[2 * CHUNK]  # a reply, and data that is elsewhere
    Wish *owners[CHUNK]
    # for Python
    Note *notes
    Note *notes_tail
    uint32_t noted
    size_t noted_bytes
    Tally tally

cdef inline uint64_t mac_at(const uint8_t *at) noexcept nogil:
    return (
        (<uint64_t> at[0] << 40) | (<uint64_t> at[1] << 32) | (<uint64_t> at[2] << 24)
        | (<uint64_t> at[3] << 16) | (<uint64_t> at[4] << 8) | at[5]
    )

cdef inline uint32_t bucket_of(uint64_t key) noexcept nogil:
    return <uint32_t> ((key * <uint64_t> 0x9E3779B97F4A7C15) >> 56)  # Fibonacci's: the upper eight bits depend on all
