"""A pump without a thread, and clients of it: what the tests of the native pump have in common."""

import random
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from protocols.datagram import udp_socket
from protocols.tftp.options import Mode, Terms
from protocols.tftp.pump import TftpPump
from protocols.tftp.pumped import Counted, Ended, PumpEvent
from protocols.tftp.transfer import Outcome
from storage.image import Image
from storage.workers import Workers
from tests.protocols.tftp.peers import ReadingClient

KIB = 1 << 10
FILE = random.Random(4).randbytes(300_000)
PATIENCE = 20.0  # seconds; only a hang reaches it
GIVE_UP_AFTER = 60.0  # seconds
MOMENT = 10  # milliseconds; a slow link brings something although the pump has nothing to do
STEADY = 255  # seconds; the interval of a client that no timer is to disturb


def agree(windowsize: int = 1, *, blksize: int = 512, timeout: int | None = None, has_oack: bool = True) -> Terms:
    """Terms of a read in octet mode."""
    return Terms(Mode.OCTET, blksize, windowsize, timeout, (("blksize", str(blksize)),) if has_oack else ())


class Client:
    """A client's socket and the port of its transfer."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.sock.bind((address, 0))
        self.transfer = ("127.0.0.1", 0)

    def send(self, datagram: bytes) -> None:
        """To the transfer's port."""
        self.sock.sendto(datagram, self.transfer)

    def taken(self) -> list[bytes]:
        """Every datagram that has come."""
        found = []
        while True:
            try:
                found.append(self.sock.recv(1 << 16))
            except BlockingIOError:
                return found


class Bench:
    """A pump without a thread, its clients, and what it told."""

    def __init__(self) -> None:
        self.workers = Workers()
        self.pump = TftpPump(workers=self.workers)
        self.events: list[PumpEvent] = []
        self.clients: list[Client] = []

    def join(
        self,
        image: Image,
        terms: Terms,
        *,
        address: str = "127.0.0.1",
        room: int = 0,
        give_up_after: float = GIVE_UP_AFTER,
    ) -> Client:
        """A client whose request was agreed to; `room` bounds what its transfer's socket may hold unsent."""
        client = Client(address)
        self.clients.append(client)
        sock = udp_socket("127.0.0.1", 0)
        if room:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
        client.transfer = sock.getsockname()
        self.pump.adopt(sock, client.sock.getsockname(), image, terms, give_up_after)
        return client

    def run(self) -> None:
        """One batch, as soon as there is something to do."""
        self.events += self.pump.run(int(1000 * PATIENCE))

    def sent_to(self, client: Client, datagram: bytes = b"") -> list[bytes]:
        """What one batch sends to a client, after a datagram of its own if there is one."""
        if datagram:
            client.send(datagram)
        self.run()
        return client.taken()

    def ends(self) -> list[Outcome]:
        """How transfers ended, so far."""
        return [event.outcome for event in self.events if isinstance(event, Ended)]

    def counts(self) -> Counter[str]:
        """What was counted, so far."""
        found: Counter[str] = Counter()
        for event in self.events:
            if isinstance(event, Counted):
                found[event.name] += event.number
        return found

    def run_until_ended(self, count: int) -> None:
        """Until that many transfers have."""
        while len(self.ends()) < count:
            self.run()

    def fetch(self, client: Client, terms: Terms, *, loss: float = 0.0, seed: int = 0) -> bytes:
        """A whole file, as RFC 7440 has it; some of what is sent either way is lost."""
        dice = random.Random(seed)
        session = ReadingClient(terms)
        while not session.is_done:
            taken = client.taken()
            if not taken:
                self.events += self.pump.run(MOMENT)
            for datagram in taken:
                answers = session.receive(datagram) if dice.random() >= loss else []
                for answer in answers:
                    if dice.random() >= loss:
                        client.send(answer)
        return bytes(session.received)

    def close(self) -> None:
        """The pump, the threads, the clients."""
        self.events += self.pump.close()
        self.workers.close()
        for client in self.clients:
            client.sock.close()


@contextmanager
def opened() -> Iterator[Bench]:
    """An open pump, closed in the end."""
    made = Bench()
    try:
        yield made
    finally:
        made.close()
