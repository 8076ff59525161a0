# Replies to ATA commands as C, made from the frames they answer. The values are those of wire.py.
from libc.stdint cimport uint8_t

cdef enum:
    READ_28 = 0x20
    READ_48 = 0x24
    WRITE_28 = 0x30
    WRITE_48 = 0x34
    FLUSH_28 = 0xE7
    FLUSH_48 = 0xEA
    IDENTIFY = 0xEC
    BAD_ARGUMENT = 2
    TARGET_RESERVED = 6
    ABRT = 0x04
    IDNF = 0x10
    UNC = 0x40

cdef bint is_command(const uint8_t *frame, size_t length) noexcept nogil
cdef void build_success(uint8_t *into, const uint8_t *frame, const uint8_t *mac) noexcept nogil
cdef void build_failure(uint8_t *into, const uint8_t *frame, const uint8_t *mac, uint8_t error) noexcept nogil
cdef void build_refusal(uint8_t *into, const uint8_t *frame, const uint8_t *mac, uint8_t code) noexcept nogil
