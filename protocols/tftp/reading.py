"""A read request, served: OACK, then windows of DATA, each sent when the one before is acknowledged.

RFC 1350 with RFC 7440's windows; windowsize 1 is the plain lock step. A duplicate ACK never causes anything to be sent
(the sorcerer's apprentice, RFC 1123 §4.2.3.1); an ACK in the middle of a window does: what follows it was lost.
"""

from protocols.tftp.content import Content
from protocols.tftp.options import Terms
from protocols.tftp.transfer import GIVE_UP_AFTER, START_RESENDS, Outcome, Transfer
from protocols.tftp.wire import BLOCK_NUMBERS, Ack, Data, Error, build_data

MIN_RTO = 0.05  # seconds; above the scheduling noise of both ends on a LAN, so that only loss costs a resending
FINAL_RESENDS = 3  # of a last window nobody answers: the client is gone into what it loaded (quirk T-11)


class ReadTransfer(Transfer):
    """Sends a file. `wants` names the bytes it needs next; give them to `supply`."""

    __slots__ = ("_acked", "_content", "_is_offering", "_is_window_due", "_last", "_sent", "_sent_at", "_sent_once")

    def __init__(self, terms: Terms, content: Content, now: float, *, give_up_after: float = GIVE_UP_AFTER) -> None:
        super().__init__(terms, minimum_rto=MIN_RTO, give_up_after=give_up_after, now=now)
        self._content = content
        self._acked = 0  # blocks count from 1 and do not wrap
        self._sent = 0
        self._last: int | None = None  # known once the short block was sent
        self._sent_at = now
        self._sent_once = True  # what is under way now was never sent before: fit for measuring
        self._is_offering = bool(terms.answer)
        self._is_window_due = not self._is_offering
        if self._is_offering:
            self._send_oack()
            self._arm(now)

    @property
    def size(self) -> int:
        """Payload bytes that the client acknowledged."""
        return self._content.size_through(self._acked)

    def wants(self) -> tuple[int, int] | None:
        """(offset, length) of the file, or None when no bytes are needed now."""
        if not self._is_window_due or self.outcome is not None:
            return None
        return self._content.require(self._acked + 1, self.terms.windowsize)

    def supply(self, offset: int, data: bytes, now: float) -> None:
        """The bytes that `wants` named; after an end they are dropped."""
        if self.outcome is None:
            self._content.supply(offset, data)
            self.advance(now)

    def advance(self, now: float) -> None:
        """Send the next window if it is due and its bytes are there."""
        if self._is_window_due and self.wants() is None and self.outcome is None:
            self._is_window_due = False
            self._send_window(now)

    def repeat_answer(self, now: float) -> bool:
        """As `Transfer.repeat_answer`: the OACK, or block 1."""
        has_advanced = self._acked > 0 or (bool(self.terms.answer) and not self._is_offering)
        if has_advanced or self.outcome is not None:
            return False
        if not self._is_window_due:
            self._resend(now)
        return True

    def _on_packet(self, packet: Data | Ack | Error, now: float) -> None:
        if self.outcome is not None or isinstance(packet, Data):
            return
        if isinstance(packet, Error):
            # Straight after the OACK it is a probe whatever the code: UEFI says 8, Intel's ROMs "0 TFTP Aborted".
            self._finish(Outcome.PROBED if self._is_offering else Outcome.ABORTED)
        elif self._is_offering:
            if packet.block == 0:
                self._is_offering = False
                self._on_progress(now)
        else:
            self._on_ack((packet.block - self._acked) % (BLOCK_NUMBERS - self.terms.wrap), now)

    def _on_ack(self, ahead: int, now: float) -> None:
        if not 0 < ahead <= self._sent - self._acked:
            return  # a duplicate or an old one: never a reason to send (quirk T-8)
        self._acked += ahead
        if self._acked == self._last:
            self._finish(Outcome.COMPLETED)
            return
        self.resent += self._sent - self._acked
        self._on_progress(now)

    def _on_progress(self, now: float) -> None:
        self._progress_at = now
        if self._sent_once:
            self._patience.measure(now - self._sent_at)
        else:
            self._patience.recover()
        self._sent_once = self._sent == self._acked
        self._is_window_due = True
        self._deadline = None  # nothing is under way until the bytes are there
        self.advance(now)

    def _send_window(self, now: float) -> None:
        for number in range(self._acked + 1, self._acked + 1 + self.terms.windowsize):
            payload = self._content.payload(number)
            wrap = self.terms.wrap
            self._outbox.append(build_data((number - wrap) % (BLOCK_NUMBERS - wrap) + wrap, payload))
            self._sent = number
            if len(payload) < self.terms.blksize:
                self._last = number
                break
        self._sent_at = now
        self._arm(now)

    def _on_timeout(self, now: float) -> None:
        if self._is_offering and (self._silent_resends >= START_RESENDS or self._is_hopeless(now)):
            self._finish(Outcome.PROBED)
        elif self._is_probably_taken():
            self._acked = self._sent
            self._finish(Outcome.COMPLETED)
        elif self._is_hopeless(now):
            self._finish(Outcome.TIMED_OUT)
        else:
            self._resend(now)

    def _is_probably_taken(self) -> bool:
        """All was sent to a client that answered before, and now it is silent: it got what it wanted."""
        return self._sent == self._last and self.heard_at is not None and self._silent_resends >= FINAL_RESENDS

    def _resend(self, now: float) -> None:
        self._sent_once = False
        if self._is_offering:
            self._count_resending(1)
            self._send_oack()
            self._arm(now)
        else:
            self._count_resending(self._sent - self._acked)
            self._send_window(now)
