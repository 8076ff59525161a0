"""Who gets which disk: each machine its own and nobody else's, one user at a time, fresh or kept by policy.

A disk is made when its machine first asks for it. Whose a connection is, the kernel's neighbour table says: it has the
MAC that our answers go to. What is thrown away is so when a disk is opened for the first time since its machine's
firmware asked to boot, unless the machine went on using it meanwhile: then somebody else spoke in its name.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from errno import ENOENT
from weakref import WeakValueDictionary

import structlog

from appliance.exports.disks import Disks
from appliance.exports.names import Kind, name_of, parse_name
from appliance.exports.policy import Policy
from storage.errors import StorageError
from storage.image import Image
from storage.layer import LayerImage
from storage.layerfile import BaseChangedError
from storage.lease import Tenure

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the exports ask of the appliance; none of it waits.

    The machine behind an IPv4 address, by MAC; a machine's policy; an image by name; how many requests the open
    connections to an export have made.
    """

    owner: Callable[[str], str | None]
    policy: Callable[[str], Policy]
    image: Callable[[str], Image | None]
    requests: Callable[[str], int]


class Exports:
    """Every machine's disks, as NBD exports and as images for AoE targets."""

    def __init__(self, disks: Disks, around: Surroundings) -> None:
        self.disks = disks
        self._around = around
        self._open: WeakValueDictionary[str, Tenure] = WeakValueDictionary()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._rebooted: dict[str, int] = {}  # requests made at an export when its machine began to boot
        self._booted: set[str] = set()  # machines with disks that were seen to boot since the appliance started

    def offered(self, mac: str) -> dict[Kind, str]:
        """The exports that a machine may have, by what they are for; swap wherever there is one to write to."""
        policy = self._around.policy(mac)
        wanted = {Kind.WRITE: policy.write != "none", Kind.SWAP: policy.swap_size > 0}
        return {kind: name_of(kind, mac) for kind, is_wanted in wanted.items() if is_wanted}

    def names(self, client: str) -> list[str]:
        """The exports that a client, by its address, gets to see: its own."""
        mac = self._around.owner(client)
        return sorted(self.offered(mac).values()) if mac else []

    async def find(self, name: str, client: str) -> Image:
        """The export called `name`, for its owner.

        Raises: FileNotFoundError for what is not the client's, in the same words as for what is nobody's;
        OSError and StorageError where the disk can't be had.
        """
        asked = parse_name(name)
        owner = self._around.owner(client)
        if asked is None or asked[1] != owner:
            raise FileNotFoundError(ENOENT, f"{name} is no export of {client}, whose MAC is {owner or 'not known'}")
        if asked[0] not in self.offered(owner):
            raise FileNotFoundError(ENOENT, f"{name} is not offered: the policy of {owner} has none")
        return (await self.open(*asked)).lease()

    async def open(self, kind: Kind, mac: str) -> Tenure:
        """A machine's disk, fresh where it is due. Raises: OSError, StorageError."""
        name = name_of(kind, mac)
        async with self._lock(mac):
            if self._is_due(kind, mac):
                await self._renew(kind, mac, "new_boot")
            tenure = self._open.get(name)
            if tenure is None:
                tenure = self._open[name] = Tenure(await self._layer(kind, mac))
            return tenure

    async def reset(self, kind: Kind, mac: str) -> None:
        """Have a disk be new the next time it is opened; who has it open gets errors. Raises: OSError."""
        async with self._lock(mac):
            await self._renew(kind, mac, "operator")

    async def forget(self, mac: str) -> None:
        """Throw away everything of a machine. Raises: OSError."""
        async with self._lock(mac):
            for kind in Kind:
                await self._renew(kind, mac, "operator")
            await asyncio.to_thread(self.disks.forget, mac)

    def note_boot(self, mac: str) -> None:
        """Hear that a machine's firmware asks to boot: nothing that it had open is open any more."""
        if self.disks.has(mac):
            self._booted.add(mac)
            for kind, name in self.offered(mac).items():
                if self._is_thrown_away(kind, mac):
                    self._rebooted[name] = self._around.requests(name)

    def has_booted(self, mac: str) -> bool:
        """Whether a machine was seen to begin a boot since the appliance started."""
        return mac in self._booted

    def used(self, kind: Kind, mac: str) -> int | None:
        """How much room an open disk takes, in bytes; None for one that is not open."""
        tenure = self._open.get(name_of(kind, mac))
        return tenure.image.used if tenure is not None and isinstance(tenure.image, LayerImage) else None

    def _is_thrown_away(self, kind: Kind, mac: str) -> bool:
        return kind is Kind.SWAP or self._around.policy(mac).write == "discard"

    def _is_due(self, kind: Kind, mac: str) -> bool:
        name = name_of(kind, mac)
        before = self._rebooted.pop(name, None)
        if before is None:
            return False
        is_dead = self._around.requests(name) <= before
        if not is_dead:
            log.warning("disk_kept", export=name, reason="its machine went on using it after it asked to boot")
        return is_dead

    async def _layer(self, kind: Kind, mac: str) -> LayerImage:
        policy = self._around.policy(mac)
        base = self._base(policy) if kind is Kind.WRITE else None
        try:
            return await asyncio.to_thread(self.disks.open, kind, mac, policy, base)
        except BaseChangedError:
            if not self._is_thrown_away(kind, mac):
                raise
        await self._renew(kind, mac, "base_changed")
        return await asyncio.to_thread(self.disks.open, kind, mac, policy, base)

    def _base(self, policy: Policy) -> Image | None:
        if policy.write_base is None:
            return None
        base = self._around.image(policy.write_base)
        if base is None:
            raise StorageError(f"write_base {policy.write_base} is not in image/", ENOENT)
        return base

    async def _renew(self, kind: Kind, mac: str, reason: str) -> None:
        name = name_of(kind, mac)
        tenure = self._open.pop(name, None)
        if tenure is not None:
            await asyncio.to_thread(tenure.lease().read_at, 0, 0)  # ends all others, once they are at rest
        await asyncio.to_thread(self.disks.remove, kind, mac)
        log.info("disk_reset", export=name, reason=reason)

    def _lock(self, mac: str) -> asyncio.Lock:
        lock = self._locks.get(mac)
        if lock is None:
            lock = self._locks[mac] = asyncio.Lock()
        return lock
