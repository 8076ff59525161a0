# NBD's transmission as C: a request's header, whether it may be, and replies. The values are those of wire.py.
from libc.stdint cimport uint16_t, uint32_t, uint64_t

cdef enum:
    REQUEST_SIZE = 28
    SIMPLE_SIZE = 16
    CHUNK_SIZE = 20
    DATA_CHUNK_SIZE = 28  # with its offset
    HOLE_CHUNK_SIZE = 32
    REPLY_ROOM = 32  # before a read's data, for whichever header its reply begins with
    ERROR_MOST = 256  # bytes of any error reply

cdef enum Kind:
    KIND_READ = 0
    KIND_WRITE = 1
    KIND_DISC = 2
    KIND_FLUSH = 3
    KIND_TRIM = 4
    KIND_CACHE = 5
    KIND_WRITE_ZEROES = 6
    KIND_BLOCK_STATUS = 7
    KINDS = 8

cdef enum:
    FLAG_FUA = 1 << 0
    FLAG_NO_HOLE = 1 << 1
    FLAG_DF = 1 << 2
    FLAG_REQ_ONE = 1 << 3

cdef struct Request:
    uint16_t flags
    uint16_t kind
    char cookie[8]  # opaque: goes back as it came
    uint64_t offset
    uint32_t length

# What a client and we agreed on.
cdef struct Rules:
    uint64_t size
    uint32_t minimum_block
    uint32_t payload  # most bytes of one READ or WRITE
    bint is_structured
    bint is_read_only
    bint has_allocation
    int allowed[KINDS]  # flags of each command; -1: we have no such command

cdef struct Refusal:
    int error  # 0: the request may be
    const char *message

cdef int make_rules(Rules *rules, agreement, limits) except -1
cdef bint parse_request(const char *header, Request *into) noexcept nogil
cdef Refusal check_request(const Request *request, const Rules *rules) noexcept nogil
cdef bint holds_data(uint16_t kind) noexcept nogil
cdef int error_of(int errno) noexcept nogil
cdef size_t build_success(char *into, const Request *request) noexcept nogil
cdef size_t build_error(char *into, const Request *request, const Rules *rules, int error, const char *message) noexcept nogil
cdef bint is_read_plain(const Request *request, const Rules *rules) noexcept nogil
cdef size_t build_header(char *into, const Request *request, const Rules *rules) noexcept nogil
cdef size_t build_read(char *room, const Request *request, const Rules *rules) noexcept nogil

cdef inline size_t reply_begin(const Rules *rules) noexcept nogil:
    # How far into its room the reply to a READ begins.
    return REPLY_ROOM - (DATA_CHUNK_SIZE if rules.is_structured else SIMPLE_SIZE)
