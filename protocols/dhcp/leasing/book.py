"""Who has which address of one network, and whose it may be next.

Bounded by the number of addresses: a lease and an offer for each, a place in the order of those that are free.
An offer is not yet a lease: it is held for half a minute, overwrites nothing that is known of an address, and where
nothing else is left the oldest offer is taken back for who asks next. So whoever discovers under ever new addresses
(a starvation attack) can keep nobody from an address who asks for one at once, and has forgotten nobody's lease. Who
goes on to lease under each of them can fill the pool until these leases end; reservations are out of its reach.
"""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain

from protocols.dhcp.leasing.client import Client
from protocols.dhcp.leasing.lease import Lease, LeaseState
from protocols.dhcp.leasing.network import Network

OFFER_SECONDS = 30.0  # EDK2 collects offers for up to 4 s and asks for its choice at most 4 times, 4 to 32 s apart
DECLINED_SECONDS = 600.0  # a host that was set up by hand with an address of ours is mended, or moved, within that
ENDS_SPARE = 64  # entries of the heap of ends, beyond four a lease, before those that were renewed since are dropped


@dataclass(frozen=True, slots=True)
class Offered:
    """An address held for a client that has not asked for it yet; `is_checked`: nobody else was found to use it."""

    client: str
    until: float
    is_checked: bool


