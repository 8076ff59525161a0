"""A write request, served: OACK or ACK 0, then an ACK for each window of DATA that arrived in order.

RFC 1350 with RFC 7440's windows. Bytes come out of `take_received`; the last ACK waits until the file is in its place.
"""

from protocols.tftp.netascii import Decoder
from protocols.tftp.options import Mode, Terms
from protocols.tftp.transfer import GIVE_UP_AFTER, Outcome, Transfer
from protocols.tftp.wire import BLOCK_NUMBERS, Ack, Data, Error, build_ack

MIN_RTO = 0.25  # seconds; the client resends DATA anyway, and some answer a repeated ACK with one DATA too many
DALLY = 8.0  # seconds the last ACK is repeated on demand (RFC 1350 §6): more than the 5 s after which clients ask


class WriteTransfer(Transfer):
    """Receives a file."""

    __slots__ = ("_answered", "_answered_at", "_answered_once", "_decoder", "_has_reported_gap", "_received", "_size",
                 "_taken", "is_complete")  # fmt: skip

    def __init__(self, terms: Terms, now: float, *, give_up_after: float = GIVE_UP_AFTER) -> None:
        super().__init__(terms, minimum_rto=MIN_RTO, give_up_after=give_up_after, now=now)
        self.is_complete = False  # the last block has come: store the file, then call `confirm`
        self._decoder = Decoder() if terms.mode is Mode.NETASCII else None
        self._received = 0  # blocks in order so far; counts from 1 and does not wrap
        self._answered = 0  # the block the last ACK was for
        self._answered_at = now
        self._answered_once = True  # fit for measuring
        self._has_reported_gap = False
        self._taken: list[bytes] = []
        self._size = 0
        self._answer(now)

    @property
    def size(self) -> int:
        """Payload bytes that arrived in order."""
        return self._size

    def take_received(self) -> list[bytes]:
        """Pieces of the file, in order, since the last call."""
        taken, self._taken = self._taken, []
        return taken

    def confirm(self, now: float) -> None:
        """The file is stored: acknowledge its last block, and stay a while to do so again."""
        self._answer(now)
        self._finish(Outcome.COMPLETED)
        self._deadline = now + DALLY

    def repeat_answer(self, now: float) -> bool:
        """As `Transfer.repeat_answer`: the OACK or ACK 0."""
        if self._received or self.outcome is not None:
            return False
        self._answer_again(now)
        return True

    def _on_packet(self, packet: Data | Ack | Error, now: float) -> None:
        if isinstance(packet, Error) and self.outcome is None:
            self._finish(Outcome.ABORTED)
        elif isinstance(packet, Data) and len(packet.payload) <= self.terms.blksize:
            ahead = (packet.block - self._received) % BLOCK_NUMBERS
            if self.outcome is not None:
                self._on_data_after_end(ahead)
            elif not self.is_complete:
                self._on_data(ahead, bytes(packet.payload), now)

    def _on_data_after_end(self, ahead: int) -> None:
        if self.outcome is Outcome.COMPLETED and ahead == 0:
            self._outbox.append(build_ack(self._received))
            self.resent += 1

    def _on_data(self, ahead: int, payload: bytes, now: float) -> None:
        if ahead == 1:
            self._accept(payload, now)
        elif ahead == 0 and self._received and self._answered == self._received:
            self._answer_again(now)  # our ACK was lost
        elif 1 < ahead <= self.terms.windowsize and not self._has_reported_gap:
            self._has_reported_gap = True  # once: each further block of this window would say the same
            self._answer(now)

    def _accept(self, payload: bytes, now: float) -> None:
        if self._answered == self._received and self._answered_once:
            self._patience.measure(now - self._answered_at)
        elif self._answered == self._received:
            self._patience.recover()
        self._answered_once = True
        self._has_reported_gap = False
        self._received += 1
        self._size += len(payload)
        self._progress_at = now
        self.is_complete = len(payload) < self.terms.blksize
        self._taken.append(self._decoder.decode(payload, is_last=self.is_complete) if self._decoder else payload)
        if self.is_complete:
            self._deadline = None
        elif self._received - self._answered >= self.terms.windowsize:
            self._answer(now)
        else:
            self._arm(now)

    def _answer(self, now: float) -> None:
        if self._received == 0 and self.terms.answer:
            self._send_oack()
        else:
            self._outbox.append(build_ack(self._received))
        self._answered = self._received
        self._answered_at = now
        self._arm(now)

    def _answer_again(self, now: float) -> None:
        self._answered_once = False
        self._count_resending(1)
        self._answer(now)

    def _on_timeout(self, now: float) -> None:
        if self.outcome is not None:
            self._deadline = None
        elif self._is_hopeless(now):
            self._finish(Outcome.TIMED_OUT)
        else:
            self._answer_again(now)
