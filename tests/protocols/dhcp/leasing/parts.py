"""Networks, books and clients' packets for the tests of leasing."""

from ipaddress import IPv4Address, IPv4Network

from protocols.dhcp.leasing.book import Book
from protocols.dhcp.leasing.client import Client
from protocols.dhcp.leasing.lessor import Lessor
from protocols.dhcp.leasing.network import Network, Span
from protocols.dhcp.wire import MessageType, Op, Option, Packet

BOX = "10.77.0.2"
BOX_ID = bytes((10, 77, 0, 2))
OTHER_ID = bytes((10, 77, 0, 9))
HOUR = 3600
NOW = 1_700_000_000.0


def span(first: str, last: str) -> Span:
    """Addresses of a pool."""
    return Span(IPv4Address(first), IPv4Address(last))


LOCAL = Network(
    IPv4Network("10.77.0.0/24"), (span("10.77.0.50", "10.77.0.52"),), "10.77.0.1", ("10.77.0.1",), "lab", HOUR
)
FAR = Network(IPv4Network("10.78.0.0/24"), (span("10.78.0.50", "10.78.0.59"),), lease_seconds=HOUR, is_local=False)


def client(number: int, uuid: str | None = None) -> Client:
    """A machine by its number."""
    return Client(f"52:54:00:77:00:{number:02x}", uuid)


def lessor(*, is_authoritative: bool = True, reserved: dict[str, str] | None = None) -> Lessor:
    """Three addresses on our own segment, ten behind a relay."""
    return Lessor([Book(LOCAL, reserved or {}), Book(FAR, {})], server=BOX, is_authoritative=is_authoritative)


def packet(
    message: MessageType, number: int = 1, *, ciaddr: str = "0.0.0.0", giaddr: str = "0.0.0.0", **options: bytes
) -> Packet:
    """A client's packet; options are given by name."""
    codes: dict[int, bytes] = {Option.MESSAGE_TYPE: bytes((message,))}
    codes |= {Option[name]: value for name, value in options.items()}
    chaddr = bytes((0x52, 0x54, 0, 0x77, 0, number)) + bytes(10)
    return Packet(op=Op.REQUEST, xid=number, chaddr=chaddr, ciaddr=ciaddr, giaddr=giaddr, options=codes)


def packed(address: str) -> bytes:
    """An address as options have it."""
    return IPv4Address(address).packed
