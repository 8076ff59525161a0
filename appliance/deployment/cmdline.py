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
from appliance.names import INSIDE

IPAPPEND_BOTH = 3  # ip=... and BOOTIF=...: our own client takes its server from the former
IPAPPEND_CARD = 2  # BOOTIF=... only: to the others ip=... would be a static address

TREE_INITRDS = "initrd"  # the folder of the boot tree under which rootwire's own are served, by the image's name
EXTRA = ".extra"  # behind which is what the same image's machines with disks load as well

_OWN = f"kiwiserver={{server}} kiwiservertype=http rootwire.extra={TREE_INITRDS}/{{image}}{EXTRA}"

# dracut: the network is for the root, so bring it up, by DHCP. The drivers' modules are loaded before udev starts:
# nothing else loads nbd or aoe, and AoE's asks for targets as soon as a link is up.
_DRACUT = "ip=dhcp rd.neednet=1"

_INSIDE = f"http://{{server}}/image/{{image}}{INSIDE.removesuffix('/')}"  # the root of a medium's files

ROWS: dict[tuple[Kind, Root], str] = {
    (Kind.OWN, "nbd"): _OWN,
    (Kind.OWN, "aoe"): _OWN,
    (Kind.OWN, "ram"): _OWN,
    (Kind.KIWI_OVERLAY, "nbd"): f"root=overlay:nbd={{server}}:{{image}} {_DRACUT} rd.driver.pre=nbd",
    (Kind.KIWI_OVERLAY, "aoe"): f"root=overlay:aoe={{target}} {_DRACUT} rd.driver.pre=aoe",
    # A squashfs can't be written: an overlay in memory goes over it.
    (Kind.LIVENET, "ram"): f"root=live:http://{{server}}/image/{{image}} {_DRACUT} rd.live.overlay.overlayfs=1",
    (Kind.DRACUT_NBD, "nbd"): (
        f"root=nbd:{{server}}:{{image}}:squashfs:ro {_DRACUT} rd.driver.pre=nbd rd.live.overlay.overlayfs=1 ro"
    ),
    # live-boot tells a file system from an archive by the end of the name, so the image has one more name (tree.py).
    (Kind.LIVE_BOOT, "ram"): "boot=live components fetch=http://{server}/image/{image}{suffix}",
    (Kind.NBD_CLIENT, "nbd"): "nbdroot={server},{image},nbd0 root=/dev/nbd0 rootfstype=squashfs ro ip=dhcp",
    (Kind.KIWI_NETBOOT, "nbd"): "kiwiserver={server} kiwiservertype=http",
    (Kind.KIWI_NETBOOT, "aoe"): "kiwiserver={server} kiwiservertype=http",
    (Kind.KIWI_NETBOOT, "ram"): "kiwiserver={server} kiwiservertype=http ramdisk_size={ramdisk}",
    (Kind.KIWI_LIVE, "ram"): f"root=live:http://{{server}}/image/{{image}} {_DRACUT} ramdisk_size={{ramdisk}}",
    (Kind.KIWI_LIVE, "aoe"): f"root=live:AOEINTERFACE={{target}} {_DRACUT} rd.driver.pre=aoe",
    (Kind.KIWI_LIVE_AOE, "aoe"): "rd.kiwi.live.pxe root=live:AOEINTERFACE={target} rd.driver.pre=aoe",
    (Kind.CASPER, "ram"): "boot=casper ip=dhcp url=http://{server}/image/{image} cloud-config-url=/dev/null",
    (Kind.ARCHISO, "nbd"): "archisobasedir=arch archiso_nbd_srv={server} archiso_nbd_name={image} ip=dhcp",
    # What comes behind these URLs they ask for themselves, file by file: it is served from inside the medium.
    (Kind.ANACONDA, "ram"): f"inst.stage2={_INSIDE} {_DRACUT}",
    (Kind.ANACONDA_REPO, "ram"): f"inst.repo={_INSIDE} {_DRACUT}",
    (Kind.COREOS, "ram"): (
        f"coreos.live.rootfs_url={_INSIDE}/images/pxeboot/rootfs.img"
        f" ignition.firstboot ignition.platform.id=metal {_DRACUT}"
    ),
    (Kind.ALPINE, "ram"): f"ip=dhcp alpine_repo={_INSIDE}/apks modloop={_INSIDE}/boot/modloop-{{flavour}}",
    # Not the medium: it would have to fit into memory as well, and is read through one more loop.
    (Kind.LIVE_MEDIUM, "ram"): f"boot=live components fetch={_INSIDE}/live/filesystem.squashfs",
    (Kind.LINUXRC, "ram"): f"install={_INSIDE} ifcfg=*=dhcp",
}

# KIWI's clients make RAM disks of so many KiB unless told; theirs have to be larger than what goes into them.
RAMDISK_KIB = 512_000
RAMDISK_SPARE_KIB = 1024

# dracut takes an export's name of digits for a port, and so does nobody else.
_PORT = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a root is: our IPv4 address, the image's name (its export), its AoE target as e0.1, its size in bytes.

    `kernel` is the path of the kernel that is booted, where that is in the image.
    """

    server: str
    image: str
    target: str
    size: int = 0
    kernel: str = ""

    @property
    def flavour(self) -> str:
        """What the kernel's name ends in: virt, of vmlinuz-virt."""
        return self.kernel.rpartition("-")[2]

    @property
    def ramdisk(self) -> int:
        """KiB of a RAM disk that the image fits into."""
        return max(RAMDISK_KIB, -(-self.size // 1024) + RAMDISK_SPARE_KIB)


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
    suffix = "" if place.image.endswith((".squashfs", ".iso")) else ".squashfs"
    words = row.format(
        server=place.server,
        image=place.image,
        target=place.target,
        suffix=suffix,
        ramdisk=place.ramdisk,
        flavour=place.flavour,
    )
    return CommandLine(words, IPAPPEND_BOTH if kind in (Kind.OWN, Kind.KIWI_NETBOOT) else IPAPPEND_CARD)
