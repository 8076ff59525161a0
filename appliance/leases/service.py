"""Giving addresses: the books of each network, their file, and what is told of them."""

import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

import structlog

from appliance.config import Config
from appliance.errors import OperatorError
from appliance.hearing import LISTEN_SECONDS, hear_offers
from appliance.host import Interface
from appliance.leases.file import LeaseFile
from appliance.leases.networks import make_books
from protocols.dhcp.endpoint import (
    AddressDenied,
    AddressGiven,
    AddressReturned,
    DhcpEvent,
    Leasing,
    PoolExhausted,
)
from protocols.dhcp.leasing.book import Book
from protocols.dhcp.leasing.client import Client
from protocols.dhcp.leasing.lease import Lease, LeaseState
from protocols.dhcp.leasing.lessor import Lessor
from protocols.dhcp.wire import NO_ADDRESS

FILE = "leases"

log = structlog.get_logger(protocol="dhcp")


@dataclass(frozen=True, slots=True)
class Foreseen:
    """The address that a machine on our own segment would be given now, None when there is none, and why this one."""

    address: str | None
    because: str


class LeaseService:
    """Addresses of the configuration's networks; of none, where [dhcp] names no address."""

    def __init__(
        self,
        config: Config,
        own: IPv4Interface,
        folder: Path,
        *,
        find: Callable[[str], Awaitable[bytes | None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`own` is our address and its subnet, `folder` where the lease file is, `find` as in Leasing.

        Unix time, since leases outlive the process; a box without a clock of its own has to set it first.
        Reads the file. Raises: OperatorError for a configuration that makes no sense, or a file that is spoilt.
        """
        tables = {mac: table.address for mac, table in config.machines.items() if table.address is not None}
        self.is_on = config.dhcp.is_on
        self._books = make_books(config.dhcp, tables, own)
        self._clock = clock
        self.lessor = Lessor(self._books, server=str(own.ip), is_authoritative=not config.dhcp.beside_others)
        self._full: set[str] = set()  # networks that it was said of that nothing is left
        self.leasing: Leasing | None = None
        self._file = LeaseFile(folder / FILE, self.lessor.leases)
        if self.is_on:
            self._restore(self._file.read())
            self.leasing = Leasing(self.lessor, clock, self._file.keep, find)

    def _restore(self, kept: Iterable[Lease]) -> None:
        dropped = sum(not self.lessor.restore(lease) for lease in kept)
        if dropped:
            log.warning("leases_dropped", leases=dropped, reason="they are in no pool any more")

    def start(self) -> None:
        """Begin to keep leases. Raises: OperatorError where the file can't be written."""
        if self.is_on:
            self._file.start()

    async def run(self) -> None:
        """Keep what changes, until cancelled."""
        await self._file.run()

    def leases(self) -> list[Lease]:
        """Every lease at this moment in no order, those that ended too."""
        for book in self._books:
            book.expire(self._clock())
        return list(self.lessor.leases())

    def state_of(self, lease: Lease) -> str:
        """What a lease is at this moment."""
        has_ended = lease.state is LeaseState.BOUND and lease.until <= self._clock()
        return "expired" if has_ended else lease.state.value

    def notes(self) -> list[str]:
        """What an operator should know: networks whose addresses are all given."""
        full = [book for book in self._books if book.pool_size and book.free(self._clock()) == 0]
        return [f"all {book.pool_size} addresses of {book.network.subnet} are given: enlarge its pool" for book in full]

    def foresee(self, mac: str, uuid: str | None) -> Foreseen | None:
        """What a machine would be given, and why; None where nothing is given."""
        if not self.is_on:
            return None
        client, now = Client(mac, uuid), self._clock()
        book, address = self.lessor.foresee(client, now)
        if address is None:
            return Foreseen(None, f"nothing is left in {book.network.subnet}")
        return Foreseen(address, _because(book, client, address, now))

    def hear(self, event: DhcpEvent) -> None:
        """Say what an operator cares for; renewals are counted."""
        match event:
            case AddressGiven(lease, is_new=True):
                seconds = round(lease.until - lease.since)
                log.info("address_given", mac=lease.client, address=lease.address, name=lease.name, seconds=seconds)
            case AddressDenied(mac, address, reason):
                log.info("address_denied", mac=mac, address=address, reason=reason)
            case AddressReturned(mac, address, is_conflict):
                log.info("address_declined" if is_conflict else "address_released", mac=mac, address=address)
            case PoolExhausted(mac, network):
                self._tell_full(mac, network)
        self._full = {network for network in self._full if self._is_full(network)}

    def _tell_full(self, mac: str, network: str) -> None:
        """Once, until there are addresses again."""
        if network not in self._full:
            self._full.add(network)
            log.warning("pool_exhausted", network=network, mac=mac, remedy="enlarge the pool, or shorten lease_time")

    def _is_full(self, network: str) -> bool:
        return any(str(book.network.subnet) == network and book.free(self._clock()) == 0 for book in self._books)


def _because(book: Book, client: Client, address: str, now: float) -> str:
    lease = book.lease_of(client)
    if address in (book.reserved.get(client.key), book.reserved.get(client.uuid or "")):
        return "it is reserved for it"
    if lease is None or lease.address != address:
        return "it is the next that is free"
    return "it has it" if lease.until > now else "it had it last"


async def refuse_beside_others(config: Config, interface: Interface) -> None:
    """Raises: OperatorError where another DHCP server gives addresses on the interface, unless that is wanted."""
    if not config.dhcp.is_on or config.dhcp.beside_others or not interface.is_up or interface.is_loopback:
        return
    offers = await hear_offers(interface.name, interface.mac, LISTEN_SECONDS)
    if offers is None:
        raise OperatorError(
            f"no right to listen for other DHCP servers on {interface.name}", "run as root, or with CAP_NET_RAW"
        )
    others = sorted({offer.server for offer in offers if offer.address != NO_ADDRESS})
    if others:
        raise OperatorError(
            f"[dhcp]: {' and '.join(others)} gives addresses on {interface.name} already",
            "stop that server, or write beside_others = true if the two share no address",
        )
