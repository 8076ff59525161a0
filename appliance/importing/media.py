"""Kernel and initramfs of a medium, by the paths that KIWI and distributions put them at."""

from dataclasses import dataclass

from appliance.importing.iso import Medium, Node

# In the order in which they are looked for. KIWI's, which openSUSE's and Fedora's own media have as well; Ubuntu's,
# Debian's live ones, Arch's, then those of Fedora's and its relatives' installers.
PLACES = (
    ("boot/x86_64/loader/linux", "boot/x86_64/loader/initrd"),
    ("boot/ix86/loader/linux", "boot/ix86/loader/initrd"),
    ("casper/vmlinuz", "casper/initrd"),
    ("casper/vmlinuz", "casper/initrd.lz"),
    ("casper/vmlinuz", "casper/initrd.gz"),
    ("live/vmlinuz", "live/initrd.img"),
    ("arch/boot/x86_64/vmlinuz-linux", "arch/boot/x86_64/initramfs-linux.img"),
    ("images/pxeboot/vmlinuz", "images/pxeboot/initrd.img"),
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a loader loads of a medium."""

    kernel: Node
    initrd: Node


def find_loaded(medium: Medium) -> Loaded | None:
    """What is loaded of a medium; None where it has nothing of it at any place that is known.

    Raises: ArchiveError where it is damaged, StorageError.
    """
    for kernel_path, initrd_path in PLACES:
        kernel, initrd = medium.find(kernel_path), medium.find(initrd_path)
        if kernel is not None and initrd is not None:
            return Loaded(kernel, initrd)
    return None
