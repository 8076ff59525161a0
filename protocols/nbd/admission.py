"""Who may connect: the bounded count of connections, in all and per client."""

from collections import Counter

from protocols.nbd.limits import NbdLimits


class Admission:
    """Counts connections in and out. Nobody is evicted: at a bound the newest is turned away, mounted roots stay."""

    __slots__ = ("_limits", "_per_client", "_total")

    def __init__(self, limits: NbdLimits) -> None:
        self._limits = limits
        self._per_client: Counter[str] = Counter()
        self._total = 0

    def admit(self, address: str) -> bool:
        """Count a connection in; False when a bound is reached, and then it is not to be released."""
        is_full = self._total >= self._limits.connections
        if is_full or self._per_client[address] >= self._limits.connections_per_client:
            return False
        self._per_client[address] += 1
        self._total += 1
        return True

    def release(self, address: str) -> None:
        """Count a connection out; a client's last one takes its row with it."""
        self._total -= 1
        self._per_client[address] -= 1
        if not self._per_client[address]:
            del self._per_client[address]
