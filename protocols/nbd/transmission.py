"""NBD's transmission, server side, without I/O: bytes in, commands out; results in, reply bytes out.

NBD proto.md: Transmission phase. A request that breaks a rule becomes an `Answer` with its error and the
connection lives; only bytes that are no request at all raise. Left out: resize and
extended headers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from errno import EDQUOT, EFBIG, EINVAL, ENOMEM, ENOSPC, EPERM, EROFS

from typing_extensions import Buffer

from protocols.nbd import wire
from protocols.nbd.handshake import ALLOCATION_NUMBER, Agreement
from protocols.nbd.limits import NbdLimits
from protocols.nbd.wire import CommandFlag, CommandType, Error, Extent, TransmissionFlag

HOLE_LEAST = 16 << 10  # bytes; shorter runs of zeros are sent: a chunk's header and its handling cost as much
_ZEROS = bytes(HOLE_LEAST)

_ERROR_OF_ERRNO = {
    EPERM: Error.EPERM,
    EROFS: Error.EPERM,
    ENOMEM: Error.ENOMEM,
    EINVAL: Error.EINVAL,
    ENOSPC: Error.ENOSPC,
    EDQUOT: Error.ENOSPC,
    EFBIG: Error.ENOSPC,
}


@dataclass(frozen=True, slots=True)
class Command:
    """A valid request to carry out; hand its result to `answer_read`, `answer_status`, `succeed` or `fail`."""

    type: CommandType
    flags: int  # CommandFlag's bits; making the enumeration's member costs as much as the rest of parsing
    cookie: int
    offset: int
    length: int
    data: Buffer = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes to send as they are: a request was refused."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The client said good-bye: finish what is in flight, then close."""


TransmissionEvent = Command | Answer | Disconnected

_WRITES = (CommandType.WRITE, CommandType.WRITE_ZEROES, CommandType.TRIM)
_TYPES = {int(kind): kind for kind in CommandType}
_KEPT_IN_MEMORY = (CommandType.READ, CommandType.WRITE)  # commands whose length is also bytes that we hold


class _Refusal(Exception):
    def __init__(self, error: Error, message: str) -> None:
        super().__init__(message)
        self.error = error


def error_of(errno: int) -> Error:
    """The protocol's error for a system's errno."""
    return _ERROR_OF_ERRNO.get(errno, Error.EIO)


