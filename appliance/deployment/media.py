"""Media looked into: where a live or installation medium has its kernel and initramfs, and who reads the rest of it.

Most are told by what is in the initramfs, and are fetched whole, or as an export. Some have files that their initramfs
asks for one by one: those are told by what is on the medium, and are served from inside it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from appliance.deployment.kinds import Kind
from storage.iso9660 import Iso

PXEBOOT = "images/pxeboot/vmlinuz", "images/pxeboot/initrd.img"  # of Fedora and its relatives
STAGE2 = "images/install.img"  # their installer
LIVE, LIVE_ROOT = ("live/vmlinuz", "live/initrd.img"), "live/filesystem.squashfs"  # Debian's live media
SUSE = "boot/x86_64/loader/linux", "boot/x86_64/loader/initrd"  # of KIWI's media, and openSUSE's

# Alpine has its flavour in the names: lts, virt.
ALPINE_FOLDER, ALPINE_PACKAGES = "boot", "apks"
_ALPINE_KERNEL = re.compile(r"vmlinuz-([a-z0-9]{1,20})")
_ALPINE_FILES = ("vmlinuz", "initramfs", "modloop")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where kernel and initramfs are, and what else is there where that tells the kind; without one the latter does."""

    kernel: str
    initrd: str
    marks: tuple[str, ...] = ()
    kind: Kind | None = None


# In the order in which they are looked for.
LAYOUTS = (
    Layout(*PXEBOOT, ("images/pxeboot/rootfs.img",), Kind.COREOS),
    Layout(*PXEBOOT, (STAGE2, ".treeinfo", "repodata/repomd.xml"), Kind.ANACONDA_REPO),
    Layout(*PXEBOOT, (STAGE2, ".treeinfo", "BaseOS/repodata/repomd.xml"), Kind.ANACONDA_REPO),
    Layout(*PXEBOOT, (STAGE2,), Kind.ANACONDA),
    Layout(*SUSE, ("boot/x86_64/root", "media.1/media"), Kind.LINUXRC),
    Layout(*SUSE),
    Layout("boot/ix86/loader/linux", "boot/ix86/loader/initrd"),
    Layout("casper/vmlinuz", "casper/initrd"),
    Layout("casper/vmlinuz", "casper/initrd.lz"),
    Layout("casper/vmlinuz", "casper/initrd.gz"),
    Layout(*LIVE, (LIVE_ROOT,), Kind.LIVE_MEDIUM),
    Layout(*LIVE),
    Layout("arch/boot/x86_64/vmlinuz-linux", "arch/boot/x86_64/initramfs-linux.img"),
    Layout(*PXEBOOT),
)


def find_layout(medium: Iso) -> Layout | None:
    """How a medium is laid out; None where nothing is at any place that is known.

    Raises: StorageError where it is damaged or can't be read.
    """
    return next((layout for layout in (*_alpine(medium), *LAYOUTS) if _is_so(medium, layout)), None)


def _is_so(medium: Iso, layout: Layout) -> bool:
    return all(medium.has(path) for path in (layout.kernel, layout.initrd, *layout.marks))


def _alpine(medium: Iso) -> Iterator[Layout]:
    for name in medium.names(ALPINE_FOLDER):
        if found := _ALPINE_KERNEL.fullmatch(name):
            kernel, initrd, modules = (f"{ALPINE_FOLDER}/{what}-{found[1]}" for what in _ALPINE_FILES)
            yield Layout(kernel, initrd, (modules, ALPINE_PACKAGES), Kind.ALPINE)