class Book:
    """The leases of one network."""

    def __init__(self, network: Network, reserved: Mapping[str, str]) -> None:
        """`reserved` are addresses that are one machine's only, by its MAC or UUID as Client has them."""
        self.network = network
        self.reserved = dict(reserved)
        self._kept_free = frozenset(reserved.values())
        self._reserved_by_mac = frozenset(address for name, address in reserved.items() if ":" in name)
        self._unused = dict.fromkeys(each for each in network.addresses() if each not in self._kept_free)
        self._known = frozenset(self._unused) | self._kept_free
        self.pool_size = len(self._unused)  # addresses that whoever asks may get
        self._spent: dict[str, None] = {}  # of leases that ended, the oldest end first
        self._offers: dict[str, Offered] = {}  # by address, the oldest first
        self._offered_to: dict[str, str] = {}  # addresses by client
        self._leases: dict[str, Lease] = {}  # by address
        self._held_by: dict[str, str] = {}  # addresses by client
        self._ends: list[tuple[float, str]] = []  # a heap; what was renewed since stands there in vain

    def __iter__(self) -> Iterator[Lease]:
        """Every lease that is known, those that ended too."""
        return iter(self._leases.values())

    def free(self, now: float) -> int:
        """How many addresses of the pool are nobody's now."""
        self.expire(now)
        return len(self._unused) + len(self._spent)

    def lease_of(self, client: Client) -> Lease | None:
        """What a client has, or had last, if that is still its own to have again."""
        address = self._held_by.get(client.key)
        return self._leases[address] if address is not None else None

    def restore(self, lease: Lease) -> bool:
        """Take over a lease that was written down, the later of an address after the earlier; False: not of here."""
        if lease.address not in self._known:
            return False
        self._put(lease)
        return True

    def choose(self, client: Client, wanted: str | None, now: float) -> str | None:
        """The address that a client would get now; None when there is none. `wanted` is what it asks for, if it does.

        Its own comes first: reserved, leased, held for it; then what it asks for, what nobody had, and of what others
        had the longest unused; what was offered to others the longest ago is the last resort. RFC 2131 §4.3.1.
        """
        self.expire(now)
        own = (self._reserved_for(client), self._held_by.get(client.key), self._offered_to.get(client.key))
        for address in own:
            if address is not None and self._may_have(client, address, now):
                return address
        if wanted is not None and (wanted in self._unused or wanted in self._spent):
            return wanted
        offered = (address for address in self._offers if address not in self._kept_free)
        return next(chain(self._unused, self._spent, offered), None)

    def offer(self, client: Client, wanted: str | None, now: float) -> tuple[str, bool] | None:
        """Hold an address for a client, and say whether it is known that nobody else uses it; None: there is none."""
        address = self.choose(client, wanted, now)
        if address is None:
            return None
        if self._is_running(address, now):
            return address, True  # it is the client's own
        before = self._offers.get(address)
        is_checked = before is not None and before.client == client.key and before.is_checked
        self.withdraw(client)
        self._take_back(address)
        self._unused.pop(address, None)
        self._spent.pop(address, None)
        self._offers[address] = Offered(client.key, now + OFFER_SECONDS, is_checked)
        self._offered_to[client.key] = address
        return address, is_checked

    def check(self, client: Client, address: str) -> None:
        """Note that nobody was found to use the address that is offered to a client."""
        offered = self._offers.get(address)
        if offered is not None and offered.client == client.key:
            self._offers[address] = replace(offered, is_checked=True)

    def withdraw(self, client: Client) -> None:
        """A client took another server's offer, or ours: what is held for it is free again."""
        address = self._offered_to.get(client.key)
        if address is not None:
            self._take_back(address)

    def bind(self, client: Client, address: str, now: float) -> Lease | None:
        """Give an address to a client, or give it for longer; None when it isn't the client's to have."""
        self.expire(now)
        if not self._may_have(client, address, now):
            return None
        self.withdraw(client)
        before = self._leases.get(address)
        own = before if before is not None and before.client == client.key else None
        since = own.since if own is not None and own.until > now else now
        name = client.name or (own.name if own is not None else "")
        lease = Lease(address, client.key, name, LeaseState.BOUND, since, now + self.network.lease_seconds)
        self._put(lease)
        return lease

    def release(self, client: Client, address: str, now: float) -> Lease | None:
        """A client gives its address back; None when it isn't its own."""
        lease = self._leases.get(address)
        if lease is None or lease.client != client.key or lease.until <= now:
            return None
        self._put(replace(lease, state=LeaseState.RELEASED, until=now))
        self.expire(now)
        return self._leases[address]

    def set_aside(self, client: Client, address: str, now: float) -> Lease | None:
        """Somebody else uses the address that a client has, or is offered; None when it is no such address."""
        lease, offered = self._leases.get(address), self._offers.get(address)
        is_its = lease is not None and lease.client == client.key and lease.until > now
        if not is_its and (offered is None or offered.client != client.key):
            return None
        self._take_back(address)
        self._put(Lease(address, "", "", LeaseState.DECLINED, now, now + DECLINED_SECONDS))
        return self._leases[address]

    def expire(self, now: float) -> None:
        """Free what has ended by now."""
        while self._offers:
            address, offered = next(iter(self._offers.items()))
            if offered.until > now:
                break
            self._take_back(address)
        while self._ends and self._ends[0][0] <= now:
            end, address = heapq.heappop(self._ends)
            lease = self._leases.get(address)
            if lease is None or lease.until != end:
                continue  # another, or renewed since
            if lease.state is LeaseState.DECLINED:
                del self._leases[address]
            self._free(address)

    def _reserved_for(self, client: Client) -> str | None:
        return self.reserved.get(client.key) or self.reserved.get(client.uuid or "")

    def _may_have(self, client: Client, address: str, now: float) -> bool:
        """Whether an address may be this client's: reserved for it, its own, held for it, or nobody's."""
        lease = self._leases.get(address)
        is_last = lease is not None and lease.client == client.key
        if address in self._kept_free and address != self._reserved_for(client):
            # Firmware tells its UUID; the kernel after it does not, and still is the machine that it is reserved for.
            return is_last and address not in self._reserved_by_mac
        if self._is_running(address, now):
            return is_last
        offered = self._offers.get(address)
        return address in self._known and (offered is None or offered.client == client.key)

    def _is_running(self, address: str, now: float) -> bool:
        lease = self._leases.get(address)
        return lease is not None and lease.until > now

    def _take_back(self, address: str) -> None:
        """End an offer; what is known of its address stands."""
        offered = self._offers.pop(address, None)
        if offered is not None:
            del self._offered_to[offered.client]
            self._free(address)

    def _free(self, address: str) -> None:
        """Put an address that no lease and no offer holds any more behind those that are free already."""
        if address in self._kept_free or address in self._offers:
            return
        if address not in self._leases:
            self._spent.pop(address, None)
            self._unused[address] = None
        else:
            self._spent[address] = None

    def _put(self, lease: Lease) -> None:
        """Write a lease down; whoever had the address before has it no more, and its client has no other."""
        address = lease.address
        before = self._leases.get(address)
        if before is not None and before.client != lease.client:
            self._held_by.pop(before.client, None)
        former = self._held_by.get(lease.client)
        if former is not None and former != address:
            del self._leases[former]
            self._free(former)
        if lease.client:
            self._held_by[lease.client] = address
        self._leases[address] = lease
        self._unused.pop(address, None)
        self._spent.pop(address, None)
        heapq.heappush(self._ends, (lease.until, address))
        if len(self._ends) > 4 * len(self._leases) + ENDS_SPARE:
            self._ends = [(each.until, each.address) for each in self._leases.values()]
            heapq.heapify(self._ends)
