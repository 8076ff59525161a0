# cython: language_level=3
"""Replies to ATA commands as C, made from the frames they answer.

The layouts are drawn in wire.py, and the rules are those of target.py: `completed`, `failed`, and the error replies
of endpoint.py. A reply is its request with a few bytes changed, so that is how it is made.
"""
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from protocols.aoe.station cimport HEADER, REGISTERS, REPLY

cdef enum:
    ETHERTYPE_HIGH = 0x88
    ETHERTYPE_LOW = 0xA2
    VERSION = 0x10  # 1, in the upper four bits
    ERROR_FLAG = 4
    RESPONSE_FLAG = 8
    DRDY = 0x40
    ERR = 0x01


cdef bint is_command(const uint8_t *frame, size_t length) noexcept nogil:
    # An ATA command of the version we speak, from a station, other than IDENTIFY: all else is rare, and Python's.
    return (
        length >= HEADER + REGISTERS
        and frame[12] == ETHERTYPE_HIGH and frame[13] == ETHERTYPE_LOW
        and frame[14] & 0xF8 == VERSION
        and frame[19] == 0
        and frame[27] != IDENTIFY
        and not frame[6] & 1
        and (frame[6] | frame[7] | frame[8] | frame[9] | frame[10] | frame[11]) != 0
    )


cdef void begin(uint8_t *into, const uint8_t *frame, const uint8_t *mac) noexcept nogil:
    memcpy(into, frame + 6, 6)
    memcpy(into + 6, mac, 6)
    memcpy(into + 12, frame + 12, REPLY - 12)
    into[14] = VERSION | RESPONSE_FLAG
    into[15] = 0


cdef void build_success(uint8_t *into, const uint8_t *frame, const uint8_t *mac) noexcept nogil:
    begin(into, frame, mac)
    into[25] = 0
    into[26] = 0
    into[27] = DRDY
    into[34] = into[35] = 0


cdef void build_failure(uint8_t *into, const uint8_t *frame, const uint8_t *mac, uint8_t error) noexcept nogil:
    begin(into, frame, mac)
    into[25] = error
    into[27] = DRDY | ERR
    into[34] = into[35] = 0


cdef void build_refusal(uint8_t *into, const uint8_t *frame, const uint8_t *mac, uint8_t code) noexcept nogil:
    # An error of AoE's own gives the registers back as they came.
    begin(into, frame, mac)
    into[14] = VERSION | RESPONSE_FLAG | ERROR_FLAG
    into[15] = code
