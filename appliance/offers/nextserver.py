"""Whether Debian's signed GRUB, behind shim, would find this box: its server is the one that the DHCP ACK names (G-1).

That is us where we give the addresses; else where the LAN's DHCP servers all name us as next server, and no boot file
of their own. They are asked, as the doctor asks them, in the background: until one has answered it is not so.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from appliance.hearing import LISTEN_SECONDS, hear_offers
from appliance.host import Interface
from protocols.dhcp.probe import HeardOffer
from protocols.dhcp.wire import NO_ADDRESS

ASK_EVERY = 3600.0  # seconds: somebody who changes a DHCP server can start us anew, too
ASK_AGAIN = (
    60.0  # seconds, then twice that, while nobody answers: after a power cut the DHCP server may be up later than we
)

log = structlog.get_logger(protocol="dhcp")

Hear = Callable[[str, str, float, Callable[[HeardOffer], None]], Awaitable[object]]


class NextServer:
    """Asks again and again who the next server is."""

    def __init__(self, interface: Interface, address: str, *, gives_addresses: bool, hear: Hear = hear_offers) -> None:
        """`address` is ours on `interface`; `hear` is as hear_offers."""
        self.is_us = gives_addresses
        self._gives_addresses = gives_addresses
        self._interface = interface
        self._address = address
        self._hear = hear
        self._others: dict[str, bool] = {}  # servers that gave addresses when last asked: whether they name us

    async def run(self) -> None:
        """Ask until cancelled, where there is anybody to ask."""
        if self._gives_addresses or self._interface.is_loopback:
            return
        pause = ASK_AGAIN
        while True:
            self._others.clear()
            try:
                await self._hear(self._interface.name, self._interface.mac, LISTEN_SECONDS, self._take)
            except* OSError as failures:  # the interface is down; of asking, or of listening
                log.info("dhcp_servers_unheard", interface=self._interface.name, reason=str(failures.exceptions[0]))
            await asyncio.sleep(ASK_EVERY if self._others else pause)
            pause = min(2 * pause, ASK_EVERY)

    def _take(self, offer: HeardOffer) -> None:
        """One offer; a server may make several, and where one of them does not name us the machine may take that."""
        if offer.address == NO_ADDRESS:
            return
        names_us = offer.next_server == self._address and not offer.file
        self._others[offer.server] = names_us and self._others.get(offer.server, True)
        is_us = all(self._others.values())
        if is_us != self.is_us:
            log.info("next_server_heard", is_this_box=is_us)
        self.is_us = is_us
