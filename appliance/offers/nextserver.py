"""Whether Debian's signed GRUB, behind shim, would find this box: its server is the one that the DHCP ACK names (G-1).

That is us where we give the addresses; else where the LAN's DHCP servers all name us as next server, and no boot file
of their own. They are asked, as the doctor asks them, in the background: until they have answered it is not so.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from appliance.hearing import hear_offers
from appliance.host import Interface
from protocols.dhcp.probe import HeardOffer
from protocols.dhcp.wire import NO_ADDRESS

ASK_EVERY = 3600.0  # seconds: somebody who changes a DHCP server can start us anew, too

log = structlog.get_logger(protocol="dhcp")


class NextServer:
    """Asks again and again who the next server is."""

    def __init__(
        self,
        interface: Interface,
        address: str,
        *,
        gives_addresses: bool,
        hear: Callable[[str, str], Awaitable[tuple[HeardOffer, ...] | None]] = hear_offers,
    ) -> None:
        """`address` is ours on `interface`; `hear` gives the offers of some seconds, None where we may not listen."""
        self.is_us = gives_addresses
        self._gives_addresses = gives_addresses
        self._interface = interface
        self._address = address
        self._hear = hear

    async def run(self) -> None:
        """Ask until cancelled, where there is anybody to ask."""
        if self._gives_addresses or self._interface.is_loopback:
            return
        while True:
            try:
                self._take(await self._hear(self._interface.name, self._interface.mac) or ())
            except* OSError as failures:  # the interface is down; of asking, or of listening
                log.info("dhcp_servers_unheard", interface=self._interface.name, reason=str(failures.exceptions[0]))
            await asyncio.sleep(ASK_EVERY)

    def _take(self, heard: tuple[HeardOffer, ...]) -> None:
        givers = [offer for offer in heard if offer.address != NO_ADDRESS]
        is_us = bool(givers) and all(offer.next_server == self._address and not offer.file for offer in givers)
        if is_us != self.is_us:
            log.info("next_server_heard", is_this_box=is_us)
        self.is_us = is_us
