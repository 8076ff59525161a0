"""Which boot file a machine is offered: policy alone, no sockets; what is installed and configured is asked for.

A machine is met twice on most boots: its firmware is given a loader, and when that is iPXE, iPXE is given a script.
"""

from collections.abc import Callable

from appliance.config import BiosLoader
from appliance.loaders import LOADERS, LoaderFile, missing_files, remedy
from protocols.dhcp.offer import Offer, Plan, Refusal
from protocols.dhcp.request import Architecture, BootRequest, IpxeFeature

BIOS_LOADERS = {"pxelinux": ("pxelinux.0",), "ipxe": ("undionly.kpxe",)}
HTTP_PORT = 80
MAC_LETTERS = len("52:54:00:77:00:01")  # what identifies a machine without Ethernet is of another length


def make_plan(
    address: str,
    *,
    bios_loader: Callable[[str], BiosLoader] = lambda mac: "auto",
    script: Callable[[str | None], str] = lambda mac: "boot.ipxe",
    missing: Callable[[str], tuple[LoaderFile, ...]] = missing_files,
    http_port: int = HTTP_PORT,
) -> Plan:
    """The plan of a box whose address is `address` and which serves its tree over TFTP and HTTP.

    `bios_loader` gives the setting for a machine by its MAC (lower case, with colons): "auto" is PXELINUX, as
    KIWI's trees expect, and the script for whoever already is iPXE; "pxelinux" gives PXELINUX to iPXE on BIOS too;
    "ipxe" gives iPXE to all. `script` names the iPXE script for a MAC, or for any machine when it has none.
    `missing` says which of a loader's files cannot be served.
    """

    def plan(request: BootRequest) -> Offer | Refusal:
        setting = bios_loader(request.mac)
        if request.is_ipxe and not _prefers_pxelinux(request, setting):
            name = script(request.mac if len(request.mac) == MAC_LETTERS else None)
            return Offer(script_url(request, name, address, http_port))
        return _offer_loader(request, setting, missing)

    return plan


def script_url(request: BootRequest, name: str, address: str, http_port: int = HTTP_PORT) -> str:
    """Where iPXE finds its script: over HTTP when it was built with it (quirks I-1, I-5), else over TFTP.

    One slash behind the host in either: with two, iPXE asks TFTP for an absolute path (quirks I-2).
    """
    if IpxeFeature.HTTP not in request.ipxe_features:
        return f"tftp://{address}/{name}"
    port = "" if http_port == HTTP_PORT else f":{http_port}"
    return f"http://{address}{port}/{name}"


def _prefers_pxelinux(request: BootRequest, bios_loader: BiosLoader) -> bool:
    """Whether a machine that runs iPXE is to run PXELINUX instead: as configured, or as it cannot boot Linux itself."""
    if request.architecture != Architecture.X86_BIOS or bios_loader == "ipxe":
        return False
    return bios_loader == "pxelinux" or IpxeFeature.BZIMAGE not in request.ipxe_features


def _offer_loader(
    request: BootRequest, bios_loader: BiosLoader, missing: Callable[[str], tuple[LoaderFile, ...]]
) -> Offer | Refusal:
    """The first loader for the machine that is there in full, or what is missing from the one it ought to get."""
    if request.architecture is None:
        return Refusal("its firmware does not say which architecture it is (option 93)")
    names = LOADERS.get(request.architecture, ())
    if request.architecture == Architecture.X86_BIOS:
        names = BIOS_LOADERS.get(bios_loader, names)
    if not names:
        return Refusal(f"there is no boot loader for {request.firmware} here yet")
    for name in names:
        if not missing(name):
            return Offer(name)
    return Refusal(f"no boot loader for {request.firmware}: {remedy(missing(names[0]))}")
