# cython: language_level=3
"""One client's turn at the pump; nothing of it is for Python.

Requests are taken from the socket and answered until there is none, a bound is reached, the client does not read, or
the turn is over. A read that memory has is answered at once; everything else goes to the workers and comes back
through `take_back`. What becomes of each request is as in transmission.py and exchange.py, the twins of this.
"""
from libc.errno cimport EAGAIN, EINTR, EIO, ENOMEM, errno
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove

from protocols.nbd.frames cimport (
    ERROR_MOST, FLAG_FUA, FLAG_NO_HOLE, KIND_BLOCK_STATUS, KIND_CACHE, KIND_DISC, KIND_FLUSH, KIND_READ, KIND_TRIM,
    KIND_WRITE, KIND_WRITE_ZEROES, REPLY_ROOM, REQUEST_SIZE, build_error, build_header, build_read, build_success,
    check_request, error_of, holds_data, is_read_plain, parse_request, reply_begin,
)
from protocols.nbd.outbox cimport clear_stage, end_client, make_parcel, make_ready, post, send_file, send_outbox, send_stage, stage_mapped
from protocols.nbd.station cimport (
    DISCONNECTED, HAND_OVER_COST, HUNG_UP, INLINE_MOST, LIVES, MALFORMED, PARTS_MOST, RECEIVE, RESET, SENDFILE_LEAST, STARVED, TASKS_MOST,
    TURN_BYTES, TURN_REQUESTS, Client, Note, Parcel, Request, Station,
)
from storage.image cimport Image, Place
from storage.mapping cimport find_mapped
from storage.trace cimport note_read
from storage.workers cimport (
    TASK_FLUSH, TASK_PUNCH, TASK_READ, TASK_TRIM, TASK_WARM, TASK_WRITE, TASK_ZERO, TaskKind, submit,
)

cdef extern from "<sys/socket.h>" nogil:
    int MSG_TRUNC
    ssize_t recv(int fd, void *into, size_t length, int flags)

cdef extern from "<string.h>" nogil:
    char *strerror_r(int number, char *buffer, size_t length)

cdef enum Step:
    GO_ON
    STOP  # nothing more to do, or not now


cdef size_t take_in(Client *client, char *into, size_t length, int flags) noexcept nogil:
    # Bytes from the socket, 0 for none: then it is empty, or the client's `ending` says more.
    cdef ssize_t got
    while client.is_readable:
        got = recv(client.fd, into, length, flags)
        if got > 0:
            # A socket that gave less is empty, unless the peer's end stands behind: that is told only once.
            client.is_readable = <size_t> got == length or client.saw_end
            return got
        if got == 0:
            client.is_readable = False
            client.ending = HUNG_UP
        elif errno != EINTR:
            client.is_readable = False
            if errno != EAGAIN:
                client.ending = RESET
    return 0


cdef bint receive(Station *station, Client *client) noexcept nogil:
    cdef size_t rest = station.in_end - station.in_at
    memmove(station.inbox, station.inbox + station.in_at, rest)
    station.in_at = 0
    station.in_end = rest + take_in(client, station.inbox + rest, RECEIVE, 0)
    return station.in_end > rest


cdef char *stage_end(Station *station) noexcept nogil:
    return station.stage + REPLY_ROOM + station.staged


cdef void note(Station *station, Client *client, const Request *request, int failed) noexcept nogil:
    cdef Note *made = <Note *> malloc(sizeof(Note))
    if made == NULL:
        end_client(station, client, STARVED)
        return
    made.client = client
    made.request = request[0]
    made.failed = failed
    made.next = NULL
    if station.notes == NULL:
        station.notes = made
    else:
        station.notes_tail.next = made
    station.notes_tail = made


cdef size_t build_failure(Station *station, Client *client, const Request *request, int failed, char *into) noexcept nogil:
    cdef char words[128]
    note(station, client, request, failed)
    return build_error(into, request, &client.rules, error_of(failed), strerror_r(failed, words, sizeof(words)))


cdef void begin_request(Station *station, Client *client) noexcept nogil:
    client.has_request = False
    client.requests += 1
    station.done_requests += 1
    if client.trace != NULL and client.request.kind == KIND_READ:
        note_read(client.trace, client.request.offset, client.request.length)