class Transmission:
    """One client's use of one export: `receive` bytes, carry out what `next_event` gives, answer each command once."""

    __slots__ = (
        "_agreement",
        "_at",
        "_buffer",
        "_bytes_in_flight",
        "_data",
        "_drain",
        "_flags",
        "_is_over",
        "_is_read_only",
        "_limits",
        "_refusal",
        "_request",
        "_requests_in_flight",
    )

    def __init__(self, agreement: Agreement, limits: NbdLimits) -> None:
        self._agreement = agreement
        self._limits = limits
        self._buffer = bytearray()
        self._at = 0  # what is before it in the buffer has been used
        self._request: wire.Request | None = None  # its header is read; it waits for room or for its data
        self._data: bytearray | None = None  # what has come of an admitted WRITE's data
        self._drain = 0  # bytes of a refused WRITE's data still to pass over
        self._refusal: bytes = b""
        self._requests_in_flight = 0
        self._bytes_in_flight = 0
        self._is_over = False
        self._is_read_only = bool(agreement.flags & TransmissionFlag.READ_ONLY)
        self._flags = flags_of_commands(agreement.flags)

    @property
    def requests_in_flight(self) -> int:
        """Commands given out and not answered yet."""
        return self._requests_in_flight

    @property
    def bytes_in_flight(self) -> int:
        """Bytes of data that those commands hold in memory, or will."""
        return self._bytes_in_flight

    @property
    def wants_data(self) -> bool:
        """Whether more bytes would be looked at now: not while the bound is reached, nor after good-bye."""
        if self._is_over:
            return False
        return self._request is None or self._data is not None or self._has_room(self._request)

    def receive(self, data: Buffer) -> None:
        """Take bytes from the client, any number of them."""
        self._buffer += data

    def next_event(self) -> TransmissionEvent | None:
        """What to do next, or None until more is received or, at the bound, a command answered.

        Raises: WireError when the bytes are no request; close the connection then.
        """
        while not self._is_over:
            if self._drain or self._refusal:
                return self._pass_over()
            if self._request is None:
                if len(self._buffer) - self._at < wire.REQUEST.size:
                    break
                self._on_request(wire.parse_request(self._buffer, self._at))
                continue
            event = self._admit(self._request)
            if event is None:
                break
            return event
        self._compact()
        return None

    def succeed(self, command: Command) -> bytes:
        """The reply to a command that was carried out and returns no data."""
        self._release(command)
        return wire.build_simple_reply(command.cookie)

    def fail(self, command: Command, errno: int, message: str) -> bytes:
        """The reply to a command that failed with a system's `errno`; `message` may reach the user."""
        self._release(command)
        return self._refuse(command.type, command.cookie, error_of(errno), message)

    def answer_read(self, command: Command, data: bytes) -> list[bytes | memoryview]:
        """The reply to a READ: the pieces to send, in order; `data` itself is one of them where it can be."""
        self._release(command)
        if not self._agreement.structured:
            return [wire.build_simple_reply(command.cookie), data]
        if not data:
            return [wire.build_chunk_header(command.cookie, wire.ChunkType.NONE, 0, is_last=True)]
        if command.flags & CommandFlag.DF or len(data) < HOLE_LEAST:
            return [wire.build_data_chunk(command.cookie, command.offset, len(data), is_last=True), data]
        return _chunks(command, data)

    def answer_status(self, command: Command, runs: Sequence[tuple[int, bool]]) -> bytes:
        """The reply to a BLOCK_STATUS: `runs` cover its range, or the first part, each (bytes, is it a hole)."""
        self._release(command)
        return build_status(command, runs, self._agreement, self._limits)

    def _on_request(self, request: wire.Request) -> None:
        self._at += wire.REQUEST.size
        try:
            self._check(request)
        except _Refusal as refusal:
            self._refusal = self._refuse(request.type, request.cookie, refusal.error, str(refusal))
            self._drain = request.length if request.type == CommandType.WRITE else 0
        else:
            self._request = request

    def _check(self, request: wire.Request) -> None:
        if request.type == CommandType.DISC:
            return
        if self._is_read_only and request.type in _WRITES:
            raise _Refusal(Error.EPERM, "the export is read-only")
        allowed = self._flags.get(request.type)
        if allowed is None:
            raise _Refusal(Error.EINVAL, "command is not supported here")
        if request.flags & ~allowed:
            raise _Refusal(Error.EINVAL, f"flags {request.flags:#x} do not fit the command")
        if request.type == CommandType.FLUSH:
            if request.offset or request.length:
                raise _Refusal(Error.EINVAL, "a flush has no range")
        else:
            self._check_range(request)

    def _check_range(self, request: wire.Request) -> None:
        if request.type in _KEPT_IN_MEMORY and request.length > self._limits.payload:
            raise _Refusal(Error.EINVAL, f"{request.length} bytes are over the limit of {self._limits.payload}")
        if (request.offset | request.length) % self._agreement.minimum_block:
            raise _Refusal(Error.EINVAL, f"range is not in blocks of {self._agreement.minimum_block} bytes")
        if request.offset + request.length > self._agreement.size:
            error = Error.ENOSPC if request.type in _WRITES else Error.EINVAL
            raise _Refusal(error, f"range leaves the export of {self._agreement.size} bytes")
        if request.type == CommandType.BLOCK_STATUS and not (self._agreement.allocation and request.length):
            raise _Refusal(Error.EINVAL, "no context was selected, or nothing asked")

    def _admit(self, request: wire.Request) -> TransmissionEvent | None:
        if request.type == CommandType.DISC:
            self._is_over = True
            return Disconnected()
        if self._data is None:
            if not self._has_room(request):
                return None
            self._requests_in_flight += 1
            self._bytes_in_flight += _weight(request)
            self._data = bytearray()
        if request.type == CommandType.WRITE and not self._gather(self._data, request.length):
            return None
        data, self._data, self._request = self._data, None, None
        kind = _TYPES[request.type]
        return Command(kind, request.flags, request.cookie, request.offset, request.length, data)

    def _gather(self, data: bytearray, length: int) -> bool:
        wanted = length - len(data)
        data += memoryview(self._buffer)[self._at : self._at + wanted]
        self._at = min(self._at + wanted, len(self._buffer))
        return len(data) == length

    def _pass_over(self) -> Answer | None:
        passed = min(self._drain, len(self._buffer) - self._at)
        self._drain -= passed
        self._at += passed
        if self._drain:
            self._compact()
            return None
        answer, self._refusal = Answer(self._refusal), b""
        return answer

    def _compact(self) -> None:
        del self._buffer[: self._at]
        self._at = 0

    def _has_room(self, request: wire.Request) -> bool:
        if not self._requests_in_flight:
            return True  # whatever its size: one request is always let in
        fits = self._bytes_in_flight + _weight(request) <= self._limits.bytes_in_flight
        return fits and self._requests_in_flight < self._limits.requests_in_flight

    def _release(self, command: Command) -> None:
        self._requests_in_flight -= 1
        self._bytes_in_flight -= _weight(command)

    def _refuse(self, kind: int, cookie: int, error: Error, message: str) -> bytes:
        # Only these two must be answered by chunks once those are agreed on; the rest are shorter without.
        if self._agreement.structured and kind in (CommandType.READ, CommandType.BLOCK_STATUS):
            return wire.build_error_chunk(cookie, error, message)
        return wire.build_simple_reply(cookie, error)


