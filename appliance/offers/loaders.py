"""Boot loaders by processor architecture, found where Debian's packages put them and served from there.

Only the files named here can be reached, whatever name a client asks for: nothing else of /usr is served. What is
Debian's for another processor than this machine's lies below FETCHED, where deploy/loaders unpacks it.
"""

import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from protocols.dhcp.request import Architecture

SYSTEM = Path("/")
FETCHED = Path("var/lib/rootwire/loaders")  # of packages for other processors: beside the system, not part of it
LOOK_SECONDS = 1.0  # for which what is installed stays as it was found
IPXE = Path("usr/lib/ipxe")
PXELINUX = Path("usr/lib/PXELINUX")
SYSLINUX = Path("usr/lib/syslinux/modules/bios")
SHIM = Path("usr/lib/shim")
GRUB = Path("usr/lib/grub")

Family = Literal["pxelinux", "ipxe", "shim", "grub"]  # shim: with Debian's GRUB behind it; grub: one linked here

# Debian's names for the processors whose packages are other ones, by uname -m.
PORTS = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf", "riscv64": "riscv64"}


@dataclass(frozen=True, slots=True)
class LoaderFile:
    """One file of a boot loader: its folder below the system's root, and the Debian package that brings it.

    `needs` are the names of files that the loader asks for as soon as it runs, and is useless without. `stored` is
    what Debian calls the file, where that is not `name`; `port` is the processor, in Debian's words, that the package
    is for, where it is not for all.
    """

    name: str
    package: str
    folder: Path
    needs: tuple[str, ...] = ()
    stored: str = ""
    port: str = ""

    @property
    def path(self) -> Path:
        """Where the package puts it, below the system's root."""
        return self.folder / (self.stored or self.name)


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

# shim asks for its second stage by this name, in the folder it came from (quirks G-2). Of Debian's two signed GRUBs it
# is the one made for the network: the other finds its configuration on a disk only. Both fit into the 4 MiB that
# shim takes without fetching them twice (T-10).
SIGNED = (
    LoaderFile("shimx64.efi", "shim-signed", SHIM, ("grubx64.efi",), "shimx64.efi.signed", "amd64"),
    LoaderFile(
        "grubx64.efi", "grub-efi-amd64-signed", GRUB / "x86_64-efi-signed", (), "grubnetx64.efi.signed", "amd64"
    ),
    LoaderFile("shimaa64.efi", "shim-signed", SHIM, ("grubaa64.efi",), "shimaa64.efi.signed", "arm64"),
    LoaderFile(
        "grubaa64.efi", "grub-efi-arm64-signed", GRUB / "arm64-efi-signed", (), "grubnetaa64.efi.signed", "arm64"
    ),
)
LOADER_FILES = {
    file.name: file
    for file in (
        LoaderFile("pxelinux.0", "pxelinux", PXELINUX, needs=("ldlinux.c32",)),
        LoaderFile("lpxelinux.0", "pxelinux", PXELINUX, needs=("ldlinux.c32",)),
        *(LoaderFile(name, "syslinux-common", SYSLINUX) for name in SYSLINUX_MODULES),
        *(LoaderFile(name, "ipxe", IPXE) for name in ("undionly.kpxe", "ipxe.pxe", "snponly.efi", "ipxe.efi")),
        *SIGNED,
    )
}


@dataclass(frozen=True, slots=True)
class LinkedGrub:
    """A GRUB that is linked on this box, and knows its address: Debian's own looks for its files elsewhere (G-1).

    `platform` is GRUB's word for what it runs on; the Debian package brings its modules.
    """

    name: str
    platform: str
    package: str
    port: str = ""

    @property
    def modules(self) -> Path:
        """Where the package puts them, below the system's root."""
        return GRUB / self.platform


MKIMAGE = LoaderFile("grub-mkimage", "grub-common", Path("usr/bin"))  # what links them; it is not served
LINKED = {
    each.name: each
    for each in (
        LinkedGrub("grub-x64.efi", "x86_64-efi", "grub-efi-amd64-bin", "amd64"),
        LinkedGrub("grub-ia32.efi", "i386-efi", "grub-efi-ia32-bin"),
        LinkedGrub("grub-aa64.efi", "arm64-efi", "grub-efi-arm64-bin", "arm64"),
        LinkedGrub("grub-arm.efi", "arm-efi", "grub-efi-arm-bin", "armhf"),
        LinkedGrub("grub-riscv64.efi", "riscv64-efi", "grub-efi-riscv64-bin", "riscv64"),
    )
}

BIOS: dict[str, Family] = {"pxelinux.0": "pxelinux", "undionly.kpxe": "ipxe"}
# snponly.efi drives the card through the firmware that just booted from it; the drivers of ipxe.efi hang on some cards
# and lose frames on others (I-9).
X64: dict[str, Family] = {"snponly.efi": "ipxe", "ipxe.efi": "ipxe", "shimx64.efi": "shim", "grub-x64.efi": "grub"}
IA32: dict[str, Family] = {"grub-ia32.efi": "grub"}  # nobody signs a shim for it (P-13)
ARM64: dict[str, Family] = {"grub-aa64.efi": "grub", "shimaa64.efi": "shim"}
ARM32: dict[str, Family] = {"grub-arm.efi": "grub"}
RISCV64: dict[str, Family] = {"grub-riscv64.efi": "grub"}

