# How long one transfer waits before it sends again: patience.py, as C, in nanoseconds.
from libc.stdint cimport uint32_t, uint64_t

cdef struct RtoRules:
    uint64_t first
    uint64_t least
    uint64_t most
    uint32_t unmeasured_most

cdef struct Rto:
    uint64_t wait
    uint64_t smoothed  # 0: nothing was measured yet
    uint64_t deviation
    uint32_t unmeasured
    bint is_fixed  # the client asked for this interval

cdef void begin_rto(Rto *rto, const RtoRules *rules, uint64_t asked) noexcept nogil
cdef void measure(Rto *rto, const RtoRules *rules, uint64_t round_trip) noexcept nogil
cdef void recover(Rto *rto, const RtoRules *rules) noexcept nogil
cdef void back_off(Rto *rto, const RtoRules *rules) noexcept nogil
