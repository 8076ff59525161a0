"""A subnet that addresses are given in, and what its hosts are told beside."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

LEASE_SECONDS = 12 * 3600  # a working day: renewals are few, and a guest's address is free again the next morning
LEASE_LEAST = 60  # seconds; below, renewals are most of what a network carries
LEASE_MOST = 0x7FFFFFFF  # seconds; older clients read option 51 as a signed number, and all ones mean for ever
POOL_MOST = 65536  # addresses of all pools together: a table entry each, about 30 MB when all are given
DNS_MOST = 4  # servers; resolvers ask three


@dataclass(frozen=True, slots=True)
class Span:
    """Addresses from the first to the last, both of them included."""

    first: IPv4Address
    last: IPv4Address

    def __len__(self) -> int:
        return int(self.last) - int(self.first) + 1

    def __iter__(self) -> Iterator[str]:
        return (str(IPv4Address(each)) for each in range(int(self.first), int(self.last) + 1))


@dataclass(frozen=True, slots=True)
class Network:
    """One subnet: what is given there, and for how long.

    `excluded` are addresses that are nobody's to have, though a pool holds them: ours, the routers'. `is_local` is
    whether it is on our own segment: only there ARP tells whether an address is in use.
    """

    subnet: IPv4Network
    pool: tuple[Span, ...]
    router: str | None = None
    dns: tuple[str, ...] = ()
    domain: str = ""
    lease_seconds: int = LEASE_SECONDS
    excluded: frozenset[str] = frozenset()
    is_local: bool = True

    def addresses(self) -> Iterator[str]:
        """What may be given to whoever asks, in order; an address in two spans comes twice."""
        never = self.excluded | {str(self.subnet.network_address), str(self.subnet.broadcast_address)}
        return (address for span in self.pool for address in span if address not in never)

    def holds(self, address: str) -> bool:
        """Whether an address is of this subnet."""
        return IPv4Address(address) in self.subnet


@dataclass(frozen=True, slots=True)
class Grant:
    """What a reply says of a client's address: `address` is "0.0.0.0" and `seconds` None where it has one already."""

    network: Network
    address: str
    seconds: int | None
