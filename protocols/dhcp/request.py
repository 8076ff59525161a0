"""What a machine says of itself when it asks for boot files: RFC 4578's options, iPXE's feature list."""

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal
from uuid import UUID

from protocols.dhcp.wire import (
    NO_ADDRESS,
    UUID_OPTION_BYTES,
    Option,
    Packet,
    parse_architectures,
    parse_options,
    parse_user_classes,
)
from protocols.errors import WireError
from protocols.ethernet import MAC_BYTES, format_mac

PXE_CLASS = b"PXEClient"
HTTP_CLASS = b"HTTPClient"
IPXE_CLASS = b"iPXE"
CLASS_WITH_ARCHITECTURE = re.compile(rb"PXEClient:Arch:(\d{5})")
ETHERNET = 1  # hardware type in htype and in front of option 61 (RFC 1700)

UNDI_BYTES, UNDI_TYPE = 3, 1  # of option 94

Via = Literal["67", "4011"]  # the port the request came to


class Architecture(IntEnum):
    """IANA's processor architecture types, option 93 (RFC 4578 §2.1 with its errata: 7 is x64, 9 EBC)."""

    X86_BIOS = 0
    NEC_PC98 = 1
    ITANIUM_UEFI = 2
    DEC_ALPHA = 3
    ARC_X86 = 4
    INTEL_LEAN_CLIENT = 5
    X86_UEFI = 6
    X64_UEFI = 7
    XSCALE_UEFI = 8
    EBC = 9  # in the field: x64 firmware that read RFC 4578 before its errata (quirks D-14)
    ARM32_UEFI = 10
    ARM64_UEFI = 11
    POWER_OPEN_FIRMWARE = 12
    POWER_EPAPR = 13
    POWER_OPAL = 14
    X86_UEFI_HTTP = 15
    X64_UEFI_HTTP = 16
    EBC_HTTP = 17
    ARM32_UEFI_HTTP = 18
    ARM64_UEFI_HTTP = 19
    X86_BIOS_HTTP = 20
    ARM32_UBOOT = 21
    ARM64_UBOOT = 22
    ARM32_UBOOT_HTTP = 23
    ARM64_UBOOT_HTTP = 24
    RISCV32_UEFI = 25
    RISCV32_UEFI_HTTP = 26
    RISCV64_UEFI = 27
    RISCV64_UEFI_HTTP = 28
    RISCV128_UEFI = 29
    RISCV128_UEFI_HTTP = 30
    S390_BASIC = 31
    S390_EXTENDED = 32
    MIPS32_UEFI = 33
    MIPS64_UEFI = 34
    SUNWAY32_UEFI = 35
    SUNWAY64_UEFI = 36
    LOONGARCH32_UEFI = 37
    LOONGARCH32_UEFI_HTTP = 38
    LOONGARCH64_UEFI = 39
    LOONGARCH64_UEFI_HTTP = 40
    ARM_RPIBOOT = 41


KNOWN = frozenset(Architecture)

FIRMWARE: dict[int, str] = {
    Architecture.X86_BIOS: "BIOS",
    Architecture.X86_UEFI: "UEFI x86",
    Architecture.X64_UEFI: "UEFI x64",
    Architecture.EBC: "UEFI x64",
    Architecture.ARM32_UEFI: "UEFI arm32",
    Architecture.ARM64_UEFI: "UEFI arm64",
    Architecture.RISCV64_UEFI: "UEFI riscv64",
    Architecture.LOONGARCH64_UEFI: "UEFI loongarch64",
    Architecture.X86_UEFI_HTTP: "UEFI x86",
    Architecture.X64_UEFI_HTTP: "UEFI x64",
    Architecture.EBC_HTTP: "UEFI x64",
    Architecture.ARM32_UEFI_HTTP: "UEFI arm32",
    Architecture.ARM64_UEFI_HTTP: "UEFI arm64",
    Architecture.RISCV64_UEFI_HTTP: "UEFI riscv64",
    Architecture.LOONGARCH64_UEFI_HTTP: "UEFI loongarch64",
    Architecture.X86_BIOS_HTTP: "BIOS",
    Architecture.ARM_RPIBOOT: "Raspberry Pi",
}


class IpxeFeature(IntEnum):
    """Suboptions of option 175 by which iPXE says what it was built with (its include/ipxe/features.h)."""

    PXE_EXTENSIONS = 16
    ISCSI = 17
    AOE = 18
    HTTP = 19
    HTTPS = 20
    TFTP = 21
    FTP = 22
    DNS = 23
    BZIMAGE = 24
    MULTIBOOT = 25
    PXE = 33
    ELF = 34
    COMBOOT = 35
    EFI = 36
    FCOE = 37
    VLAN = 38
    MENU = 39
    SDI = 40
    NFS = 41


PRINTABLE = bytes(byte if 0x20 <= byte < 0x7F else ord("?") for byte in range(256))
FEATURE_CODES = range(0x10, 0x80)  # below are settings, above are more of them (version is 235)


