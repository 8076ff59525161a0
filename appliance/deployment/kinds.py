"""Of which kind an initramfs is: who made it, and which roots over the network it can mount.

Told by what is in it, not by its name: dracut lists its modules in modules.txt, the others have scripts in known
places. A root is only claimed where the kernel module and the program for it are there as well.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from appliance.config import Root
from appliance.deployment.archive import read_members
from storage.image import Image


class Kind(StrEnum):
    """Who mounts the root, as rule files spell it."""

    OWN = "rootwire"  # our own client initramfs
    KIWI_OVERLAY = "kiwi-overlay"  # dracut with KIWI's module
    LIVENET = "dracut-livenet"
    DRACUT_NBD = "dracut-nbd"
    LIVE_BOOT = "live-boot"  # initramfs-tools with live-boot's scripts
    NBD_CLIENT = "nbd-client"  # initramfs-tools with nbd-client's script


@dataclass(frozen=True, slots=True)
class Initramfs:
    """What an initramfs can do: by whom each root is mounted, the best first, and for which kernels it has modules."""

    ways: Mapping[Root, Kind] = field(default_factory=dict)
    versions: frozenset[str] = frozenset()


# What must be seen for a root to be mounted by a kind; the first that fits has the root. The best come first, and what
# an initramfs does best it does where nobody says which root: the last two leave the system with a root it can't write.
CLUES: tuple[tuple[Root, Kind, frozenset[str]], ...] = (
    ("nbd", Kind.OWN, frozenset({"rootwire"})),
    ("aoe", Kind.OWN, frozenset({"rootwire"})),
    ("ram", Kind.OWN, frozenset({"rootwire"})),
    ("nbd", Kind.KIWI_OVERLAY, frozenset({"dracut kiwi-overlay", "program nbd-client", "module nbd"})),
    ("aoe", Kind.KIWI_OVERLAY, frozenset({"dracut kiwi-overlay", "module aoe"})),
    ("ram", Kind.LIVENET, frozenset({"dracut livenet"})),
    ("ram", Kind.LIVE_BOOT, frozenset({"live-boot"})),
    ("nbd", Kind.DRACUT_NBD, frozenset({"dracut nbd", "program nbd-client", "module nbd"})),
    ("nbd", Kind.NBD_CLIENT, frozenset({"script nbd", "program nbd-client", "module nbd"})),
)

_FILES = {
    "lib/rootwire/nbd.sh": "rootwire",
    "scripts/local-top/nbd": "script nbd",
    "lib/live/boot/9990-main.sh": "live-boot",
    "usr/lib/live/boot/9990-main.sh": "live-boot",
}
_PROGRAM = re.compile(r"(?:usr/)?s?bin/(nbd-client)")
_MODULE_FOLDER = re.compile(r"(?:usr/)?lib/modules/([^/]+)(?:/.*)?")
_MODULE = re.compile(r".*/([^/]+)\.ko(?:\.(?:gz|xz|zst))?")
_BUILT_IN = re.compile(r"(?:usr/)?lib/modules/[^/]+/modules\.builtin")
_DRACUT_MODULES = re.compile(r"(?:usr/)?lib/dracut/modules\.txt")


def recognise(image: Image) -> Initramfs:
    """What the initramfs in `image` can do. Reads and unpacks all of it: seconds, in a thread.

    Raises: ArchiveError when it is no initramfs or damaged, StorageError where the image can't be read.
    """
    seen: set[str] = set()
    versions: set[str] = set()
    for member in read_members(image, lambda name: bool(_BUILT_IN.fullmatch(name) or _DRACUT_MODULES.fullmatch(name))):
        if found := _MODULE_FOLDER.fullmatch(member.name):
            versions.add(found[1])
        seen.update(_clues_of(member.name, member.data))
    return Initramfs(ways_of(seen), frozenset(versions))


def _clues_of(name: str, data: bytes) -> list[str]:
    if name in _FILES:
        return [_FILES[name]]
    if found := _PROGRAM.fullmatch(name):
        return [f"program {found[1]}"]
    if _DRACUT_MODULES.fullmatch(name):
        return [f"dracut {module}" for module in data.decode(errors="replace").split()]
    if _BUILT_IN.fullmatch(name):
        return [f"module {_module_name(path)}" for path in data.decode(errors="replace").split()]
    return [f"module {_module_name(name)}"] if _MODULE.fullmatch(name) else []


def _module_name(path: str) -> str:
    found = _MODULE.fullmatch(path)
    return found[1].replace("-", "_") if found else ""


def ways_of(seen: set[str]) -> dict[Root, Kind]:
    """By whom each root is mounted, the best first, where such clues were seen."""
    ways: dict[Root, Kind] = {}
    for root, kind, needed in CLUES:
        if needed <= seen:
            ways.setdefault(root, kind)
    return ways


def ways_by(kind: Kind) -> dict[Root, Kind]:
    """What a kind does when all of it is there: what a rule file claims when it names the kind."""
    return {root: mounter for root, mounter, _ in CLUES if mounter is kind}
