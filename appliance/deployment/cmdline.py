"""The kernel command line by which an initramfs of each kind finds its root on this box.

One row per kind and root; what is in braces comes from `Place`. Every row has been read in the client's own source,
and those that boots are tested with are said so in the README. BOOTIF is added by the loader (IPAPPEND 2): it tells
which card, and all of these kinds read it.
"""

import re
from dataclasses import dataclass
from typing import Literal, overload

from appliance.config import Root
from appliance.deployment.kinds import Kind

IPAPPEND_BOTH = 3  # ip=... and BOOTIF=...: our own client takes its server from the former
IPAPPEND_CARD = 2  # BOOTIF=... only: to the others ip=... would be a static address

# dracut: the network is for the root, so bring it up, by DHCP. The drivers' modules are loaded before udev starts:
# nothing else loads nbd or aoe, and AoE's asks for targets as soon as a link is up.
_DRACUT = "ip=dhcp rd.neednet=1"

ROWS: dict[tuple[Kind, Root], str] = {
    (Kind.OWN, "nbd"): "kiwiserver={server} kiwiservertype=http",
    (Kind.OWN, "aoe"): "kiwiserver={server} kiwiservertype=http",
    (Kind.OWN, "ram"): "kiwiserver={server} kiwiservertype=http",
    (Kind.KIWI_OVERLAY, "nbd"): f"root=overlay:nbd={{server}}:{{image}} {_DRACUT} rd.driver.pre=nbd",
    (Kind.KIWI_OVERLAY, "aoe"): f"root=overlay:aoe={{target}} {_DRACUT} rd.driver.pre=aoe",
    # A squashfs can't be written: an overlay in memory goes over it.
    (Kind.LIVENET, "ram"): f"root=live:http://{{server}}/image/{{image}} {_DRACUT} rd.live.overlay.overlayfs=1",
    (Kind.DRACUT_NBD, "nbd"): (
        f"root=nbd:{{server}}:{{image}}:squashfs:ro {_DRACUT} rd.driver.pre=nbd rd.live.overlay.overlayfs=1 ro"
    ),
    # live-boot tells a file system from an archive by the end of the name, so the image has one more name (tree.py).
    (Kind.LIVE_BOOT, "ram"): "boot=live components fetch=http://{server}/image/{image}.squashfs",
    (Kind.NBD_CLIENT, "nbd"): "nbdroot={server},{image},nbd0 root=/dev/nbd0 rootfstype=squashfs ro ip=dhcp",
}

# dracut takes an export's name of digits for a port, and so does nobody else.
_PORT = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a root is: our IPv4 address, the image's name (its export), its AoE target as e0.1."""

    server: str
    image: str
    target: str


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The words for the kernel, and which words of its own the loader is to add (PXELINUX's IPAPPEND)."""

    words: str
    ipappend: int


@overload
def command_line(kind: Literal[Kind.OWN], root: Root, place: Place) -> CommandLine: ...
@overload
def command_line(kind: Kind, root: Root, place: Place) -> CommandLine | None: ...
def command_line(kind: Kind, root: Root, place: Place) -> CommandLine | None:
    """How an initramfs of `kind` is told to mount `root` from `place`; None when it can't be told."""
    row = ROWS.get((kind, root))
    if row is None or (kind is Kind.DRACUT_NBD and _PORT.fullmatch(place.image)):
        return None
    image = place.image.removesuffix(".squashfs") if kind is Kind.LIVE_BOOT else place.image
    words = row.format(server=place.server, image=image, target=place.target)
    return CommandLine(words, IPAPPEND_BOTH if kind is Kind.OWN else IPAPPEND_CARD)