# The first whose files are all there is given. An HTTP boot takes the same files, by their URL.
LOADERS: dict[int, dict[str, Family]] = {
    Architecture.X86_BIOS: BIOS,
    Architecture.X86_UEFI: IA32,
    Architecture.X64_UEFI: X64,
    Architecture.EBC: X64,  # x64 in truth (quirks D-14)
    Architecture.ARM32_UEFI: ARM32,
    Architecture.ARM64_UEFI: ARM64,
    Architecture.RISCV64_UEFI: RISCV64,
    Architecture.X86_UEFI_HTTP: IA32,
    Architecture.X64_UEFI_HTTP: X64,
    Architecture.EBC_HTTP: X64,
    Architecture.ARM32_UEFI_HTTP: ARM32,
    Architecture.ARM64_UEFI_HTTP: ARM64,
    Architecture.RISCV64_UEFI_HTTP: RISCV64,
}

# For these there is nothing to install either.
NO_LOADER: dict[int, str] = {
    Architecture.X86_BIOS_HTTP: "BIOS machines that boot by HTTP are served by PXE only",
    Architecture.RISCV32_UEFI: "Debian has no boot loader for it",
    Architecture.RISCV128_UEFI: "Debian has no boot loader for it",
    Architecture.LOONGARCH32_UEFI: "Debian has no boot loader for it",
    Architecture.LOONGARCH64_UEFI: "Debian has no boot loader for it",
    Architecture.RISCV32_UEFI_HTTP: "Debian has no boot loader for it",
    Architecture.RISCV128_UEFI_HTTP: "Debian has no boot loader for it",
    Architecture.LOONGARCH32_UEFI_HTTP: "Debian has no boot loader for it",
    Architecture.LOONGARCH64_UEFI_HTTP: "Debian has no boot loader for it",
    Architecture.ARM_RPIBOOT: "its own boot files (start4.elf, config.txt) go into the boot tree",
}


def loaders_for(
    architecture: int, wanted: Family | Literal["auto"] = "auto", *, shim_first: bool = False
) -> tuple[str, ...]:
    """The loaders that a machine may be given, best first: of the family that is `wanted`, or of any."""
    known = LOADERS.get(architecture, {})
    names = [name for name, family in known.items() if wanted in ("auto", family)]
    return tuple(sorted(names, key=lambda name: known[name] != "shim") if shim_first else names)


def find_loader_file(name: str, root: Path = SYSTEM) -> Path | None:
    """Where the loader file called exactly `name` is, links followed; None when it is none of ours or not installed.

    `root` stands in for the system's root in tests.
    """
    file = LOADER_FILES.get(name)
    if file is None:
        return None
    places = ((top / file.path).resolve() for top in (root, root / FETCHED))  # Debian's ipxe.efi is a link into /boot
    return next((place for place in places if place.is_file()), None)


def find_modules(grub: LinkedGrub, root: Path = SYSTEM) -> Path | None:
    """The folder of the modules that a GRUB is linked from, or None while they are not installed."""
    places = (top / grub.modules for top in (root, root / FETCHED))
    return next((place for place in places if (place / "kernel.img").is_file()), None)


def missing_files(name: str, root: Path = SYSTEM) -> tuple[LoaderFile, ...]:
    """Those files, of the loader `name` and what it needs, that are not installed. Raises: KeyError on other names."""
    if (grub := LINKED.get(name)) is not None:
        modules = LoaderFile(name, grub.package, grub.modules, port=grub.port)
        tool = () if (root / MKIMAGE.path).is_file() else (MKIMAGE,)
        return tool if find_modules(grub, root) else (modules, *tool)
    wanted = (name, *LOADER_FILES[name].needs)
    return tuple(LOADER_FILES[each] for each in wanted if find_loader_file(each, root) is None)


class RecentlyMissing:
    """missing_files, but each loader is looked for once a second at most: a classroom asks a thousand times in one."""

    def __init__(
        self,
        look: Callable[[str], tuple[LoaderFile, ...]] = missing_files,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._clock = clock
        self._found: dict[str, tuple[float, tuple[LoaderFile, ...]]] = {}  # of loaders, whose names are ours

    def __call__(self, name: str) -> tuple[LoaderFile, ...]:
        """What is missing of the loader `name`, as of the last second. Raises: KeyError on other names."""
        now = self._clock()
        at, missing = self._found.get(name, (-math.inf, ()))
        if now - at > LOOK_SECONDS:
            missing = self._look(name)
            self._found[name] = (now, missing)
        return missing


def missing_loaders(root: Path = SYSTEM, architectures: tuple[int, ...] = (0, 7)) -> list[tuple[str, str]]:
    """Name and Debian package of every file that the loaders of `architectures` need and that is not installed.

    Those of PCs unless told otherwise: what a network of them never needs is missing on most boxes.
    """
    loaders = {n: None for each in architectures for n in LOADERS[each] if n not in LINKED}  # in order, each once
    missing = {file: None for name in loaders for file in missing_files(name, root)}
    return [(file.name, file.package) for file in missing]


def remedy(missing: tuple[LoaderFile, ...], machine: str | None = None) -> str:
    """What is missing and how to get it, in one line for the operator; `missing` holds at least one.

    `machine` is this machine's processor as uname -m has it.
    """
    names = " and ".join(file.name for file in missing)
    own = PORTS.get(machine or platform.machine(), "")
    foreign = sorted({file.port for file in missing if file.port not in ("", own)})
    packages = sorted({file.package for file in missing if file.port in ("", own)})
    steps = ([f"apt install {' '.join(packages)}"] if packages else []) + [f"deploy/loaders {port}" for port in foreign]
    return f"{names} not installed: run {' and '.join(steps)}"
