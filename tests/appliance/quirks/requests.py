"""Machines that ask, for the tests of quirks."""

from dataclasses import replace

from protocols.dhcp.request import Architecture, BootRequest

PC = BootRequest(
    mac="00:1b:21:00:00:01",
    uuid="12345678-9abc-def0-1122-334455667788",
    architecture=Architecture.X64_UEFI,
    is_ipxe=False,
    ipxe_features=frozenset(),
    vendor_class="PXEClient:Arch:00007:UNDI:003000",
    user_classes=(),
    address=None,
    via="67",
    relay=None,
    undi="3.0",
)
IPXE = replace(PC, is_ipxe=True, user_classes=("iPXE",))
HTTP = replace(PC, architecture=Architecture.X64_UEFI_HTTP, vendor_class="HTTPClient:Arch:00016:UNDI:003000")
PI = replace(PC, mac="d8:3a:dd:00:00:01", architecture=Architecture.X86_BIOS)