@dataclass(frozen=True, slots=True)
class BootRequest:
    """One machine asking for its boot file.

    `mac` is lower-case text with colons, and all there is of the hardware address when it is no Ethernet one;
    `uuid` is spelled as SMBIOS and dmidecode spell it; `architecture` is an Architecture, or the bare number of
    one without a name, or None when the machine does not say; `address` is the one it has or asks for, if any;
    `relay` is the relay's address, if any. `vendor_class` and `user_classes` are what the wire holds, with
    anything that is not printable ASCII replaced by "?": they are for people and for comparing, never for a shell.
    `undi` is option 94's version of the firmware's network interface, such as "3.16", None when it does not say.
    `is_leasing`: it asks us for the address it was offered, and is told again what it was offered with it.
    """

    mac: str
    uuid: str | None
    architecture: int | None
    is_ipxe: bool
    ipxe_features: frozenset[int]
    vendor_class: str
    user_classes: tuple[str, ...]
    address: str | None
    via: Via
    relay: str | None
    undi: str | None = None
    is_leasing: bool = False

    @property
    def firmware(self) -> str:
        """What people call the machine's firmware: "BIOS", "UEFI x64", ..."""
        if self.architecture is None:
            return "unknown firmware"
        return FIRMWARE.get(self.architecture, f"architecture {self.architecture}")

    @property
    def wants_http(self) -> bool:
        """Whether this is UEFI HTTP boot: only option 60 tells, whatever the architecture says (quirks P-10)."""
        return self.vendor_class.startswith(HTTP_CLASS.decode())


def read_request(packet: Packet, via: Via) -> BootRequest:
    """What the packet says of the machine that sent it, `via` the port it came to.

    Raises: WireError when an option it rests on is malformed, or nothing in it tells the machine from others.
    """
    user_classes = parse_user_classes(packet.options.get(Option.USER_CLASS, b""))
    is_ipxe = IPXE_CLASS in user_classes
    return BootRequest(
        mac=hardware_address(packet),
        uuid=machine_uuid(packet),
        architecture=_architecture(packet),
        is_ipxe=is_ipxe,
        ipxe_features=_ipxe_features(packet) if is_ipxe else frozenset(),
        vendor_class=_printable(vendor_class(packet)),
        user_classes=tuple(_printable(each) for each in user_classes),
        address=client_address(packet),
        via=via,
        relay=None if packet.giaddr == NO_ADDRESS else packet.giaddr,
        undi=_undi(packet),
    )


def vendor_class(packet: Packet) -> bytes:
    """Option 60 without the NULs that some firmware ends it with; empty when absent."""
    return packet.options.get(Option.VENDOR_CLASS, b"").rstrip(b"\0")


def is_pxe_client(packet: Packet) -> bool:
    """Whether the sender wants a PXE answer: by its vendor class, or because it is iPXE (quirks D-12, D-26)."""
    user_classes = parse_user_classes(packet.options.get(Option.USER_CLASS, b""))
    return vendor_class(packet).startswith(PXE_CLASS) or IPXE_CLASS in user_classes


def is_http_client(packet: Packet) -> bool:
    """Whether the sender is UEFI HTTP boot, which only understands a URL (quirks P-10)."""
    return vendor_class(packet).startswith(HTTP_CLASS)


def hardware_address(packet: Packet) -> str:
    """The machine's MAC address as text, from chaddr, or from option 61 when chaddr holds something else (D-10).

    Raises: WireError when neither holds any address.
    """
    client_id = packet.options.get(Option.CLIENT_ID, b"")
    if packet.hlen != MAC_BYTES and len(client_id) == 1 + MAC_BYTES and client_id[0] == ETHERNET:
        return format_mac(client_id[1:])
    address = packet.hardware_address or client_id
    if not address:
        raise WireError("neither chaddr nor option 61 names the machine", 2)
    return address.hex(":")


def machine_uuid(packet: Packet) -> str | None:
    """Option 97 as SMBIOS spells it; None when absent, of another form, or blank as all zeros or ones (D-9)."""
    value = packet.options.get(Option.CLIENT_UUID, b"")
    if not is_uuid_option(value) or value[1:] in (bytes(16), b"\xff" * 16):
        return None
    return str(UUID(bytes_le=value[1:]))


def is_uuid_option(value: bytes) -> bool:
    """Whether this is option 97 in the one form that RFC 4578 §2.3 defines: type 0 and sixteen bytes."""
    return len(value) == UUID_OPTION_BYTES and value[0] == 0


def client_address(packet: Packet) -> str | None:
    """The address that the client has (ciaddr) or asks for (option 50). Raises: WireError when option 50 is broken."""
    return packet.ciaddr if packet.ciaddr != NO_ADDRESS else packet.address(Option.REQUESTED_ADDRESS)


def _architecture(packet: Packet) -> int | None:
    """The first known number of option 93, or what the vendor class says where option 93 is missing (D-13)."""
    value = packet.options.get(Option.ARCHITECTURE)
    if value is not None:
        numbers = parse_architectures(value)
    else:
        named = CLASS_WITH_ARCHITECTURE.match(vendor_class(packet))
        if named is None:
            return None
        numbers = (int(named[1]),)
    return next((Architecture(number) for number in numbers if number in KNOWN), numbers[0])


def _undi(packet: Packet) -> str | None:
    """Option 94: type 1, major, minor (RFC 4578 §2.2); of another form it tells nothing."""
    value = packet.options.get(Option.NETWORK_INTERFACE, b"")
    return f"{value[1]}.{value[2]}" if len(value) == UNDI_BYTES and value[0] == UNDI_TYPE else None


def _ipxe_features(packet: Packet) -> frozenset[int]:
    """The features that option 175 lists with a version other than 0."""
    features = parse_options(packet.options.get(Option.IPXE, b""))
    return frozenset(code for code, version in features.items() if code in FEATURE_CODES and any(version))


def _printable(value: bytes) -> str:
    """Text that is safe on a terminal and in a log, whatever a hostile client sends."""
    return value.translate(PRINTABLE).decode()
