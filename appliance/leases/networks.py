"""The configuration's networks as books to keep, once it is known where we are ourselves."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from appliance.errors import OperatorError
from appliance.leases.settings import DhcpSettings, NetworkSettings
from protocols.dhcp.leasing.book import Book
from protocols.dhcp.leasing.network import LEASE_SECONDS, Network


def make_books(settings: DhcpSettings, machines: Mapping[str, IPv4Address], own: IPv4Interface) -> list[Book]:
    """Our own segment's book, then one for each network behind a relay.

    `machines` are addresses from machines' own tables, by MAC; `own` is our address and its subnet.
    Raises: OperatorError for a pool or a reservation that is of none of them.
    """
    tables = {IPv4Network(subnet): table for subnet, table in settings.networks.items()}
    if own.network in tables:
        raise OperatorError(
            f'[dhcp.networks."{own.network}"] is our own segment', "write its pool, router and dns into [dhcp]"
        )
    networks = [_network(own.network, settings, settings, own), *(_network(*e, settings, own) for e in tables.items())]
    for network in networks:
        _check(network)
    reserved = {**settings.reservations, **machines}
    books = []
    for network in networks:
        here = {name: str(address) for name, address in reserved.items() if address in network.subnet}
        books.append(Book(network, here))
    for name, address in reserved.items():
        _check_reservation(name, address, networks)
    return books


def _network(subnet: IPv4Network, table: NetworkSettings, common: DhcpSettings, own: IPv4Interface) -> Network:
    dns = table.dns or common.dns
    never = (own.ip, *((table.router,) if table.router else ()), *dns)
    return Network(
        subnet,
        table.pool,
        router=str(table.router) if table.router else None,
        dns=tuple(map(str, dns)),
        domain=table.domain or common.domain or "",
        lease_seconds=table.lease_time or common.lease_time or LEASE_SECONDS,
        excluded=frozenset(map(str, never)),
        is_local=subnet == own.network,
    )


def _place(network: Network) -> str:
    return "[dhcp]" if network.is_local else f'[dhcp.networks."{network.subnet}"]'


def _check(network: Network) -> None:
    for span in network.pool:
        if span.first not in network.subnet or span.last not in network.subnet:
            where = f"our own segment, {network.subnet}" if network.is_local else str(network.subnet)
            raise OperatorError(
                f"{_place(network)} pool = '{span.first}-{span.last}' is not in {where}",
                "name addresses of that subnet, or give the pool a table [dhcp.networks] of its own",
            )
    if network.router is not None and not network.holds(network.router):
        raise OperatorError(
            f"{_place(network)} router = '{network.router}' is not in {network.subnet}",
            "name the router's address in that subnet: machines reach no other",
        )


def _check_reservation(name: str, address: IPv4Address, networks: list[Network]) -> None:
    network = next((network for network in networks if address in network.subnet), None)
    if network is None:
        there = ", ".join(str(network.subnet) for network in networks)
        raise OperatorError(f"{address}, reserved for {name}, is in no network that is served", f"use one of: {there}")
    if str(address) in network.excluded or address in (
        network.subnet.network_address,
        network.subnet.broadcast_address,
    ):
        raise OperatorError(f"{address}, reserved for {name}, is no machine's to have", "reserve another address")
