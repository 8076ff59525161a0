"""The stages of a boot, in boot order, and who speaks for a machine while it goes through them."""

from enum import IntEnum, StrEnum


class Stage(IntEnum):
    """What the network saw of a boot; a later stage has the greater number."""

    DISCOVERED = 0  # a DISCOVER of a PXE or HTTP boot client
    OFFERED = 1  # our answer to it
    BOOT_SERVER = 2  # it asked on port 4011
    LOADER = 3  # it asks for its network boot program
    CONFIG = 4  # the boot program's own configuration: pxelinux.cfg/default, boot.ipxe
    KERNEL = 5
    INITRD = 6
    CLIENT_CONFIG = 7  # the initramfs asks for KIWI/config.*
    ROOT_LOADING = 8  # an image on its way into RAM
    ROOT_CONNECTED = 9  # export opened, target identified, or RAM image complete
    ROOT_BUSY = 10  # so much was read from the root that a system must be running from it

    @property
    def label(self) -> str:
        """The stage as people and JSON read it, such as "root connected"."""
        return "4011" if self is Stage.BOOT_SERVER else self.name.lower().replace("_", " ")


class Firmware(StrEnum):
    """Who is speaking: the machine's firmware, the loader it fetched, or a kernel."""

    PXE = "pxe"  # a BIOS ROM or UEFI's PXE
    HTTP = "http"  # UEFI HTTP boot
    IPXE = "ipxe"  # in ROM or loaded: both ask in the same words
    KERNEL = "kernel"  # the client initramfs and the system after it


DHCP_STAGES = frozenset({Stage.DISCOVERED, Stage.OFFERED, Stage.BOOT_SERVER})
FINAL_STAGES = frozenset({Stage.ROOT_CONNECTED, Stage.ROOT_BUSY})  # a machine may stay here for weeks
