"""Which menu files there are, by the names that each loader asks for in its own order."""

import pytest

from appliance.menus.files import MenuFiles
from appliance.menus.model import Choice, Menu

MAC = "52:54:00:77:00:01"
DASHED = "52-54-00-77-00-01"
OTHER = "52-54-00-77-00-02"


def files(*own_files: str) -> MenuFiles:
    """Those of a box whose configuration has a table for one machine, and whose tree has these files."""

    def menu(mac: str | None) -> Menu:
        return Menu((Choice("linux", "", "boot/linux", append=f"for={mac}", ipappend=2),))

    return MenuFiles(
        server="10.77.0.2", menu=menu, has_own=lambda mac: mac == MAC, has_file=lambda path: path in own_files
    )


def first_of(names: list[str], *own_files: str) -> str | None:
    """The first of the names that there is a file for."""
    made = files(*own_files)
    return next((name for name in names if made.read(name) is not None), None)


def pxelinux_order(mac: str) -> list[str]:
    """As PXELINUX looks for it."""
    digits = "0A4D0032"
    names = ["564d5b00-0000-0000-0000-000000000001", f"01-{mac}", *(digits[:n] for n in range(8, 0, -1)), "default"]
    return [f"pxelinux.cfg/{name}" for name in names]


def uboot_order(mac: str) -> list[str]:
    """As U-Boot's pxe command does."""
    *names, default = pxelinux_order(mac)
    boards = ("default-arm-bcm283x-rpi", "default-arm-bcm283x", "default-arm")
    return [*names, *(f"pxelinux.cfg/{name}" for name in boards), default]


def grub_order(mac: str) -> list[str]:
    """As GRUB does in the folder it was built for."""
    digits = "0A4D0032"
    names = [f"grub.cfg-01-{mac}", *(f"grub.cfg-{digits[:n]}" for n in range(8, 0, -1)), "grub.cfg"]
    return [f"grub/{name}" for name in names]


@pytest.mark.parametrize(
    ("order", "found"),
    [
        (pxelinux_order(DASHED), f"pxelinux.cfg/01-{DASHED}"),
        (pxelinux_order(OTHER), "pxelinux.cfg/default"),
        (uboot_order(DASHED), f"pxelinux.cfg/01-{DASHED}"),
        (uboot_order(OTHER), "pxelinux.cfg/default"),
        (grub_order(DASHED), f"grub/grub.cfg-01-{DASHED}"),
        (grub_order(DASHED)[1:], "grub/grub.cfg"),
    ],
)
def test_first_file_in_the_loaders_order(order: list[str], found: str) -> None:
    """A machine with a table of its own has a file of its own, all others share one."""
    assert first_of(order) == found


def test_operators_default_is_everybodys() -> None:
    """His pxelinux.cfg/default stands for a machine with a table, too."""
    assert first_of(pxelinux_order(DASHED), "pxelinux.cfg/default") == "pxelinux.cfg/default"


def test_operators_grub_configuration_stands_alone() -> None:
    """None of ours is asked for before it."""
    assert first_of(grub_order(DASHED), "grub/grub.cfg") is None


@pytest.mark.parametrize("name", ["boot/grub/grub.cfg", "EFI/debian/grub.cfg", "grub/x86_64-efi/grub.cfg", "grub.cfg"])
def test_every_distributions_folder(name: str) -> None:
    """Each builds GRUB for another one (quirks G-3)."""
    assert files().read(name) == files().read("grub/grub.cfg") is not None


@pytest.mark.parametrize("name", [f"grub/menu-{MAC}.cfg", f"grub/menu-{DASHED}.cfg"])
def test_grub_menu_of_a_machine(name: str) -> None:
    """With colons, as GRUB has a MAC, or without."""
    made = files().read(name)
    assert made is not None
    assert f"for={MAC}".encode() in made


def test_ipxe_script_of_a_machine() -> None:
    """By the name that its offer has."""
    made = files().read(f"boot-{DASHED}.ipxe")
    assert made is not None
    assert f"for={MAC}".encode() in made


@pytest.mark.parametrize("name", ["command", "crypto", "fs", "terminal"])
def test_grubs_lists_are_empty(name: str) -> None:
    """A build without modules needs none; one that misses them complains on the screen (quirks T-5)."""
    assert files().read(f"grub/x86_64-efi/{name}.lst") == b""


@pytest.mark.parametrize(
    "name",
    ["grub/menu-52.cfg", "grub/x86_64-efi/moddep.lst", "a/b/c/d/grub.cfg", "boot-x.ipxe", "x"],
)
def test_nothing_else_is_made(name: str) -> None:
    """Firmware's and loaders' other guesses miss."""
    assert files().read(name) is None