cdef Step pass_over(Station *station, Client *client) noexcept nogil:
    # Data of a refused WRITE, thrown away where it is.
    cdef size_t passed = min(<size_t> client.drain, station.in_end - station.in_at)
    station.in_at += passed
    if passed == 0:
        passed = take_in(client, NULL, client.drain, MSG_TRUNC)
    client.drain -= passed
    station.done_bytes += passed
    return GO_ON if passed else STOP


cdef Step refuse(Station *station, Client *client) noexcept nogil:
    station.staged += build_error(
        stage_end(station), &client.request, &client.rules, client.refusal.error, client.refusal.message
    )
    client.refusal.error = 0
    station.done_requests += 1
    return GO_ON


cdef Step answer_success(Station *station, Client *client) noexcept nogil:
    begin_request(station, client)
    station.staged += build_success(stage_end(station), &client.request)
    return GO_ON


cdef Step wait_for_workers(Station *station, Client *client) noexcept nogil:
    # Their queue is full: it has others' tasks, and this client may have none that would wake it.
    if not client.is_waiting:
        client.is_waiting = True
        client.next_waiting = station.waiting
        station.waiting = client
    return STOP


cdef Step hand_over(Station *station, Client *client, Parcel *parcel, TaskKind kind) noexcept nogil:
    # GO_ON once the workers have it; else the parcel is still the caller's.
    cdef Request *request = &client.request
    if client.tasks >= TASKS_MOST:
        return STOP  # the first that comes back readies this client
    parcel.request = request[0]
    parcel.task.kind = kind
    parcel.task.image = client.image
    parcel.task.data = parcel.bytes + REPLY_ROOM
    parcel.task.offset = request.offset
    parcel.task.length = request.length
    if kind == TASK_WARM:
        parcel.task.length = min(request.length, station.cached_most)
    parcel.task.flush_after = kind in (TASK_WRITE, TASK_ZERO, TASK_PUNCH, TASK_TRIM) and request.flags & FLAG_FUA
    parcel.task.is_cancelled = &client.is_dead
    if submit(station.lane, &parcel.task) < 0:
        return wait_for_workers(station, client)
    client.tasks += 1
    begin_request(station, client)
    station.done_requests += HAND_OVER_COST
    return GO_ON


cdef void hold(Client *client) noexcept nogil:
    client.in_flight += 1
    if holds_data(client.request.kind):
        client.bytes_in_flight += client.request.length


cdef void release(Client *client, const Request *request) noexcept nogil:
    client.in_flight -= 1
    if holds_data(request.kind):
        client.bytes_in_flight -= request.length


cdef Step send_to_workers(Station *station, Client *client, TaskKind kind) noexcept nogil:
    cdef Request *request = &client.request
    cdef Parcel *parcel = make_parcel(client, REPLY_ROOM + <size_t> request.length if kind == TASK_READ else 0)
    if parcel == NULL:
        begin_request(station, client)
        station.staged += build_failure(station, client, request, ENOMEM, stage_end(station))
        return GO_ON
    if hand_over(station, client, parcel, kind) == STOP:
        free(parcel)
        return STOP
    hold(client)
    return GO_ON


cdef Step read_copied(Station *station, Client *client) noexcept nogil:
    # Into the place its reply is sent from, if memory has it; else by way of the workers.
    cdef Request *request = &client.request
    cdef char *room = stage_end(station) - reply_begin(&client.rules)
    cdef ssize_t got = -EAGAIN
    if request.length <= INLINE_MOST:
        got = (<Image> client.image).read_now(room + REPLY_ROOM, request.length, request.offset)
    if got == -EAGAIN:
        return send_to_workers(station, client, TASK_READ)
    begin_request(station, client)
    if got == request.length:
        client.bytes_read += request.length
        station.done_bytes += request.length
        station.staged += build_read(room, request, &client.rules)
    else:
        station.staged += build_failure(station, client, request, <int> -got if got < 0 else EIO, stage_end(station))
    return GO_ON


