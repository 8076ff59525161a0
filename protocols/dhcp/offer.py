"""What a machine is offered, and by which flow: the ways in which firmware families take a boot file (quirks B2)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from protocols.dhcp.request import BootRequest

# complete: all in one offer, a boot file and "load it at once" (43.6); nearly all firmware boots from it (P-1, P-3).
# binl: the offer holds 60, 54 and 97 alone, so that the machine asks for everything on port 4011 (P-2).
# menu: a PXE boot menu, whose items are asked for by type on port 4011 (P-7, P-9).
# http: UEFI HTTP boot, which takes the URL of a file and nothing of PXE (P-10).
Flow = Literal["complete", "binl", "menu", "http"]

MOST_MENU_ITEMS = 24  # EDK2 shows no more (quirks P-9)
FIRST_ITEM_TYPE = 0x8000  # from here on types are a vendor's own (PXE 2.1 table 2-1); 0 is the local disk
WAIT_FOR_EVER = 255  # seconds, as a menu's prompt has it (P-9)


@dataclass(frozen=True, slots=True)
class MenuItem:
    """One line of a PXE boot menu, and the boot file behind it."""

    text: str
    boot_file: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What to offer a machine. The server is always ourselves.

    `boot_file` is a name, or a URL, of at most 255 bytes. `menu` and `menu_seconds` are for the menu flow: its items,
    the first of which is taken when nobody presses a key for so long (0: at once, without a word). `banner` is the
    text of an item that a complete offer shows beside its boot file, for Raspberry Pi's ROMs (quirks D-27). `quirk`
    names what had a say in it, for people.
    """

    boot_file: str
    flow: Flow = "complete"
    menu: tuple[MenuItem, ...] = ()
    menu_seconds: int = 0
    banner: str = ""
    quirk: str = ""

    def file_of(self, item_type: int | None) -> str:
        """The boot file behind the menu's item of a type; that of the offer for any other, or none (quirks B-3)."""
        number = -1 if item_type is None else item_type - FIRST_ITEM_TYPE
        return self.menu[number].boot_file if 0 <= number < len(self.menu) else self.boot_file


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nothing is offered to a machine, and why, in words for the operator; `is_wanted`: as they have it."""

    reason: str
    is_wanted: bool = False


Plan = Callable[[BootRequest], Offer | Refusal]
