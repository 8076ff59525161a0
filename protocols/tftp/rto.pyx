# cython: language_level=3
"""How long to wait before sending again: `Patience` (patience.py) for the native pump, which says why.

RFC 6298 in nanoseconds; nothing of it is for Python.
"""
from libc.stdint cimport uint64_t


cdef uint64_t measured(const Rto *rto, const RtoRules *rules) noexcept nogil:
    return min(max(rto.smoothed + 4 * rto.deviation, rules.least), rules.most)


cdef void begin_rto(Rto *rto, const RtoRules *rules, uint64_t asked) noexcept nogil:
    # `asked`: the client's own interval, or 0.
    rto.is_fixed = asked != 0
    rto.wait = asked if asked else rules.first


cdef void measure(Rto *rto, const RtoRules *rules, uint64_t round_trip) noexcept nogil:
    # Of something sent only once (Karn).
    cdef uint64_t difference = round_trip - rto.smoothed if round_trip > rto.smoothed else rto.smoothed - round_trip
    if rto.is_fixed:
        return
    rto.unmeasured = 0
    if rto.smoothed == 0:
        rto.smoothed = max(round_trip, <uint64_t> 1)
        rto.deviation = round_trip // 2
    else:
        rto.deviation = rto.deviation - rto.deviation // 4 + difference // 4
        rto.smoothed = max(rto.smoothed - rto.smoothed // 8 + round_trip // 8, <uint64_t> 1)
    rto.wait = measured(rto, rules)


cdef void recover(Rto *rto, const RtoRules *rules) noexcept nogil:
    # Something sent more than once was answered.
    rto.unmeasured += 1
    if rto.smoothed and not rto.is_fixed and rto.unmeasured < rules.unmeasured_most:
        rto.wait = measured(rto, rules)


cdef void back_off(Rto *rto, const RtoRules *rules) noexcept nogil:
    if not rto.is_fixed:
        rto.wait = min(2 * rto.wait, rules.most)
