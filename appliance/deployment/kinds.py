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
    KIWI_NETBOOT = "kiwi-netboot"  # KIWI's own until version 9, which is told its root by a configuration
    KIWI_LIVE = "kiwi-live"  # dracut with KIWI's module for live media, since 10.2.24
    KIWI_LIVE_AOE = "kiwi-live-aoe"  # the same before
    CASPER = "casper"  # Ubuntu's live media
    ARCHISO = "archiso"  # Arch Linux's
    ANACONDA = "anaconda"  # Fedora's and its relatives' installer, without packages
    ANACONDA_REPO = "anaconda-repo"  # the same, with them
    COREOS = "coreos"  # Fedora CoreOS, live
    ALPINE = "alpine"
    LINUXRC = "linuxrc"  # the installer of openSUSE and SLE
    LIVE_MEDIUM = "live-medium"  # Debian's live media


@dataclass(frozen=True, slots=True)
class Initramfs:
    """What an initramfs can do: by whom each root is mounted, the best first, and for which kernels it has modules."""

    ways: Mapping[Root, Kind] = field(default_factory=dict)
    versions: frozenset[str] = frozenset()


OF_MEDIA = (Kind.ANACONDA, Kind.ANACONDA_REPO, Kind.COREOS, Kind.ALPINE, Kind.LINUXRC, Kind.LIVE_MEDIUM)

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
    ("nbd", Kind.KIWI_NETBOOT, frozenset({"kiwi linuxrc", "kiwi include", "program nbd-client", "module nbd"})),
    ("aoe", Kind.KIWI_NETBOOT, frozenset({"kiwi linuxrc", "kiwi include", "module aoe"})),
    ("ram", Kind.KIWI_NETBOOT, frozenset({"kiwi linuxrc", "kiwi include"})),
    ("ram", Kind.KIWI_LIVE, frozenset({"dracut kiwi-live", "kiwi-live http"})),
    ("aoe", Kind.KIWI_LIVE, frozenset({"dracut kiwi-live", "kiwi-live http", "module aoe"})),
    ("aoe", Kind.KIWI_LIVE_AOE, frozenset({"dracut kiwi-live", "module aoe"})),
    ("ram", Kind.CASPER, frozenset({"casper"})),
    ("nbd", Kind.ARCHISO, frozenset({"archiso nbd", "program nbd-client", "module nbd"})),
    # Told by what else is on their medium (media.py), never by their initramfs.
    *(("ram", kind, frozenset({f"medium {kind}"})) for kind in OF_MEDIA),
)

# What each mounts; most do with any file system that the kernel knows, some with one only.
MEDIUM = "iso9660"
SQUASHFS = "squashfs"
_LIVE_MEDIA = frozenset({Kind.KIWI_LIVE, Kind.KIWI_LIVE_AOE, Kind.CASPER, Kind.ARCHISO, Kind.LIVENET, Kind.LIVE_BOOT})
_MEDIA = _LIVE_MEDIA | frozenset(OF_MEDIA)
_ANYTHING = frozenset({Kind.OWN, Kind.KIWI_OVERLAY, Kind.KIWI_NETBOOT})
_OF_SQUASHFS = frozenset({Kind.LIVENET, Kind.LIVE_BOOT, Kind.DRACUT_NBD, Kind.NBD_CLIENT})

_FILES = {
    "lib/rootwire/nbd.sh": "rootwire",
    "scripts/local-top/nbd": "script nbd",
    "lib/live/boot/9990-main.sh": "live-boot",
    "usr/lib/live/boot/9990-main.sh": "live-boot",
    "linuxrc": "kiwi linuxrc",
    "include": "kiwi include",
    "scripts/casper": "casper",
    "hooks/archiso_pxe_nbd": "archiso nbd",
}
_KIWI_LIVE = re.compile(r"(?:usr/)?lib/kiwi-live-lib\.sh")
_KIWI_LIVE_HTTP = b"live:net:"  # what only those who fetch their medium speak of
_PROGRAM = re.compile(r"(?:usr/)?s?bin/(nbd-client)")
_MODULE_FOLDER = re.compile(r"(?:usr/)?lib/modules/([^/]+)(?:/.*)?")
_MODULE = re.compile(r".*/([^/]+)\.ko(?:\.(?:gz|xz|zst))?")
_BUILT_IN = re.compile(r"(?:usr/)?lib/modules/[^/]+/modules\.builtin")
_DRACUT_MODULES = re.compile(r"(?:usr/)?lib/dracut/modules\.txt")


def recognise(image: Image, root: str = SQUASHFS) -> Initramfs:
    """What the initramfs in `image` can do with a root of that format. Unpacks all of it: seconds, in a thread.

    Raises: ArchiveError when it is no initramfs or damaged, StorageError where the image can't be read.
    """
    seen: set[str] = set()
    versions: set[str] = set()
    for member in read_members(image, _is_telling):
        if found := _MODULE_FOLDER.fullmatch(member.name):
            versions.add(found[1])
        seen.update(_clues_of(member.name, member.data))
    return Initramfs(ways_of(seen, root), frozenset(versions))


def _is_telling(name: str) -> bool:
    return any(pattern.fullmatch(name) for pattern in (_BUILT_IN, _DRACUT_MODULES, _KIWI_LIVE))


def _clues_of(name: str, data: bytes) -> list[str]:
    if name in _FILES:
        return [_FILES[name]]
    if found := _PROGRAM.fullmatch(name):
        return [f"program {found[1]}"]
    if _KIWI_LIVE.fullmatch(name):
        return ["kiwi-live http"] if _KIWI_LIVE_HTTP in data else []
    if _DRACUT_MODULES.fullmatch(name):
        return [f"dracut {module}" for module in data.decode(errors="replace").split()]
    if _BUILT_IN.fullmatch(name):
        return [f"module {_module_name(path)}" for path in data.decode(errors="replace").split()]
    return [f"module {_module_name(name)}"] if _MODULE.fullmatch(name) else []


def _module_name(path: str) -> str:
    found = _MODULE.fullmatch(path)
    return found[1].replace("-", "_") if found else ""


def mounters(root: str) -> frozenset[Kind]:
    """Who mounts a root of this format."""
    if root == MEDIUM:
        return _MEDIA
    return _ANYTHING | _OF_SQUASHFS if root == SQUASHFS else _ANYTHING


def ways_of(seen: set[str], format_of_root: str = SQUASHFS) -> dict[Root, Kind]:
    """By whom each root is mounted, the best first, where such clues were seen."""
    ways: dict[Root, Kind] = {}
    able = mounters(format_of_root)
    for root, kind, needed in CLUES:
        if kind in able and needed <= seen:
            ways.setdefault(root, kind)
    return ways


def ways_by(kind: Kind) -> dict[Root, Kind]:
    """What a kind does when all of it is there: what a rule file claims when it names the kind."""
    return {root: mounter for root, mounter, _ in CLUES if mounter is kind}
