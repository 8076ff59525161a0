"""One TFTP transfer as a state machine, seen from the server: what reading and writing have in common.

It takes datagrams and the time, and gives datagrams, the time it wants to be woken and, once, an outcome. It never
reads a clock and holds no socket. RFC 1350 §2, §6, §7; RFC 2347; RFC 7440.
"""

from abc import ABC, abstractmethod
from enum import StrEnum

from protocols.tftp.options import Terms
from protocols.tftp.patience import Patience
from protocols.tftp.wire import Ack, Data, Error, ErrorCode, OptionAck, Request, build_error, build_oack, parse_packet

GIVE_UP_AFTER = 120.0  # seconds without progress; quirk T-12
PATIENT_TRIES = 3  # a client that asked for a long `timeout` is waited for at least this many of them
START_RESENDS = 5  # of an OACK nobody answers: 31 s with the first RTO; `curl -I` leaves it so (quirk T-24)


class Outcome(StrEnum):
    """How a transfer ended."""

    COMPLETED = "completed"
    PROBED = "probed"  # the client only wanted to know the options, usually the size (quirks T-1, T-24)
    ABORTED = "aborted"  # the client sent ERROR, or began anew
    TIMED_OUT = "timed_out"
    FAILED = "failed"  # we could not go on


class Transfer(ABC):
    """Feed `receive` and `handle_timer`; then send `take_datagrams`, and wake it at `next_timeout`."""

    __slots__ = ("_deadline", "_give_up_after", "_outbox", "_patience", "_progress_at", "_silent_resends", "heard_at",
                 "outcome", "resent", "terms")  # fmt: skip

    def __init__(self, terms: Terms, *, minimum_rto: float, give_up_after: float, now: float) -> None:
        self.terms = terms
        self.outcome: Outcome | None = None
        self.resent = 0  # datagrams that were sent again
        self.heard_at: float | None = None  # when the client last sent anything that belongs to the transfer
        self._patience = Patience(minimum=minimum_rto, asked=terms.timeout)
        self._give_up_after = max(give_up_after, PATIENT_TRIES * (terms.timeout or 0))
        self._outbox: list[bytes] = []
        self._deadline: float | None = None
        self._progress_at = now
        self._silent_resends = 0  # since the client was last heard

    @property
    @abstractmethod
    def size(self) -> int:
        """Payload bytes that have surely arrived where they should."""

    @property
    def is_closed(self) -> bool:
        """Whether nothing can come any more, so that the socket may go."""
        return self.outcome is not None and self._deadline is None

    def take_datagrams(self) -> list[bytes]:
        """What is to be sent now, in order."""
        taken, self._outbox = self._outbox, []
        return taken

    def next_timeout(self) -> float | None:
        """When `handle_timer` wants to be called, on the caller's clock; None for not at all."""
        return self._deadline

    def receive(self, datagram: bytes, now: float) -> None:
        """One datagram of the client. Packets that make no sense here are ignored. Raises: WireError, unchanged."""
        packet = parse_packet(datagram)
        if not isinstance(packet, Request | OptionAck):
            self.heard_at = now
            self._silent_resends = 0
            self._on_packet(packet, now)

    def handle_timer(self, now: float) -> None:
        """Called at `next_timeout` or earlier; earlier is without effect."""
        if self._deadline is None or now < self._deadline:
            return
        self._on_timeout(now)

    @abstractmethod
    def repeat_answer(self, now: float) -> bool:
        """Answer a repeated request again, if nothing but the first answer was ever sent; whether that was so."""

    def abandon(self) -> None:
        """The client began something else with the same port."""
        if self.outcome is None:
            self._finish(Outcome.ABORTED)
        self._deadline = None

    def fail(self, code: ErrorCode, message: str) -> None:
        """Something on our side broke: tell the client, and end."""
        if self.outcome is None:
            self._outbox.append(build_error(code, message))
            self._finish(Outcome.FAILED)
        self._deadline = None

    @abstractmethod
    def _on_packet(self, packet: Data | Ack | Error, now: float) -> None: ...

    @abstractmethod
    def _on_timeout(self, now: float) -> None: ...

    def _is_hopeless(self, now: float) -> bool:
        return now - self._progress_at >= self._give_up_after

    def _send_oack(self) -> None:
        self._outbox.append(build_oack(self.terms.answer))

    def _arm(self, now: float) -> None:
        self._deadline = now + self._patience.seconds

    def _count_resending(self, datagrams: int) -> None:
        self._patience.back_off()
        self._silent_resends += 1
        self.resent += datagrams

    def _finish(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self._deadline = None
