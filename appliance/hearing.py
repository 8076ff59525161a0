"""Asks the LAN which DHCP servers it has: DISCOVERs as either firmware sends them, and a few seconds of listening."""

import asyncio
import secrets
import socket
from collections.abc import Callable

from protocols.dhcp.probe import HeardOffer, build_probe, parse_offer
from protocols.dhcp.request import Architecture
from protocols.errors import WireError
from protocols.ethernet import BROADCAST, parse_mac

ETH_P_IP = 0x0800
LISTEN_SECONDS = 3.5  # ISC's and Kea's servers ping an address for a second before they offer it; dnsmasq for three
ASK_AGAIN_SECONDS = 1.0  # a port behind a spanning tree may have lost the first question
MOST_OFFERS = 64  # kept of what a network says in that time
PREFIX = bytes((0x02, 0x72, 0x77))  # of the MAC asked with: locally administered, the same each time for one box
ASKED = (Architecture.X86_BIOS, Architecture.X64_UEFI)  # servers offer each its own boot file


async def hear_offers(
    interface: str,
    mac: str,
    seconds: float = LISTEN_SECONDS,
    on_offer: Callable[[HeardOffer], None] = lambda offer: None,
) -> tuple[HeardOffer, ...] | None:
    """Every offer that came to `interface` within `seconds`, each once; None when we have no right to listen.

    `on_offer` is told of each as it comes.

    Raises: OSError as a packet socket does (ENETDOWN).
    """
    try:
        ears = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
    except PermissionError:
        return None
    with ears:
        ears.bind((interface, ETH_P_IP))
        offers: dict[HeardOffer, None] = {}
        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as tasks:
                xids = [secrets.randbits(32) for _ in ASKED]
                tasks.create_task(_ask(ears, interface, PREFIX + parse_mac(mac)[3:], xids))
                tasks.create_task(_listen(ears, frozenset(xids), offers, on_offer))
        except TimeoutError:
            return tuple(offers)
    raise AssertionError("listening ends by time alone")


async def _ask(ears: socket.socket, interface: str, chaddr: bytes, xids: list[int]) -> None:
    while True:
        for xid, architecture in zip(xids, ASKED, strict=True):
            ears.sendto(build_probe(chaddr, xid, architecture), (interface, ETH_P_IP, 0, 0, BROADCAST))
        await asyncio.sleep(ASK_AGAIN_SECONDS)


async def _listen(
    ears: socket.socket,
    xids: frozenset[int],
    offers: dict[HeardOffer, None],
    on_offer: Callable[[HeardOffer], None],
) -> None:
    loop = asyncio.get_running_loop()
    while True:
        data = await loop.sock_recv(ears, 65535)
        try:
            offer = parse_offer(data, xids)
        except WireError:
            continue  # whatever it is, no firmware could read it as an offer either
        if offer is not None and offer not in offers and len(offers) < MOST_OFFERS:
            offers[offer] = None
            on_offer(offer)
