"""Machines' disks as AoE targets: each at its own shelf.slot for good, and seen by its owner's MAC alone."""

import asyncio
from collections.abc import Callable, Iterable
from errno import ENOSPC
from typing import Protocol

import structlog

from appliance.exports.addresses import Address, Addresses
from appliance.exports.exports import Exports
from appliance.exports.names import Kind, name_of
from protocols.aoe.endpoint import Target
from protocols.aoe.initiators import Initiator
from storage.errors import StorageError
from storage.lease import Tenure

log = structlog.get_logger()


class Server(Protocol):
    """What is asked of an AoE server."""

    def add(self, target: Target) -> None: ...
    def remove(self, shelf: int, slot: int) -> None: ...
    def initiators(self) -> list[Initiator]: ...


class Targets:
    """The targets; `wants(mac)` says whether a machine boots over AoE with something to write to."""

    def __init__(self, exports: Exports, addresses: Addresses, server: Server, wants: Callable[[str], bool]) -> None:
        self._exports = exports
        self._addresses = addresses
        self._server = server
        self._wants = wants
        self._shown: dict[str, Tenure] = {}
        self._rested: dict[str, int] = {}  # commands of a machine at its own target when it began to boot
        self._lock = asyncio.Lock()
        self._giving = asyncio.Lock()  # of its own: a client that asks for its configuration waits for no disk
        self._waiting: dict[str, None] = {}
        self._asked = asyncio.Event()

    def address(self, mac: str) -> Address | None:
        """The shelf and slot of a machine's disk, if it was ever given one."""
        return self._addresses.get(mac)

    async def assign(self, mac: str) -> Address:
        """The address of a machine's disk, given now if it never was. Raises: OSError, StorageError."""
        async with self._giving:
            address = await asyncio.to_thread(self._addresses.give, mac)
        if address is None:
            remedy = "delete some with rootwire exports delete"
            raise StorageError(f"every AoE address for machines' disks is taken: {remedy}", ENOSPC)
        return address

    def ask(self, mac: str) -> None:
        """Have a machine's target shown soon."""
        if self._wants(mac):
            self._waiting[mac] = None
            self._asked.set()

    async def run(self) -> None:
        """Show targets as they are asked for, and first those of all machines that have a disk."""
        for disk in await asyncio.to_thread(list, self._exports.disks):
            if disk.kind is Kind.WRITE:
                self.ask(disk.mac)
        while True:
            await self._asked.wait()
            self._asked.clear()
            while self._waiting:
                mac = next(iter(self._waiting))
                del self._waiting[mac]
                await self.show(mac)

    async def show(self, mac: str) -> None:
        """Serve a machine's disk as it is now; a failure is logged, since nobody waits for it."""
        async with self._lock:
            try:
                await self._show(mac)
            except (OSError, StorageError, ValueError) as failure:  # ValueError: past limits.aoe.targets
                log.error("disk_target_refused", mac=mac, reason=str(failure))

    async def _show(self, mac: str) -> None:
        shelf, slot = await self.assign(mac)
        tenure = await self._exports.open(Kind.WRITE, mac)
        if self._shown.get(mac) is tenure:
            return
        self._hide(mac)
        label = name_of(Kind.WRITE, mac)
        self._server.add(Target(shelf, slot, tenure.image, label, allowed=frozenset({mac})))
        self._shown[mac] = tenure
        log.info("disk_target_shown", mac=mac, target=f"e{shelf}.{slot}")

    async def forget(self, mac: str) -> None:
        """Serve a machine's disk no longer, and let its address be another's. Raises: OSError."""
        async with self._lock:
            self._hide(mac)
            async with self._giving:
                await asyncio.to_thread(self._addresses.take_back, mac)

    def is_shown(self, mac: str) -> bool:
        """Whether a machine's disk is served."""
        return mac in self._shown

    def owns(self, shelf: int, slot: int) -> bool:
        """Whether an address is that of a machine's disk."""
        return any(self._addresses.get(mac) == (shelf, slot) for mac in self._shown)

    def commands(self, mac: str) -> int:
        """How many commands a machine has given its own target since the appliance started."""
        return _commands(self._server.initiators(), mac, self.address(mac))

    def note_boot(self, mac: str) -> None:
        """Hear that a machine's firmware asks to boot: it does not use its target any more."""
        if mac in self._shown:
            self._rested[mac] = self.commands(mac)

    def is_used(self, mac: str) -> bool:
        """Whether a machine has used its target since it last began to boot."""
        return mac in self._shown and self.commands(mac) > self._rested.get(mac, 0)

    def _hide(self, mac: str) -> None:
        address = self._addresses.get(mac)
        if self._shown.pop(mac, None) is not None and address is not None:
            self._server.remove(*address)


def _commands(initiators: Iterable[Initiator], mac: str, address: Address | None) -> int:
    return sum(one.commands for one in initiators if one.mac == mac and (one.shelf, one.slot) == address)