def build_status(command: Command, runs: Sequence[tuple[int, bool]], agreement: Agreement, limits: NbdLimits) -> bytes:
    """The reply to a BLOCK_STATUS: `runs` cover its range, or the first part, each (bytes, is it a hole)."""
    whole = whole_blocks(command.offset, runs, agreement.minimum_block)
    most = 1 if command.flags & CommandFlag.REQ_ONE else limits.extents
    states = [(length, Extent.HOLE | Extent.ZERO if is_hole else Extent(0)) for length, is_hole in whole[:most]]
    return wire.build_status_chunk(command.cookie, ALLOCATION_NUMBER, states)


def flags_of_commands(offered: TransmissionFlag) -> dict[int, int]:
    """The commands that we have, each with the bits it may carry, as plain ints: `~` of a flag drops unnamed bits."""
    everywhere = CommandFlag.FUA if offered & TransmissionFlag.SEND_FUA else CommandFlag(0)
    allowed = dict.fromkeys(CommandType, everywhere)
    if not offered & TransmissionFlag.SEND_TRIM:
        del allowed[CommandType.TRIM]
    if offered & TransmissionFlag.SEND_DF:
        allowed[CommandType.READ] |= CommandFlag.DF
    allowed[CommandType.WRITE_ZEROES] |= CommandFlag.NO_HOLE
    allowed[CommandType.BLOCK_STATUS] |= CommandFlag.REQ_ONE
    return {int(kind): int(flags) for kind, flags in allowed.items()}


def _weight(request: wire.Request | Command) -> int:
    return request.length if request.type in _KEPT_IN_MEMORY else 0


def _chunks(command: Command, data: bytes) -> list[bytes | memoryview]:
    pieces: list[bytes | memoryview] = []
    view = memoryview(data)
    at = 0
    for length, is_hole in zero_runs(data):
        is_last = at + length == len(data)
        offset = command.offset + at
        if is_hole:
            pieces.append(wire.build_hole_chunk(command.cookie, offset, length, is_last=is_last))
        else:
            pieces.append(wire.build_data_chunk(command.cookie, offset, length, is_last=is_last))
            pieces.append(view[at : at + length])
        at += length
    return pieces


def zero_runs(data: bytes) -> list[tuple[int, bool]]:
    """Runs that cover `data`, each (bytes, whether all are zero), told apart in steps of HOLE_LEAST.

    The bytes are in memory already: comparing them costs less than asking the file system for its holes, never
    waits for its metadata, and finds the zeros that images of every kind have.
    """
    whole = len(data) // HOLE_LEAST * HOLE_LEAST
    steps = [(HOLE_LEAST, data.startswith(_ZEROS, at)) for at in range(0, whole, HOLE_LEAST)]
    if whole < len(data):
        steps.append((len(data) - whole, False))
    return merge_runs(steps)


def merge_runs(runs: Iterable[tuple[int, bool]]) -> list[tuple[int, bool]]:
    """The same runs with neighbours of one kind made one, and empty ones gone."""
    merged: list[tuple[int, bool]] = []
    for length, is_hole in runs:
        if not length:
            continue
        if merged and merged[-1][1] == is_hole:
            length += merged.pop()[0]
        merged.append((length, is_hole))
    return merged


def whole_blocks(offset: int, runs: Iterable[tuple[int, bool]], block: int) -> list[tuple[int, bool]]:
    """`runs` from `offset` on, with every boundary between two moved to a multiple of `block`.

    A block that is a hole only in part counts as data: the other way round, bytes would be lost.
    """
    moved: list[tuple[int, bool]] = []
    at = begin = offset
    for length, is_hole in runs:
        at += length
        # A hole ends early and data ends late; the last run's end is the request's, a multiple already.
        end = at // block * block if is_hole else -(-at // block) * block
        end = max(end, begin)
        moved.append((end - begin, is_hole))
        begin = end
    return merge_runs(moved)
