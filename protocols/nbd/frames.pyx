# cython: language_level=3
"""NBD's transmission as C: requests checked and replies built where they lie, without Python objects.

The rules and their errors are those of transmission.py, which is this module's twin; layouts are drawn in wire.py.
A read's data is framed in place: `REPLY_ROOM` bytes before it take the header, so that it goes out uncopied.
"""
from libc.errno cimport EDQUOT, EFBIG, EINVAL, EIO, ENOMEM, ENOSPC, EPERM, EROFS
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memmove

from protocols.nbd.transmission import HOLE_LEAST, flags_of_commands
from protocols.nbd.wire import TransmissionFlag

cdef extern from "<string.h>" nogil:
    size_t strnlen(const char *text, size_t most)

cdef extern from "<endian.h>" nogil:
    uint16_t htobe16(uint16_t value)
    uint32_t htobe32(uint32_t value)
    uint64_t htobe64(uint64_t value)
    uint16_t be16toh(uint16_t value)
    uint32_t be32toh(uint32_t value)
    uint64_t be64toh(uint64_t value)

cdef enum:
    REQUEST_MAGIC = 0x25609513
    SIMPLE_REPLY_MAGIC = 0x67446698
    STRUCTURED_REPLY_MAGIC = 0x668E33EF
    CHUNK_DONE = 1
    CHUNK_NONE = 0
    CHUNK_DATA = 1
    CHUNK_HOLE = 2
    CHUNK_ERROR = 0x8001

cdef size_t hole_least = HOLE_LEAST


cdef int make_rules(Rules *rules, agreement, limits) except -1:
    rules.size = agreement.size
    rules.minimum_block = agreement.minimum_block
    rules.payload = limits.payload
    rules.is_structured = agreement.structured
    rules.is_read_only = bool(agreement.flags & TransmissionFlag.READ_ONLY)
    rules.has_allocation = agreement.allocation
    if rules.minimum_block == 0:
        raise ValueError("blocks of no bytes")
    allowed = flags_of_commands(agreement.flags)
    for kind in range(KINDS):
        rules.allowed[<int> kind] = allowed.get(kind, -1)
    return 0


cdef inline uint16_t get16(const char *at) noexcept nogil:
    cdef uint16_t value
    memcpy(&value, at, 2)
    return be16toh(value)


cdef inline uint32_t get32(const char *at) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, at, 4)
    return be32toh(value)


cdef inline uint64_t get64(const char *at) noexcept nogil:
    cdef uint64_t value
    memcpy(&value, at, 8)
    return be64toh(value)


cdef inline void put16(char *at, uint16_t value) noexcept nogil:
    value = htobe16(value)
    memcpy(at, &value, 2)


cdef inline void put32(char *at, uint32_t value) noexcept nogil:
    value = htobe32(value)
    memcpy(at, &value, 4)


cdef inline void put64(char *at, uint64_t value) noexcept nogil:
    value = htobe64(value)
    memcpy(at, &value, 8)


cdef bint parse_request(const char *header, Request *into) noexcept nogil:
    # REQUEST_SIZE bytes; False when they are no request.
    into.flags = get16(header + 4)
    into.kind = get16(header + 6)
    memcpy(into.cookie, header + 8, 8)
    into.offset = get64(header + 16)
    into.length = get32(header + 24)
    return get32(header) == REQUEST_MAGIC


cdef bint holds_data(uint16_t kind) noexcept nogil:
    # Commands whose length is also bytes that we hold.
    return kind == KIND_READ or kind == KIND_WRITE


cdef inline Refusal refuse(int error, const char *message) noexcept nogil:
    cdef Refusal refusal
    refusal.error = error
    refusal.message = message
    return refusal


cdef Refusal check_request(const Request *request, const Rules *rules) noexcept nogil:
    cdef uint16_t kind = request.kind
    cdef bint is_change = kind == KIND_WRITE or kind == KIND_WRITE_ZEROES or kind == KIND_TRIM
    if kind == KIND_DISC:
        return refuse(0, b"")
    if rules.is_read_only and is_change:
        return refuse(EPERM, b"the export is read-only")
    if kind >= KINDS or rules.allowed[kind] < 0:
        return refuse(EINVAL, b"command is not supported here")
    if request.flags & ~rules.allowed[kind]:
        return refuse(EINVAL, b"flags do not fit the command")
    if kind == KIND_FLUSH:
        if request.offset or request.length:
            return refuse(EINVAL, b"a flush has no range")
        return refuse(0, b"")
    if holds_data(kind) and request.length > rules.payload:
        return refuse(EINVAL, b"request is over the limit of one payload")
    if (request.offset | request.length) % rules.minimum_block:
        return refuse(EINVAL, b"range is not in whole blocks")
    if request.offset > rules.size or request.length > rules.size - request.offset:
        return refuse(ENOSPC if is_change else EINVAL, b"range leaves the export")
    if kind == KIND_BLOCK_STATUS and not (rules.has_allocation and request.length):
        return refuse(EINVAL, b"no context was selected, or nothing asked")
    return refuse(0, b"")


cdef int error_of(int errno) noexcept nogil:
    # The protocol's error for a system's errno.
    if errno == EPERM or errno == EROFS:
        return 1
    if errno == ENOMEM:
        return 12
    if errno == EINVAL:
        return 22
    if errno == ENOSPC or errno == EDQUOT or errno == EFBIG:
        return 28
    return 5


