"""Which boot file a machine is offered: policy alone, no sockets; what is installed and configured is asked for.

A machine is met twice on most boots: its firmware is given a loader, and when that is iPXE, iPXE is given a script.
"""

from collections.abc import Callable
from typing import Literal

from appliance.config import BiosLoader, UefiLoader
from appliance.offers.loaders import LOADERS, NO_LOADER, Family, LoaderFile, loaders_for, missing_files, remedy
from protocols.dhcp.offer import Offer, Plan, Refusal
from protocols.dhcp.request import Architecture, BootRequest, IpxeFeature

HTTP_PORT = 80
MAC_LETTERS = len("52:54:00:77:00:01")  # what identifies a machine without Ethernet is of another length


def make_plan(
    address: str,
    *,
    bios_loader: Callable[[str], BiosLoader] = lambda mac: "auto",
    uefi_loader: Callable[[str], UefiLoader] = lambda mac: "auto",
    script: Callable[[str | None], str] = lambda mac: "boot.ipxe",
    medium: Callable[[str], str | None] = lambda mac: None,
    missing: Callable[[str], tuple[LoaderFile, ...]] = missing_files,
    grub_finds_us: Callable[[], bool] = lambda: False,
    http_port: int = HTTP_PORT,
) -> Plan:
    """The plan of a box whose address is `address` and which serves its tree over TFTP and HTTP.

    `bios_loader` gives the setting for a machine by its MAC (lower case, with colons): "auto" is PXELINUX, as
    KIWI's trees expect, and the script for whoever already is iPXE; "pxelinux" gives PXELINUX to iPXE on BIOS too;
    "ipxe" gives iPXE to all. `uefi_loader` does the same for UEFI: "shim", "ipxe" and "grub" are these alone; "auto"
    is shim where `grub_finds_us`, Debian's own behind it (quirks G-1): it runs under Secure Boot or not, of which
    nothing is said in DHCP (P-13). Elsewhere, and by HTTP, which that GRUB can't, it is iPXE, or a GRUB linked here.
    `script` names the iPXE script for a MAC, or for any machine when it has none. `medium` names the ISO that firmware
    is to make a disk of in its memory, which only UEFI HTTP boot can; "iso" has PXE wait for that. `missing` says which
    of a loader's files cannot be served.
    """

    def plan(request: BootRequest) -> Offer | Refusal:
        if request.is_ipxe and not _prefers_pxelinux(request, bios_loader(request.mac)):
            name = script(request.mac if len(request.mac) == MAC_LETTERS else None)
            return Offer(script_url(request, name, address, http_port))
        if request.architecture == Architecture.X86_BIOS:
            wanted: Family | Literal["auto"] = bios_loader(request.mac)
        else:
            setting, iso = uefi_loader(request.mac), medium(request.mac)
            if iso is not None and request.wants_http and request.architecture in LOADERS:
                return Offer(_http_url(iso, address, http_port), flow="http")
            if iso is not None and setting == "iso":
                return Refusal(f"{iso} is for its memory, which only UEFI HTTP boot can load it into", is_wanted=True)
            wanted = "auto" if setting == "iso" else setting
        loader = _choose_loader(request, wanted, missing, shim_first=grub_finds_us() and not request.wants_http)
        if isinstance(loader, Refusal) or not request.wants_http:
            return loader if isinstance(loader, Refusal) else Offer(loader)
        return Offer(_http_url(loader, address, http_port), flow="http")

    return plan


def script_url(request: BootRequest, name: str, address: str, http_port: int = HTTP_PORT) -> str:
    """Where iPXE finds its script: over HTTP when it was built with it (quirks I-1, I-5), else over TFTP.

    One slash behind the host in either: with two, iPXE asks TFTP for an absolute path (quirks I-2).
    """
    if IpxeFeature.HTTP not in request.ipxe_features:
        return f"tftp://{address}/{name}"
    return _http_url(name, address, http_port)


def _http_url(name: str, address: str, http_port: int) -> str:
    """The address itself, no name: a name would need a DNS server that the machine was told of (quirks H-7)."""
    port = "" if http_port == HTTP_PORT else f":{http_port}"
    return f"http://{address}{port}/{name}"


def _prefers_pxelinux(request: BootRequest, bios_loader: BiosLoader) -> bool:
    """Whether a machine that runs iPXE is to run PXELINUX instead: as configured, or as it cannot boot Linux itself."""
    if request.architecture != Architecture.X86_BIOS or bios_loader == "ipxe":
        return False
    return bios_loader == "pxelinux" or IpxeFeature.BZIMAGE not in request.ipxe_features


def _choose_loader(
    request: BootRequest,
    wanted: Family | Literal["auto"],
    missing: Callable[[str], tuple[LoaderFile, ...]],
    *,
    shim_first: bool,
) -> str | Refusal:
    """The first loader for the machine that is there in full, or what is missing from the one it ought to get."""
    if request.architecture is None:
        return Refusal("its firmware does not say which architecture it is (option 93)")
    if not loaders_for(request.architecture):
        reason = NO_LOADER.get(request.architecture, "none is known for its architecture")
        return Refusal(f"no boot loader for {request.firmware}: {reason}")
    names = loaders_for(request.architecture, wanted, shim_first=shim_first)
    if not names:
        return Refusal(f"no boot loader for {request.firmware}: Debian has no {wanted} for it, as it is configured")
    for name in names:
        if not missing(name):
            return name
    return Refusal(f"no boot loader for {request.firmware}: {remedy(missing(names[0]))}")