cdef Step read_placed(Station *station, Client *client, const Place *place) noexcept nogil:
    # A header here, its data from the page cache.
    cdef Request *request = &client.request
    begin_request(station, client)
    client.bytes_read += request.length
    station.done_bytes += request.length
    station.staged += build_header(stage_end(station), request, &client.rules)
    return GO_ON if send_file(station, client, place.fd, place.offset, request.length) else STOP


cdef Step read_mapped(Station *station, Client *client, const char *data) noexcept nogil:
    # A header here, its data from a file in memory.
    cdef Request *request = &client.request
    begin_request(station, client)
    client.bytes_read += request.length
    station.done_bytes += request.length
    station.staged += build_header(stage_end(station), request, &client.rules)
    stage_mapped(station, client.mapping, data, request.length)
    return GO_ON


cdef Step read_now(Station *station, Client *client) noexcept nogil:
    cdef Request *request = &client.request
    cdef Place place
    cdef const char *data
    # What a writable image holds may change before the socket is done with its pages.
    if (
        request.length >= SENDFILE_LEAST
        and client.rules.is_read_only
        and is_read_plain(request, &client.rules)
        and (<Image> client.image).place(request.offset, request.length, &place) == 0
    ):
        return read_placed(station, client, &place)
    data = find_mapped(client.mapping, client.image, &station.belief, station.now, request.offset, request.length) if (
        client.mapping != NULL and is_read_plain(request, &client.rules)
    ) else NULL
    if data != NULL:
        return read_mapped(station, client, data)
    return read_copied(station, client)


cdef Step begin_write(Station *station, Client *client) noexcept nogil:
    client.filling = make_parcel(client, REPLY_ROOM + <size_t> client.request.length)
    client.filled = 0
    if client.filling == NULL:
        client.has_request = False
        client.refusal.error = error_of(ENOMEM)
        client.refusal.message = b"out of memory"
        client.drain = client.request.length
    else:
        hold(client)
    return GO_ON


cdef Step fill(Station *station, Client *client) noexcept nogil:
    # A WRITE's data, into the place it is written from.
    cdef char *data = client.filling.bytes + REPLY_ROOM
    cdef size_t missing = client.request.length - client.filled
    cdef size_t got = min(missing, station.in_end - station.in_at)
    if got:
        memcpy(data + client.filled, station.inbox + station.in_at, got)
        station.in_at += got
    elif missing:
        got = take_in(client, data + client.filled, min(missing, <size_t> TURN_BYTES), 0)
        if got == 0:
            return STOP
    client.filled += got
    station.done_bytes += got
    if got < missing:
        return GO_ON
    if hand_over(station, client, client.filling, TASK_WRITE) == STOP:
        return STOP
    client.filling = NULL
    return GO_ON


cdef Step admit(Station *station, Client *client) noexcept nogil:
    cdef Request *request = &client.request
    cdef uint64_t weight = request.length if holds_data(request.kind) else 0
    # Whatever its size, one request is always let in.
    if client.in_flight and (
        client.in_flight >= station.requests_most or client.bytes_in_flight + weight > station.bytes_most
    ):
        return STOP
    if request.kind == KIND_READ:
        return read_now(station, client)
    if request.kind == KIND_WRITE:
        return begin_write(station, client)
    if request.kind == KIND_WRITE_ZEROES:
        return send_to_workers(station, client, TASK_ZERO if request.flags & FLAG_NO_HOLE else TASK_PUNCH)
    if request.kind == KIND_TRIM:
        return send_to_workers(station, client, TASK_TRIM)
    if request.kind == KIND_CACHE:
        return send_to_workers(station, client, TASK_WARM)
    if request.kind == KIND_FLUSH and client.rules.is_read_only:
        return answer_success(station, client)
    if request.kind == KIND_FLUSH:
        return send_to_workers(station, client, TASK_FLUSH)
    begin_request(station, client)
    hold(client)
    note(station, client, request, 0)  # BLOCK_STATUS: rare, and extents are Python's
    return GO_ON


