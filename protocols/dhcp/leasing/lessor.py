"""What a DHCP server that gives addresses says to one packet: RFC 2131 §4.3, in every state of a client's.

A packet and the time go in, a decision comes out; what changed in the tables is in it, to be written down before the
decision is told to anybody. Behind relays the subnet is the one that the relay names (RFC 3527), or that it sits in.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from protocols.dhcp.leasing.book import Book
from protocols.dhcp.leasing.client import Client, read_client
from protocols.dhcp.leasing.lease import Lease
from protocols.dhcp.leasing.network import Grant
from protocols.dhcp.wire import NO_ADDRESS, MessageType, Option, Packet

LINK_SELECTION = 5  # suboption of option 82 (RFC 3527)
ADDRESS_BYTES = 4


@dataclass(frozen=True, slots=True)
class Given:
    """Say yes, by OFFER or ACK. `is_unchecked`: first find out whether somebody else uses the address.

    `lease` is what an ACK gives; `is_new`: it was not running already.
    """

    kind: MessageType
    client: Client
    grant: Grant
    lease: Lease | None = None
    is_new: bool = False
    is_unchecked: bool = False


@dataclass(frozen=True, slots=True)
class Denied:
    """Say no, by NAK, so that the client begins anew."""

    client: Client
    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Say nothing; `counted` is why, `lease` what changed all the same, `exhausted` the network with nothing left."""

    counted: str
    client: Client | None = None
    lease: Lease | None = None
    exhausted: str = ""


Decision = Given | Denied | Unanswered


class Lessor:
    """Gives addresses in some networks, and keeps the books of each."""

    def __init__(self, books: Sequence[Book], *, server: str, is_authoritative: bool = True) -> None:
        """The first of `books` is of our own segment; `server` is our address, as option 54 names us.

        `is_authoritative` is whether there is no other DHCP server, so that a lease which is in no book of ours is
        nobody's; without it, such clients are left to the others.
        """
        self.books = tuple(books)
        self._server = server
        self._is_authoritative = is_authoritative

    def decide(self, packet: Packet, message: int, now: float) -> Decision:
        """What becomes of a client's packet to port 67.

        Raises: WireError when an option it rests on is malformed, or nothing in it tells who sent it.
        """
        client = read_client(packet)
        book = self._book_for(packet)
        if book is None:
            return Unanswered("foreign_networks")
        match message:
            case MessageType.DISCOVER:
                return self._on_discover(packet, client, book, now)
            case MessageType.REQUEST:
                return self._on_request(packet, client, book, now)
            case MessageType.DECLINE | MessageType.RELEASE:
                return self._on_return(packet, message, client, book, now)
            case MessageType.INFORM:
                return self._on_inform(packet, client, book)
        return Unanswered("for_others")

    def check(self, packet: Packet, address: str) -> None:
        """Note that nobody was found to use the address that the sender of a DISCOVER is to be offered."""
        if book := self._book_for(packet):
            book.check(read_client(packet), address)

    def set_aside(self, packet: Packet, address: str, now: float) -> Lease | None:
        """Somebody was found to use that address: what is to be written down of it."""
        book = self._book_for(packet)
        return book.set_aside(read_client(packet), address, now) if book else None

    def foresee(self, client: Client, now: float) -> tuple[Book, str | None]:
        """The address that a client on our own segment would get, and the book that it is of."""
        book = self.books[0]
        return book, book.choose(client, None, now)

    def restore(self, lease: Lease) -> bool:
        """Take over what was written down; False when it is of none of the networks any more."""
        return any(book.restore(lease) for book in self.books)

    def leases(self) -> Iterator[Lease]:
        """Every lease that is known, those that ended too."""
        return (lease for book in self.books for lease in book)

    def _book_for(self, packet: Packet) -> Book | None:
        """The network that the client is in: as its relay says, as its own address says, else our own segment."""
        place = _link_selection(packet) or packet.giaddr
        if place == NO_ADDRESS and packet.ciaddr == NO_ADDRESS:
            return self.books[0]
        where = packet.ciaddr if place == NO_ADDRESS else place
        return next((book for book in self.books if book.network.holds(where)), None)

    def _on_discover(self, packet: Packet, client: Client, book: Book, now: float) -> Decision:
        offered = book.offer(client, packet.address(Option.REQUESTED_ADDRESS), now)
        if offered is None:
            return Unanswered("pool_exhausted", client, exhausted=str(book.network.subnet))
        address, is_checked = offered
        grant = Grant(book.network, address, book.network.lease_seconds)
        return Given(MessageType.OFFER, client, grant, is_unchecked=not is_checked and book.network.is_local)

    def _on_request(self, packet: Packet, client: Client, book: Book, now: float) -> Decision:
        """SELECTING has option 54, INIT-REBOOT only 50; RENEWING and REBINDING have ciaddr (RFC 2131 §4.3.2)."""
        server = packet.address(Option.SERVER_ID)
        if server is not None and server != self._server:
            book.withdraw(client)  # it chose another server's offer
            return Unanswered("for_others")
        address = packet.ciaddr if packet.ciaddr != NO_ADDRESS else packet.address(Option.REQUESTED_ADDRESS)
        if address is None:
            return Unanswered("for_others")  # asks for nothing
        known = book.lease_of(client)
        if server is None and known is None and not self._is_authoritative:
            return Unanswered("for_others")  # some other server's to tell (RFC 2131 §4.3.2)
        is_ours = server is not None or (known is not None and known.address == address)
        lease = book.bind(client, address, now) if is_ours else None
        if lease is not None:
            grant = Grant(book.network, address, book.network.lease_seconds)
            return Given(MessageType.ACK, client, grant, lease, is_new=lease.since == now)
        return Denied(client, address, _reason(book, address))

    def _on_return(self, packet: Packet, message: int, client: Client, book: Book, now: float) -> Decision:
        """DECLINE names the address in option 50, RELEASE in ciaddr; both are for the server that they name."""
        if packet.address(Option.SERVER_ID) != self._server:
            return Unanswered("for_others")
        is_decline = message == MessageType.DECLINE
        address = packet.address(Option.REQUESTED_ADDRESS) if is_decline else packet.ciaddr
        change: Callable[[Client, str, float], Lease | None] = book.set_aside if is_decline else book.release
        lease = change(client, address, now) if address is not None else None
        if lease is None:
            return Unanswered("not_its_lease")
        return Unanswered("declined" if is_decline else "released", client, lease)

    def _on_inform(self, packet: Packet, client: Client, book: Book) -> Decision:
        """Who has an address by hand, and asks for the rest: no lease in the answer (RFC 2131 §4.3.5)."""
        server = packet.address(Option.SERVER_ID)
        if packet.ciaddr == NO_ADDRESS or server not in (None, self._server):
            return Unanswered("for_others")
        return Given(MessageType.ACK, client, Grant(book.network, NO_ADDRESS, None))


def _reason(book: Book, address: str) -> str:
    if not book.network.holds(address):
        return f"{address} is no address of {book.network.subnet}"
    return f"{address} is not its address"


def _link_selection(packet: Packet) -> str | None:
    """The subnet that a relay wants an address of, where that is not its own (RFC 3527 §3).

    The rest of option 82, and whatever is not of its form (RFC 3046 §2), is the relay's own business.
    """
    value, at = packet.options.get(Option.RELAY_AGENT, b""), 0
    while at + 2 <= len(value):
        code, end = value[at], at + 2 + value[at + 1]
        if code == LINK_SELECTION and end - at - 2 == ADDRESS_BYTES and end <= len(value):
            return str(IPv4Address(value[at + 2 : end]))
        at = end
    return None