cdef size_t put_simple(char *into, const Request *request, int error) noexcept nogil:
    put32(into, SIMPLE_REPLY_MAGIC)
    put32(into + 4, error)
    memcpy(into + 8, request.cookie, 8)
    return SIMPLE_SIZE


cdef size_t put_chunk(char *into, const Request *request, uint16_t kind, uint32_t length, bint is_last) noexcept nogil:
    put32(into, STRUCTURED_REPLY_MAGIC)
    put16(into + 4, CHUNK_DONE if is_last else 0)
    put16(into + 6, kind)
    memcpy(into + 8, request.cookie, 8)
    put32(into + 16, length)
    return CHUNK_SIZE


cdef size_t build_success(char *into, const Request *request) noexcept nogil:
    return put_simple(into, request, 0)


cdef size_t build_error(char *into, const Request *request, const Rules *rules, int error, const char *message) noexcept nogil:
    # At most ERROR_MOST bytes. Only these two must be answered by chunks once those are agreed on.
    cdef size_t length
    if not rules.is_structured or (request.kind != KIND_READ and request.kind != KIND_BLOCK_STATUS):
        return put_simple(into, request, error)
    length = strnlen(message, ERROR_MOST - CHUNK_SIZE - 6)
    put_chunk(into, request, CHUNK_ERROR, <uint32_t> length + 6, True)
    put32(into + CHUNK_SIZE, error)
    put16(into + CHUNK_SIZE + 4, <uint16_t> length)
    memcpy(into + CHUNK_SIZE + 6, message, length)
    return CHUNK_SIZE + 6 + length


cdef bint is_zero(const char *data, size_t length) noexcept nogil:
    # Comparing the bytes with themselves, one further: no page of zeros to keep in the cache.
    return data[0] == 0 and memcmp(data, data + 1, length - 1) == 0


cdef size_t run_length(const char *data, size_t length, bint *is_hole) noexcept nogil:
    # The first run, in steps of hole_least: its bytes, and whether they are zeros.
    cdef size_t at = 0
    is_hole[0] = length >= hole_least and is_zero(data, hole_least)
    while length - at >= hole_least and is_zero(data + at, hole_least) == is_hole[0]:
        at += hole_least
    if not is_hole[0] and length - at < hole_least:
        return length  # what is left is shorter than a step: it goes with the data
    return at


cdef size_t put_runs(char *into, const char *data, const Request *request) noexcept nogil:
    # Chunks for request.length bytes at `data`, DATA_CHUNK_SIZE behind `into`. Nothing is written over before it
    # moved: what a hole's chunk leaves of its bytes has room for the next header.
    cdef size_t put = 0, at = 0, run
    cdef size_t length = request.length
    cdef bint is_hole = False, is_last
    while at < length:
        run = run_length(data + at, length - at, &is_hole)
        is_last = at + run == length
        if is_hole:
            put_chunk(into + put, request, CHUNK_HOLE, 12, is_last)
            put32(into + put + DATA_CHUNK_SIZE, <uint32_t> run)
        else:
            if into + put + DATA_CHUNK_SIZE != data + at:
                memmove(into + put + DATA_CHUNK_SIZE, data + at, run)
            put_chunk(into + put, request, CHUNK_DATA, 8 + <uint32_t> run, is_last)
        put64(into + put + CHUNK_SIZE, request.offset + at)
        put += HOLE_CHUNK_SIZE if is_hole else DATA_CHUNK_SIZE + run
        at += run
    return put


cdef bint is_read_plain(const Request *request, const Rules *rules) noexcept nogil:
    # Whether the reply is one header and all the data, whatever that is.
    return not rules.is_structured or request.flags & FLAG_DF or request.length < hole_least


cdef size_t build_header(char *into, const Request *request, const Rules *rules) noexcept nogil:
    # What stands before the data of a plain read.
    if not rules.is_structured:
        return put_simple(into, request, 0)
    put_chunk(into, request, CHUNK_DATA, 8 + request.length, True)
    put64(into + CHUNK_SIZE, request.offset)
    return DATA_CHUNK_SIZE


cdef size_t build_read(char *room, const Request *request, const Rules *rules) noexcept nogil:
    # Frames request.length bytes that lie REPLY_ROOM behind `room`; the reply's bytes, from reply_begin(rules) on.
    cdef char *into = room + reply_begin(rules)
    if request.length == 0 and rules.is_structured:
        return put_chunk(into, request, CHUNK_NONE, 0, True)
    if not is_read_plain(request, rules):
        return put_runs(into, room + REPLY_ROOM, request)
    return build_header(into, request, rules) + request.length


def refusal_of(bytes header not None, agreement, limits):
    cdef Request request
    cdef Rules rules
    make_rules(&rules, agreement, limits)
    if len(header) != REQUEST_SIZE or not parse_request(header, &request):
        raise ValueError("no request")
    return check_request(&request, &rules).error


def reply_to_read(bytes header not None, bytes data not None, agreement, limits):
    cdef Request request
    cdef Rules rules
    cdef size_t begin, length
    make_rules(&rules, agreement, limits)
    if len(header) != REQUEST_SIZE or not parse_request(header, &request):
        raise ValueError("no request")
    if request.kind != KIND_READ or request.length != len(data):
        raise ValueError("no READ of this data")
    cdef char *room = <char *> malloc(REPLY_ROOM + len(data))
    if room == NULL:
        raise MemoryError
    try:
        memcpy(room + REPLY_ROOM, <const char *> data, len(data))
        begin = reply_begin(&rules)
        length = build_read(room, &request, &rules)
        return room[begin:begin + length]
    finally:
        free(room)
