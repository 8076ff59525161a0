"""NBD's handshake, server side, without I/O: bytes in, replies and questions out, an agreement in the end.

NBD proto.md: Newstyle negotiation, Option types. Fixed newstyle only. Left out: TLS (a boot LAN's clients
have no keys), extended headers, and every metadata context but `base:allocation`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto

from typing_extensions import Buffer

from protocols.errors import SessionError, WireError
from protocols.nbd import options, wire
from protocols.nbd.limits import NbdLimits
from protocols.nbd.wire import ClientFlag, HandshakeFlag, InfoType, Option, OptionReply, TransmissionFlag

SECTOR = 512  # bytes; the smallest block of a client that asked for block sizes, as of every kernel
PREFERRED_BLOCK = 4096  # bytes; the page cache's
ALLOCATION_NUMBER = 1  # what we call base:allocation in BLOCK_STATUS replies


@dataclass(frozen=True, slots=True)
class ExportAsked:
    """The client named an export: answer with `found` or `missing` before anything else happens."""

    name: str


@dataclass(frozen=True, slots=True)
class NamesAsked:
    """The client wants the list of exports: answer with `list_names`."""


@dataclass(frozen=True, slots=True)
class Ended:
    """No transmission will follow: send what is to be sent, then close."""

    reason: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """What both sides settled on: all that transmission needs to know."""

    export: str
    size: int
    flags: TransmissionFlag
    structured: bool  # READ is answered by chunks
    allocation: bool  # BLOCK_STATUS may be asked
    minimum_block: int  # bytes; every offset and length is a multiple of it


HandshakeEvent = ExportAsked | NamesAsked | Ended


class _State(Enum):
    FLAGS = auto()
    HEADER = auto()
    DATA = auto()
    DRAIN = auto()
    WAITING = auto()
    ENDING = auto()
    OVER = auto()


def describe_export(size: int, *, writable: bool) -> str:
    """The sentence shown by clients that ask for a description."""
    return f"{size} bytes, {'writable' if writable else 'read-only'}"


def flags_of(*, writable: bool, structured: bool) -> TransmissionFlag:
    """What an export can do.

    More than one connection is fine where nothing is written. A machine's own disk has one at a time
    (storage/lease.pyx): programs that were told otherwise would end their own first one.
    """
    flags = TransmissionFlag.HAS_FLAGS | TransmissionFlag.SEND_FLUSH | TransmissionFlag.SEND_CACHE
    if writable:
        flags |= TransmissionFlag.SEND_FUA | TransmissionFlag.SEND_TRIM | TransmissionFlag.SEND_WRITE_ZEROES
    else:
        flags |= TransmissionFlag.READ_ONLY | TransmissionFlag.CAN_MULTI_CONN
    if structured:
        flags |= TransmissionFlag.SEND_DF
    return flags


class Handshake:
    """One client's negotiation: `receive` bytes, take events by `next_event`, send what `take_output` gives."""

    __slots__ = (
        "_answer",
        "_buffer",
        "_client",
        "_context_export",
        "_drain",
        "_header",
        "_limits",
        "_needed",
        "_options",
        "_output",
        "_reason",
        "_state",
        "_structured",
    )

    def __init__(self, limits: NbdLimits) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._output = [wire.build_greeting(HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES)]
        self._state = _State.FLAGS
        self._needed = wire.CLIENT_FLAGS.size
        self._client = ClientFlag(0)
        self._header = wire.OptionHeader(0, 0)
        self._answer: Callable[[int, bool], Agreement | None] = _no_question
        self._options = 0
        self._drain = 0
        self._structured = False
        self._context_export: str | None = None  # the export whose base:allocation the client selected
        self._reason = ""

    @property
    def wants_data(self) -> bool:
        """Whether more bytes would be looked at now: not while a question is open, nor after the end."""
        return self._state in (_State.FLAGS, _State.HEADER, _State.DATA, _State.DRAIN)

    def receive(self, data: Buffer) -> None:
        """Take bytes from the client, any number of them."""
        self._buffer += data

    def take_output(self) -> bytes:
        """The bytes to send now, once."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    def take_rest(self) -> bytes:
        """The bytes received past the handshake, once: they belong to transmission."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def next_event(self) -> HandshakeEvent | None:
        """What to do next, or None until more is received or the open question answered.

        Raises: WireError when the client speaks something else; close the connection then.
        """
        while self.wants_data and (len(self._buffer) >= self._needed):
            event = self._step()
            if event is not None:
                return event
        if self._state is _State.ENDING:
            self._state = _State.OVER
            return Ended(self._reason)
        return None

    def found(self, size: int, *, writable: bool) -> Agreement | None:
        """Answer ExportAsked: it exists, with `size` bytes. An agreement means that transmission begins."""
        self._to_header()
        return self._answer(size, writable)

    def missing(self, message: str, *, forbidden: bool = False) -> None:
        """Answer ExportAsked: this client can't have it; `message` is shown to the user."""
        if self._header.option == Option.EXPORT_NAME:
            self._end("refused")  # the protocol has no error for this option: the connection closes
            return
        self._to_header()
        self._reply(
            OptionReply.ERR_POLICY if forbidden else OptionReply.ERR_UNKNOWN, message.encode()[: wire.STRING_MAX]
        )

    def list_names(self, names: Iterable[str]) -> None:
        """Answer NamesAsked; names too long for the protocol are left out."""
        self._to_header()
        for name in names:
            if len(name.encode()) <= wire.STRING_MAX:
                self._reply(OptionReply.SERVER, options.build_text(name))
        self._reply(OptionReply.ACK)

    def _step(self) -> HandshakeEvent | None:
        if self._state is _State.DRAIN:
            self._on_drain()
            return None
        data = bytes(self._buffer[: self._needed])
        del self._buffer[: self._needed]
        if self._state is _State.FLAGS:
            self._client = wire.parse_client_flags(data)
            self._to_header()
            return None
        if self._state is _State.HEADER:
            self._on_header(wire.parse_option_header(data))
            return None
        return self._on_data(data)

    def _on_drain(self) -> None:
        passed = min(self._drain, len(self._buffer))
        del self._buffer[:passed]
        self._drain -= passed
        if not self._drain:
            self._to_header()

    def _on_header(self, header: wire.OptionHeader) -> None:
        self._header = header
        self._options += 1
        if not self._client & ClientFlag.FIXED_NEWSTYLE and header.option != Option.EXPORT_NAME:
            raise WireError(f"option {header.option} from a client that is not fixed newstyle")
        if self._options > self._limits.options:
            self._reply(OptionReply.ERR_POLICY, b"too many options")
            self._end("too_many_options")
        elif header.length > self._limits.option_size:
            self._on_oversized(header)
        else:
            self._state, self._needed = _State.DATA, header.length

    def _on_oversized(self, header: wire.OptionHeader) -> None:
        if header.option == Option.EXPORT_NAME:
            self._end("refused")
            return
        self._reply(OptionReply.ERR_TOO_BIG, b"option is too long")
        if header.length > self._limits.option_drained:
            self._end("option_too_big")
        else:
            self._state, self._needed, self._drain = _State.DRAIN, 1, header.length

    def _on_data(self, data: bytes) -> HandshakeEvent | None:
        handler = _HANDLERS.get(self._header.option)
        self._to_header()
        try:
            if handler is None:
                raise SessionError("option is not supported here", OptionReply.ERR_UNSUP)
            return handler(self, data)
        except WireError as failure:
            if self._header.option == Option.EXPORT_NAME:
                raise
            self._reply(OptionReply.ERR_INVALID, str(failure).encode())
        except SessionError as refusal:
            self._reply(OptionReply(refusal.reply_code), refusal.message.encode())
        return None

    def _on_export_name(self, data: bytes) -> HandshakeEvent:
        name = wire.parse_text(data)

        def answer(size: int, writable: bool) -> Agreement:
            agreement = self._agree(name, size, writable, minimum_block=1)
            no_zeroes = bool(self._client & ClientFlag.NO_ZEROES)
            self._output.append(wire.build_export_name_reply(size, agreement.flags, no_zeroes=no_zeroes))
            return agreement

        return self._ask(name, answer)

    def _on_abort(self, data: bytes) -> None:
        self._reply(OptionReply.ACK)
        self._end("aborted")

    def _on_list(self, data: bytes) -> HandshakeEvent:
        _require_empty(data)
        self._state = _State.WAITING
        return NamesAsked()

    def _on_info(self, data: bytes) -> HandshakeEvent:
        asked = options.parse_info_request(data)
        is_go = self._header.option == Option.GO

        def answer(size: int, writable: bool) -> Agreement | None:
            flags = flags_of(writable=writable, structured=self._structured)
            self._reply(OptionReply.INFO, options.build_export_fact(size, flags))
            self._tell_facts(asked, describe_export(size, writable=writable))
            self._reply(OptionReply.ACK)
            if not is_go:
                return None
            # Who did not ask for block sizes has agreed to none, and may send any (proto.md: Block size constraints).
            minimum = SECTOR if InfoType.BLOCK_SIZE in asked.wanted else 1
            return self._agree(asked.name, size, writable, minimum_block=minimum)

        return self._ask(asked.name, answer)

    def _on_structured_reply(self, data: bytes) -> None:
        _require_empty(data)
        self._structured = True
        self._reply(OptionReply.ACK)

    def _on_meta_context(self, data: bytes) -> HandshakeEvent:
        is_set = self._header.option == Option.SET_META_CONTEXT
        if is_set:
            self._context_export = None  # whatever comes of it, the last selection is gone
        if not self._structured:
            raise SessionError("structured replies come first", OptionReply.ERR_INVALID)
        asked = options.parse_meta_request(data)

        def answer(size: int, writable: bool) -> None:
            if not _selects_allocation(asked, is_set=is_set):
                self._reply(OptionReply.ACK)
                return
            if is_set:
                self._context_export = asked.name
            number = ALLOCATION_NUMBER if is_set else 0
            self._reply(OptionReply.META_CONTEXT, options.build_meta_context(number, wire.ALLOCATION_CONTEXT))
            self._reply(OptionReply.ACK)

        return self._ask(asked.name, answer)

    def _tell_facts(self, asked: options.InfoRequest, description: str) -> None:
        # The default export's own name is its finder's secret: NAME may be left out, so it is.
        if InfoType.NAME in asked.wanted and asked.name:
            self._reply(OptionReply.INFO, options.build_text_fact(InfoType.NAME, asked.name))
        if InfoType.DESCRIPTION in asked.wanted:
            self._reply(OptionReply.INFO, options.build_text_fact(InfoType.DESCRIPTION, description))
        if InfoType.BLOCK_SIZE in asked.wanted:
            fact = options.build_block_size_fact(SECTOR, PREFERRED_BLOCK, self._limits.payload)
            self._reply(OptionReply.INFO, fact)

    def _agree(self, name: str, size: int, writable: bool, *, minimum_block: int) -> Agreement:
        self._state = _State.OVER
        return Agreement(
            export=name,
            size=size,
            flags=flags_of(writable=writable, structured=self._structured),
            structured=self._structured,
            allocation=self._context_export == name,
            minimum_block=minimum_block,
        )

    def _ask(self, name: str, answer: Callable[[int, bool], Agreement | None]) -> ExportAsked:
        self._state = _State.WAITING
        self._answer = answer
        return ExportAsked(name)

    def _reply(self, kind: OptionReply, data: bytes = b"") -> None:
        self._output.append(wire.build_option_reply(self._header.option, kind, data))

    def _to_header(self) -> None:
        self._state, self._needed = _State.HEADER, wire.OPTION_HEADER.size

    def _end(self, reason: str) -> None:
        self._state, self._reason = _State.ENDING, reason


def _no_question(size: int, writable: bool) -> None:
    raise AssertionError("no export was asked for")


def _require_empty(data: bytes) -> None:
    if data:
        raise WireError("option takes no data")


def _selects_allocation(asked: options.MetaRequest, *, is_set: bool) -> bool:
    if is_set:
        return wire.ALLOCATION_CONTEXT in asked.queries
    return not asked.queries or bool({"base:", wire.ALLOCATION_CONTEXT}.intersection(asked.queries))


_HANDLERS: dict[int, Callable[[Handshake, bytes], HandshakeEvent | None]] = {
    Option.EXPORT_NAME: Handshake._on_export_name,
    Option.ABORT: Handshake._on_abort,
    Option.LIST: Handshake._on_list,
    Option.INFO: Handshake._on_info,
    Option.GO: Handshake._on_info,
    Option.STRUCTURED_REPLY: Handshake._on_structured_reply,
    Option.LIST_META_CONTEXT: Handshake._on_meta_context,
    Option.SET_META_CONTEXT: Handshake._on_meta_context,
}
