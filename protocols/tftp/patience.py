"""How long to wait before sending again: RFC 6298 for TFTP's lock step, or the interval that the client asked for."""

FIRST_RTO = 1.0  # seconds; RFC 6298 §2.1: before the first measurement
MAX_RTO = 16.0  # seconds; so that a machine that comes back within the total limit is found again
UNMEASURED_IN_A_ROW = 3  # blocks answered only after resending, before the longer wait is believed
ALPHA, BETA, K = 1 / 8, 1 / 4, 4  # RFC 6298 §2.3


class Patience:
    """The retransmission timeout of one transfer.

    Without RFC 2349's `timeout` option it follows the measured round trips and doubles with each resending; with it,
    it is that many seconds, always: the client asked for an interval, not for a first guess.
    """

    __slots__ = ("_deviation", "_fixed", "_minimum", "_rto", "_smoothed", "_unmeasured")

    def __init__(self, *, minimum: float, asked: int | None) -> None:
        self._minimum = minimum
        self._fixed = asked is not None
        self._rto = FIRST_RTO if asked is None else float(asked)
        self._smoothed: float | None = None
        self._deviation = 0.0
        self._unmeasured = 0

    @property
    def seconds(self) -> float:
        """The wait from now on, in seconds."""
        return self._rto

    def measure(self, round_trip: float) -> None:
        """One round trip, in seconds, of something sent only once (Karn's rule, RFC 6298 §3)."""
        if self._fixed:
            return
        self._unmeasured = 0
        if self._smoothed is None:
            self._smoothed = round_trip
            self._deviation = round_trip / 2
        else:
            self._deviation += BETA * (abs(self._smoothed - round_trip) - self._deviation)
            self._smoothed += ALPHA * (round_trip - self._smoothed)
        self._rto = self._measured(self._smoothed)

    def recover(self) -> None:
        """Something that was sent more than once was answered: back to the measured wait.

        RFC 6298 §5.7 would keep the doubled wait until the next measurement; on a lossy LAN that makes each loss
        cost what several did. Only when it happens again and again have round trips really become longer.
        """
        self._unmeasured += 1
        if self._smoothed is not None and not self._fixed and self._unmeasured < UNMEASURED_IN_A_ROW:
            self._rto = self._measured(self._smoothed)

    def back_off(self) -> None:
        """Something had to be sent again: wait twice as long for it (RFC 6298 §5.5)."""
        if not self._fixed:
            self._rto = min(self._rto * 2, MAX_RTO)

    def _measured(self, smoothed: float) -> float:
        return min(max(smoothed + K * self._deviation, self._minimum), MAX_RTO)
