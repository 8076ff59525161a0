"""The stages of a boot, in boot order, and who speaks for a machine while it goes through them."""

from enum import IntEnum, StrEnum


class Stage(IntEnum):
    """What the network saw of a boot; a later stage has the greater number."""

    DISCOVERED = 0  # a DISCOVER of a PXE or HTTP boot client
    OFFERED = 1  # our answer to it
    LEASED = 2  # it has an address of ours, where we give addresses
    BOOT_SERVER = 3  # it asked on port 4011
    LOADER = 4  # it asks for its network boot program
    CONFIG = 5  # the boot program's own configuration: pxelinux.cfg/default, boot.ipxe
    KERNEL = 6
    INITRD = 7
    CLIENT_CONFIG = 8  # the initramfs asks for KIWI/config.*
    ROOT_LOADING = 9  # an image on its way into RAM
    ROOT_CONNECTED = 10  # export opened, target identified, or RAM image complete
    ROOT_BUSY = 11  # so much was read from the root that a system must be running from it

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


DHCP_STAGES = frozenset({Stage.DISCOVERED, Stage.OFFERED, Stage.LEASED, Stage.BOOT_SERVER})
FINAL_STAGES = frozenset({Stage.ROOT_CONNECTED, Stage.ROOT_BUSY})  # a machine may stay here for weeks
