"""How many transfers there may be at once, in all and for each client address."""

from collections import Counter

Address = tuple[str, int]


class Admission:
    """Who is being served. Bounded by what `has_room` says; nobody is put out for a newcomer, who is refused instead:
    a transfer under way is worth more than one that will be asked for again.
    """

    __slots__ = ("_clients", "_most", "_most_per_client", "_peers")

    def __init__(self, *, most: int, most_per_client: int) -> None:
        self._most = most
        self._most_per_client = most_per_client
        self._peers: set[Address] = set()
        self._clients: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._peers)

    def has_room(self, client: str) -> bool:
        """Whether one more of this address can be served."""
        return len(self._peers) < self._most and self._clients[client] < self._most_per_client

    def enter(self, peer: Address) -> None:
        """A request of `peer` is served from now on."""
        self._peers.add(peer)
        self._clients[peer[0]] += 1

    def leave(self, peer: Address) -> None:
        """It no longer is."""
        self._peers.remove(peer)
        self._clients[peer[0]] -= 1
        if not self._clients[peer[0]]:
            del self._clients[peer[0]]

    def holds(self, peer: Address) -> bool:
        """Whether a request of `peer` is being served."""
        return peer in self._peers