cdef Step next_request(Station *station, Client *client) noexcept nogil:
    if station.in_end - station.in_at < REQUEST_SIZE:
        return GO_ON if receive(station, client) else STOP
    if not parse_request(station.inbox + station.in_at, &client.request):
        client.ending = MALFORMED
        return STOP
    station.in_at += REQUEST_SIZE
    client.refusal = check_request(&client.request, &client.rules)
    if client.refusal.error:
        client.drain = client.request.length if client.request.kind == KIND_WRITE else 0
    elif client.request.kind == KIND_DISC:
        client.is_leaving = True
        return STOP
    else:
        client.has_request = True
    return GO_ON


cdef Step advance(Station *station, Client *client) noexcept nogil:
    if client.is_dead or client.is_leaving:
        return STOP
    if client.drain:
        return pass_over(station, client)
    if client.refusal.error:
        return refuse(station, client)
    if client.filling != NULL:
        return fill(station, client)
    if client.has_request:
        return admit(station, client)
    return next_request(station, client)


cdef void unpack(Station *station, Client *client) noexcept nogil:
    # Bytes that an earlier turn left.
    station.in_at = 0
    station.in_end = client.kept_length
    if client.kept != NULL:
        memcpy(station.inbox, client.kept, client.kept_length)
        free(client.kept)
        client.kept = NULL
        client.kept_length = 0


cdef void put_away(Station *station, Client *client) noexcept nogil:
    cdef size_t rest = station.in_end - station.in_at
    if rest == 0 or client.is_dead or client.is_leaving:
        return
    client.kept = <char *> malloc(rest)
    if client.kept == NULL:
        end_client(station, client, STARVED)
        return
    memcpy(client.kept, station.inbox + station.in_at, rest)
    client.kept_length = rest


cdef bint is_turn_over(Station *station, uint64_t requests, uint64_t bytes) noexcept nogil:
    return station.done_requests - requests >= TURN_REQUESTS or station.done_bytes - bytes >= TURN_BYTES


cdef bint is_stage_full(const Station *station) noexcept nogil:
    return station.staged + station.mapped >= station.gather or station.parted > PARTS_MOST - 3


cdef void take_turn(Station *station, Client *client) noexcept nogil:
    cdef uint64_t requests = station.done_requests, bytes = station.done_bytes
    if not send_outbox(station, client):
        return  # parked: the socket's next event readies it
    unpack(station, client)
    while advance(station, client) == GO_ON:
        if is_stage_full(station) and not send_stage(station, client):
            break
        if is_turn_over(station, requests, bytes):
            make_ready(station, client)
            break
    if not client.is_dead and station.staged:
        send_stage(station, client)
    clear_stage(station)
    if client.ending != LIVES:
        end_client(station, client, client.ending)
    put_away(station, client)
    if client.is_leaving and client.in_flight == 0 and client.outbox == NULL:
        end_client(station, client, DISCONNECTED)


cdef Parcel *shrunk(Parcel *parcel, size_t length) noexcept nogil:
    # A WRITE's data is not held while its reply waits for a client that does not read.
    if parcel.request.kind != KIND_WRITE:
        return parcel
    cdef Parcel *smaller = <Parcel *> realloc(parcel, sizeof(Parcel) + length)
    if smaller == NULL:
        return parcel
    smaller.bytes = <char *> (smaller + 1)
    return smaller


cdef void take_back(Station *station, Parcel *parcel) noexcept nogil:
    # What the workers are done with becomes its reply.
    cdef Client *client = parcel.owner
    cdef Request *request = &parcel.request
    cdef size_t begin = 0, length
    client.tasks -= 1
    if client.is_dead:
        free(parcel)
        return
    release(client, request)
    if parcel.task.result < 0:
        length = build_failure(station, client, request, -parcel.task.result, parcel.bytes)
    elif request.kind == KIND_READ:
        client.bytes_read += request.length
        begin = reply_begin(&client.rules)
        length = build_read(parcel.bytes, request, &client.rules)
    else:
        client.bytes_written += request.length if request.kind == KIND_WRITE else 0
        length = build_success(parcel.bytes, request)
    if client.is_dead:  # for want of memory to tell of the failure
        free(parcel)
        return
    post(client, shrunk(parcel, begin + length), begin, length)
    make_ready(station, client)
