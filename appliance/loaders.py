"""Boot loaders by processor architecture, found where Debian's packages put them and served from there.

Only the files named here can be reached, whatever name a client asks for: nothing else of /usr is served.
"""

from dataclasses import dataclass
from pathlib import Path

from protocols.dhcp.request import Architecture

SYSTEM = Path("/")
IPXE = Path("usr/lib/ipxe")
PXELINUX = Path("usr/lib/PXELINUX")
SYSLINUX = Path("usr/lib/syslinux/modules/bios")


@dataclass(frozen=True, slots=True)
class LoaderFile:
    """One file of a boot loader: its folder below the system's root, and the Debian package that brings it.

    `needs` are the names of files that the loader asks for as soon as it runs, and is useless without.
    """

    name: str
    package: str
    folder: Path
    needs: tuple[str, ...] = ()


SYSLINUX_MODULES = (
    "ldlinux.c32",
    "libcom32.c32",
    "libutil.c32",
    "libmenu.c32",
    "libgpl.c32",
    "menu.c32",
    "vesamenu.c32",
    "mboot.c32",  # KIWI's Xen clients
    "linux.c32",
    "chain.c32",
    "pxechn.c32",
    "ifcpu64.c32",
    "whichsys.c32",
    "reboot.c32",
    "poweroff.c32",
)
LOADER_FILES = {
    file.name: file
    for file in (
        LoaderFile("pxelinux.0", "pxelinux", PXELINUX, needs=("ldlinux.c32",)),
        LoaderFile("lpxelinux.0", "pxelinux", PXELINUX, needs=("ldlinux.c32",)),
        *(LoaderFile(name, "syslinux-common", SYSLINUX) for name in SYSLINUX_MODULES),
        *(LoaderFile(name, "ipxe", IPXE) for name in ("undionly.kpxe", "ipxe.pxe", "snponly.efi", "ipxe.efi")),
    )
}

# The first whose files are all there is given. snponly.efi drives the card through the firmware that just booted
# from it; the drivers of ipxe.efi hang on some cards and lose frames on others (quirks I-9).
LOADERS: dict[int, tuple[str, ...]] = {
    Architecture.X86_BIOS: ("pxelinux.0", "undionly.kpxe"),
    Architecture.X64_UEFI: ("snponly.efi", "ipxe.efi"),
    Architecture.EBC: ("snponly.efi", "ipxe.efi"),  # x64 in truth (quirks D-14)
}


def find_loader_file(name: str, root: Path = SYSTEM) -> Path | None:
    """Where the loader file called exactly `name` is, links followed; None when it is none of ours or not installed.

    `root` stands in for the system's root in tests.
    """
    file = LOADER_FILES.get(name)
    if file is None:
        return None
    path = (root / file.folder / name).resolve()  # Debian's ipxe.efi is a link into /boot
    return path if path.is_file() else None


def missing_files(name: str, root: Path = SYSTEM) -> tuple[LoaderFile, ...]:
    """Those files, of the loader `name` and what it needs, that are not installed. Raises: KeyError on other names."""
    wanted = (name, *LOADER_FILES[name].needs)
    return tuple(LOADER_FILES[each] for each in wanted if find_loader_file(each, root) is None)


def missing_loaders(root: Path = SYSTEM) -> list[tuple[str, str]]:
    """Name and Debian package of every file that the loaders in the table need and that is not installed."""
    loaders = {name: None for names in LOADERS.values() for name in names}  # in the table's order, each once
    missing = {file: None for name in loaders for file in missing_files(name, root)}
    return [(file.name, file.package) for file in missing]


def remedy(missing: tuple[LoaderFile, ...]) -> str:
    """What is missing and how to get it, in one line for the operator; `missing` holds at least one."""
    names = " and ".join(file.name for file in missing)
    packages = " ".join(sorted({file.package for file in missing}))
    return f"{names} not installed: run apt install {packages}"
