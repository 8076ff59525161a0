# cython: language_level=3
"""The deadlines of all transfers of a pump: a heap of alarms, and one timerfd for the first of them.

Every packet moves its transfer's deadline further away. The alarm stays where it is: when it goes off early the
transfer takes its place anew, a few times a second instead of with each packet. Nothing of it is for Python.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport realloc
from libc.string cimport memset
from posix.time cimport itimerspec

cdef extern from "<sys/timerfd.h>" nogil:
    int TFD_TIMER_ABSTIME
    int timerfd_settime(int fd, int flags, const itimerspec *value, itimerspec *before)

cdef uint64_t SECOND = 1_000_000_000


cdef int make_room(Station *station, size_t transfers) except -1:
    # So that setting an alarm needs no memory.
    cdef size_t room = 2 * transfers
    if station.alarm_room >= transfers:
        return 0
    cdef Transfer **grown = <Transfer **> realloc(station.alarms, room * sizeof(Transfer *))
    if grown == NULL:
        raise MemoryError
    station.alarms = grown
    station.alarm_room = <uint32_t> room
    return 0


cdef void put(Station *station, Transfer *transfer, uint32_t place) noexcept nogil:
    station.alarms[place - 1] = transfer
    transfer.place = place


cdef void rise(Station *station, Transfer *transfer) noexcept nogil:
    # Places count from 1: the one above `place` is place / 2.
    cdef uint32_t place = transfer.place
    cdef Transfer *above
    while place > 1:
        above = station.alarms[place // 2 - 1]
        if above.alarm <= transfer.alarm:
            break
        put(station, above, place)
        place //= 2
    put(station, transfer, place)


cdef void sink(Station *station, Transfer *transfer) noexcept nogil:
    cdef uint32_t place = transfer.place, below
    while 2 * place <= station.alarm_count:
        below = 2 * place
        if below < station.alarm_count and station.alarms[below].alarm < station.alarms[below - 1].alarm:
            below += 1
        if station.alarms[below - 1].alarm >= transfer.alarm:
            break
        put(station, station.alarms[below - 1], place)
        place = below
    put(station, transfer, place)


cdef void set_alarm(Station *station, Transfer *transfer) noexcept nogil:
    # For its deadline; an alarm that goes off before that is good enough.
    if transfer.place == 0:
        station.alarm_count += 1
        transfer.place = station.alarm_count
    elif transfer.alarm <= transfer.deadline:
        return
    transfer.alarm = transfer.deadline
    rise(station, transfer)


cdef void drop_alarm(Station *station, Transfer *transfer) noexcept nogil:
    cdef Transfer *moved
    if transfer.place == 0:
        return
    moved = station.alarms[station.alarm_count - 1]
    station.alarm_count -= 1
    if moved != transfer:
        put(station, moved, transfer.place)
        rise(station, moved)
        sink(station, moved)
    transfer.place = 0


cdef Transfer *take_overdue(Station *station) noexcept nogil:
    # One whose deadline has passed, without an alarm from now on; NULL for none.
    cdef Transfer *first
    while station.alarm_count and station.alarms[0].alarm <= station.now:
        first = station.alarms[0]
        if first.deadline == 0:
            drop_alarm(station, first)
        elif first.deadline <= station.now:
            drop_alarm(station, first)
            return first
        else:
            first.alarm = first.deadline
            sink(station, first)
    return NULL


cdef void set_timer(Station *station) noexcept nogil:
    # To the first alarm, where it is set to a later time or none; one that comes too early does no harm.
    cdef itimerspec value
    cdef uint64_t first = station.alarms[0].alarm if station.alarm_count else 0
    if first == 0 or (station.timer_at and station.timer_at <= first):
        return
    memset(&value, 0, sizeof(value))
    value.it_value.tv_sec = first // SECOND
    value.it_value.tv_nsec = first % SECOND
    timerfd_settime(station.timer, TFD_TIMER_ABSTIME, &value, NULL)
    station.timer_at = first
