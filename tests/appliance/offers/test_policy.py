"""Which boot file each kind of machine is offered, and what is said when there is none."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.config import BiosLoader, UefiLoader
from appliance.offers.loaders import LoaderFile, missing_files
from appliance.offers.policy import make_plan
from protocols.dhcp.offer import Offer, Refusal
from protocols.dhcp.request import Architecture, BootRequest, IpxeFeature

BOX = "10.77.0.2"
BIOS = Architecture.X86_BIOS
X64 = Architecture.X64_UEFI
ROM = frozenset({IpxeFeature.HTTP, IpxeFeature.TFTP, IpxeFeature.BZIMAGE, IpxeFeature.PXE})
SNPONLY = frozenset({IpxeFeature.HTTP, IpxeFeature.TFTP, IpxeFeature.EFI})


def request(
    architecture: int | None, features: frozenset[int] | None = None, mac: str = "52:54:00:77:00:01"
) -> BootRequest:
    """A machine of an architecture, which runs iPXE when it has features."""
    return BootRequest(
        mac=mac,
        uuid=None,
        architecture=architecture,
        is_ipxe=features is not None,
        ipxe_features=features or frozenset(),
        vendor_class="PXEClient",
        user_classes=() if features is None else ("iPXE",),
        address=None,
        via="67",
        relay=None,
    )


def nothing_missing(name: str) -> tuple[LoaderFile, ...]:
    """Every loader is installed."""
    return ()


def offered(machine: BootRequest, bios_loader: BiosLoader = "auto") -> Offer | Refusal:
    """What a machine is offered when every loader is installed."""
    return make_plan(BOX, bios_loader=lambda mac: bios_loader, missing=nothing_missing)(machine)


@pytest.mark.parametrize(
    ("machine", "bios_loader", "boot_file"),
    [
        (request(BIOS), "auto", "pxelinux.0"),
        (request(BIOS), "pxelinux", "pxelinux.0"),
        (request(BIOS), "ipxe", "undionly.kpxe"),
        (request(BIOS, ROM), "auto", "http://10.77.0.2/boot.ipxe"),
        (request(BIOS, ROM), "pxelinux", "pxelinux.0"),
        (request(BIOS, ROM), "ipxe", "http://10.77.0.2/boot.ipxe"),
        (request(BIOS, ROM - {IpxeFeature.HTTP}), "auto", "tftp://10.77.0.2/boot.ipxe"),
        (request(BIOS, ROM - {IpxeFeature.BZIMAGE}), "auto", "pxelinux.0"),
        (request(BIOS, ROM - {IpxeFeature.BZIMAGE}), "ipxe", "http://10.77.0.2/boot.ipxe"),
        (request(X64), "auto", "snponly.efi"),
        (request(X64), "pxelinux", "snponly.efi"),
        (request(Architecture.EBC), "auto", "snponly.efi"),
        (request(Architecture.X86_UEFI), "auto", "grub-ia32.efi"),
        (request(Architecture.ARM32_UEFI), "auto", "grub-arm.efi"),
        (request(Architecture.ARM64_UEFI), "auto", "grub-aa64.efi"),
        (request(Architecture.RISCV64_UEFI), "auto", "grub-riscv64.efi"),
        (request(X64, SNPONLY), "auto", "http://10.77.0.2/boot.ipxe"),
        (request(X64, SNPONLY), "pxelinux", "http://10.77.0.2/boot.ipxe"),
        (request(X64, frozenset()), "auto", "tftp://10.77.0.2/boot.ipxe"),
        (request(Architecture.ARM64_UEFI, SNPONLY), "auto", "http://10.77.0.2/boot.ipxe"),
        (request(None, SNPONLY), "auto", "http://10.77.0.2/boot.ipxe"),
    ],
)
def test_boot_file(machine: BootRequest, bios_loader: BiosLoader, boot_file: str) -> None:
    """By architecture, by being iPXE already and with what built in, and by the setting for BIOS."""
    assert offered(machine, bios_loader) == Offer(boot_file)


def test_setting_of_one_machine() -> None:
    """The setting is asked for by MAC."""
    own = {"52:54:00:77:00:01": "ipxe"}
    plan = make_plan(BOX, bios_loader=lambda mac: "ipxe" if mac in own else "auto", missing=nothing_missing)
    assert plan(request(BIOS)) == Offer("undionly.kpxe")
    assert plan(request(BIOS, mac="52:54:00:77:00:02")) == Offer("pxelinux.0")


def test_script_of_one_machine() -> None:
    """So is the script, but for a machine that has no MAC."""
    plan = make_plan(BOX, script=lambda mac: f"{mac}.ipxe", missing=nothing_missing)
    assert plan(request(X64, SNPONLY)) == Offer("http://10.77.0.2/52:54:00:77:00:01.ipxe")
    assert plan(request(X64, SNPONLY, mac=bytes(16).hex(":"))) == Offer("http://10.77.0.2/None.ipxe")


def test_http_on_another_port() -> None:
    """The URL names it."""
    plan = make_plan(BOX, http_port=8080, missing=nothing_missing)
    assert plan(request(X64, SNPONLY)) == Offer("http://10.77.0.2:8080/boot.ipxe")


@pytest.mark.parametrize(
    ("setting", "boot_file"), [("shim", "shimx64.efi"), ("ipxe", "snponly.efi"), ("grub", "grub-x64.efi")]
)
def test_setting_for_uefi(setting: UefiLoader, boot_file: str) -> None:
    """It is asked for by MAC, and leaves machines with BIOS alone."""
    plan = make_plan(BOX, uefi_loader=lambda mac: setting, missing=nothing_missing)
    assert plan(request(X64)) == Offer(boot_file)
    assert plan(request(BIOS)) == Offer("pxelinux.0")


def test_shim_where_grub_finds_us() -> None:
    """Debian's GRUB, behind it, takes its server from the ACK (quirks G-1), and has no HTTP."""
    plan = make_plan(BOX, grub_finds_us=lambda: True, missing=nothing_missing)
    assert plan(request(X64)) == Offer("shimx64.efi")
    assert plan(request(Architecture.ARM64_UEFI)) == Offer("shimaa64.efi")
    by_http = replace(request(Architecture.X64_UEFI_HTTP), vendor_class="HTTPClient:Arch:00016:UNDI:003001")
    assert plan(by_http) == Offer("http://10.77.0.2/snponly.efi", flow="http")
    assert plan(request(BIOS)) == Offer("pxelinux.0")


