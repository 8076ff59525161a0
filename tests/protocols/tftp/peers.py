"""A TFTP client as a state machine, and the virtual, lossy wire that joins it to a server's transfer."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from protocols.tftp.content import NetasciiContent, OctetContent
from protocols.tftp.options import Mode, Terms
from protocols.tftp.reading import ReadTransfer
from protocols.tftp.wire import Ack, Data, OptionAck, build_ack, build_data, parse_packet
from protocols.tftp.writing import WriteTransfer

CLIENT_INTERVAL = 1.0  # seconds between a client's own attempts
END_OF_TIME = 10_000.0  # seconds; a simulation that gets here hangs


class Client(Protocol):
    """What the wire needs of either client."""

    is_done: bool

    def receive(self, datagram: bytes) -> list[bytes]:
        """Answers to one datagram."""

    def tick(self) -> list[bytes]:
        """What to send when nothing came for a while."""


class ReadingClient:
    """Fetches a file: acknowledges each window, and on a gap the last block in order, as RFC 7440 says."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.received = bytearray()
        self.blocks = 0
        self.is_done = False
        self._in_window = 0
        self._is_agreed = not terms.answer

    def receive(self, datagram: bytes) -> list[bytes]:
        """As `Client.receive`."""
        packet = parse_packet(datagram)
        if isinstance(packet, OptionAck):
            self._is_agreed = True
            return [] if self.blocks else [build_ack(0)]
        if not isinstance(packet, Data) or not self._is_agreed:
            return []
        ahead = (packet.block - self.blocks) % 65536
        if ahead == 1 and not self.is_done:
            return self._accept(bytes(packet.payload))
        if ahead == 0 or 1 < ahead <= self.terms.windowsize:
            self._in_window = 0
            return [build_ack(self.blocks)]
        return []

    def tick(self) -> list[bytes]:
        """As `Client.tick`."""
        return [build_ack(self.blocks)] if self._is_agreed and self.blocks else []

    def _accept(self, payload: bytes) -> list[bytes]:
        self.received += payload
        self.blocks += 1
        self._in_window += 1
        self.is_done = len(payload) < self.terms.blksize
        if not self.is_done and self._in_window < self.terms.windowsize:
            return []
        self._in_window = 0
        return [build_ack(self.blocks)]


class WritingClient:
    """Sends a file by windows; resends from the last acknowledged block after a gap or a silence."""

    def __init__(self, terms: Terms, plain: bytes) -> None:
        self.terms = terms
        self.plain = plain
        self.acked = 0
        self.is_done = False
        self._sent = 0
        self._last = len(plain) // terms.blksize + 1

    def receive(self, datagram: bytes) -> list[bytes]:
        """As `Client.receive`."""
        packet = parse_packet(datagram)
        if isinstance(packet, OptionAck):
            packet = Ack(0)
        if not isinstance(packet, Ack):
            return []
        ahead = (packet.block - self.acked) % 65536
        if ahead == 0 and self._sent:
            return []
        if ahead > self._sent - self.acked:
            return []
        self.acked += ahead
        self.is_done = self.acked == self._last
        return [] if self.is_done else self._window()

    def tick(self) -> list[bytes]:
        """As `Client.tick`."""
        return self._window() if self._sent and not self.is_done else []

    def _window(self) -> list[bytes]:
        self._sent = min(self.acked + self.terms.windowsize, self._last)
        return [build_data(n, self._block(n)) for n in range(self.acked + 1, self._sent + 1)]

    def _block(self, number: int) -> bytes:
        return self.plain[(number - 1) * self.terms.blksize : number * self.terms.blksize]


@dataclass
class Link:
    """How bad the wire is; every fate is drawn from one seed."""

    seed: int
    loss: float = 0.0
    duplication: float = 0.0
    latency: tuple[float, float] = (0.001, 0.001)  # seconds, drawn evenly: a wide range reorders
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def fates(self) -> list[float]:
        """The delays after which copies of one datagram arrive; none when it is lost."""
        copies = 0 if self.dice.random() < self.loss else 1 + (self.dice.random() < self.duplication)
        return [self.dice.uniform(*self.latency) for _ in range(copies)]


def reading_server(plain: bytes, terms: Terms) -> tuple[ReadTransfer, Callable[[float], None]]:
    """A read transfer of `plain`, and what supplies its bytes."""
    content = (OctetContent if terms.mode is Mode.OCTET else NetasciiContent)(len(plain), terms.blksize)
    transfer = ReadTransfer(terms, content, 0.0)

    def move(now: float) -> None:
        while (wanted := transfer.wants()) is not None:
            offset, length = wanted
            transfer.supply(offset, plain[offset : offset + length], now)
        transfer.advance(now)

    return transfer, move


def writing_server(terms: Terms) -> tuple[WriteTransfer, Callable[[float], None], bytearray]:
    """A write transfer, what takes its bytes, and where they go."""
    transfer = WriteTransfer(terms, 0.0)
    stored = bytearray()

    def move(now: float) -> None:
        for piece in transfer.take_received():
            stored.extend(piece)
        if transfer.is_complete and transfer.outcome is None:
            transfer.confirm(now)

    return transfer, move, stored


def simulate(transfer: ReadTransfer | WriteTransfer, move: Callable[[float], None], client: Client, link: Link) -> int:
    """Run both ends on a virtual clock until the server's is closed; how many datagrams the server sent."""
    queue: list[tuple[float, int, str, bytes]] = []
    serial = sent = 0

    def post(now: float, target: str, datagrams: list[bytes]) -> None:
        nonlocal serial
        for datagram in datagrams:
            for delay in link.fates():
                serial += 1
                heapq.heappush(queue, (now + delay, serial, target, datagram))

    now = 0.0
    client_wakes_at = CLIENT_INTERVAL
    while not transfer.is_closed:
        move(now)
        outgoing = transfer.take_datagrams()
        sent += len(outgoing)
        post(now, "client", outgoing)
        if transfer.is_closed:
            break
        deadline = transfer.next_timeout()
        now = max(now, min(t for t in (queue[0][0] if queue else None, deadline, client_wakes_at) if t is not None))
        assert now < END_OF_TIME
        while queue and queue[0][0] <= now:
            _, _, target, datagram = heapq.heappop(queue)
            if target == "client":
                client_wakes_at = now + CLIENT_INTERVAL
                post(now, "server", client.receive(datagram))
            else:
                transfer.receive(datagram, now)
                move(now)
        if now >= client_wakes_at:
            client_wakes_at = now + CLIENT_INTERVAL
            post(now, "server", client.tick())
        transfer.handle_timer(now)
    return sent