def test_shim_that_is_not_installed(tmp_path: Path) -> None:
    """It is passed over, unless it is configured."""
    gone = missing_files("shimx64.efi", tmp_path)
    missing = {"shimx64.efi": gone}
    plan = make_plan(BOX, grub_finds_us=lambda: True, missing=lambda name: missing.get(name, ()))
    assert plan(request(X64)) == Offer("snponly.efi")
    plan = make_plan(BOX, uefi_loader=lambda mac: "shim", missing=lambda name: missing.get(name, ()))
    assert isinstance(plan(request(X64)), Refusal)


@pytest.mark.parametrize(
    ("architecture", "url"),
    [
        (Architecture.X64_UEFI_HTTP, "http://10.77.0.2/snponly.efi"),
        (Architecture.EBC_HTTP, "http://10.77.0.2/snponly.efi"),
        (Architecture.ARM64_UEFI_HTTP, "http://10.77.0.2/grub-aa64.efi"),
        (Architecture.X86_UEFI_HTTP, "http://10.77.0.2/grub-ia32.efi"),
    ],
)
def test_http_boot(architecture: Architecture, url: str) -> None:
    """The same loaders by URL, whose host is an address: a name would need a DNS server (quirks H-7)."""
    asked = replace(request(architecture), vendor_class="HTTPClient:Arch:00016:UNDI:003001")
    assert offered(asked) == Offer(url, flow="http")


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        (None, "its firmware does not say which architecture it is (option 93)"),
        (Architecture.LOONGARCH64_UEFI, "no boot loader for UEFI loongarch64: Debian has no boot loader for it"),
        (0x1234, "no boot loader for architecture 4660: none is known for its architecture"),
    ],
)
def test_no_loader_for_it(architecture: int | None, reason: str) -> None:
    """The operator is told which machine it was."""
    assert offered(request(architecture)) == Refusal(reason)


def test_no_loader_as_configured() -> None:
    """There is one for it, of another kind than the configuration asks for."""
    plan = make_plan(BOX, uefi_loader=lambda mac: "ipxe", missing=nothing_missing)
    refused = "no boot loader for UEFI arm64: Debian has no ipxe for it, as it is configured"
    assert plan(request(Architecture.ARM64_UEFI)) == Refusal(refused)


def test_loader_not_installed(tmp_path: Path) -> None:
    """The reason names the first choice and its packages."""
    plan = make_plan(BOX, uefi_loader=lambda mac: "ipxe", missing=lambda name: missing_files(name, tmp_path))
    assert plan(request(X64)) == Refusal("no boot loader for UEFI x64: snponly.efi not installed: run apt install ipxe")


@pytest.mark.parametrize(("setting", "outcome"), [("auto", Offer("undionly.kpxe")), ("pxelinux", Refusal)])
def test_pxelinux_not_installed(tmp_path: Path, setting: BiosLoader, outcome: object) -> None:
    """A BIOS machine then boots by iPXE, but not against the setting."""
    gone = missing_files("pxelinux.0", tmp_path)
    missing = {"pxelinux.0": gone}
    plan = make_plan(BOX, bios_loader=lambda mac: setting, missing=lambda name: missing.get(name, ()))
    planned = plan(request(BIOS))
    assert planned == outcome or type(planned) is outcome
