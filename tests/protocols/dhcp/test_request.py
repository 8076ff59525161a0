"""What machines say of themselves: captures of real ones, and the odd forms that others send."""

import pytest

from protocols.dhcp.request import (
    Architecture,
    BootRequest,
    IpxeFeature,
    is_http_client,
    is_pxe_client,
    read_request,
)
from protocols.dhcp.wire import Op, Option, Packet, parse_packet
from protocols.errors import WireError
from tests.protocols.dhcp.vectors import read_capture

MAC = bytes.fromhex("525400770001")
UUID = bytes.fromhex("78563412bc9af0de1122334455667788")


def packet(options: dict[int, bytes] | None = None, *, chaddr: bytes = MAC) -> Packet:
    """A request with these options."""
    return Packet(
        op=Op.REQUEST, xid=1, hlen=len(chaddr), chaddr=chaddr.ljust(16, b"\0"), options=options if options else {}
    )


def read(options: dict[int, bytes], *, chaddr: bytes = MAC) -> BootRequest:
    """What is read from a request with these options."""
    return read_request(packet(options, chaddr=chaddr), "67")


def test_ovmf() -> None:
    """OVMF's DISCOVER."""
    assert read_request(parse_packet(read_capture("ovmf")[0]), "67") == BootRequest(
        mac="52:54:00:77:00:01",
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


@pytest.mark.parametrize(
    ("value", "undi"), [(b"\1\3\x10", "3.16"), (b"\1\2\1", "2.1"), (b"\2\2\1", None), (b"\1\2", None), (b"", None)]
)
def test_network_interface(value: bytes, undi: str | None) -> None:
    """Option 94 in the one form that RFC 4578 has; another is passed by."""
    assert read({Option.NETWORK_INTERFACE: value}).undi == undi


def test_ipxe_rom() -> None:
    """The iPXE ROM's DISCOVER: it can boot Linux, over HTTP too."""
    request = read_request(parse_packet(read_capture("ipxe-rom")[0]), "67")
    assert (request.firmware, request.is_ipxe, request.user_classes) == ("BIOS", True, ("iPXE",))
    assert {IpxeFeature.HTTP, IpxeFeature.BZIMAGE, IpxeFeature.PXE, IpxeFeature.MENU} <= request.ipxe_features
    assert not {IpxeFeature.HTTPS, IpxeFeature.EFI} & request.ipxe_features


def test_snponly() -> None:
    """Debian's snponly.efi: HTTP, EFI images, and no version number among the features."""
    request = read_request(parse_packet(read_capture("ipxe-snponly")[0]), "67")
    assert (request.firmware, request.is_ipxe) == ("UEFI x64", True)
    assert {IpxeFeature.HTTP, IpxeFeature.EFI} <= request.ipxe_features
    assert 235 not in request.ipxe_features


def test_undionly() -> None:
    """Debian's undionly.kpxe: its vendor class says nothing but PXEClient."""
    request = read_request(parse_packet(read_capture("ipxe-undionly")[0]), "67")
    assert (request.vendor_class, request.architecture, request.is_ipxe) == ("PXEClient", Architecture.X86_BIOS, True)


def test_boot_server_request() -> None:
    """On port 4011 the machine has its address."""
    request = read_request(parse_packet(read_capture("ovmf-4011")[-1]), "4011")
    assert (request.via, request.address) == ("4011", "10.77.0.173")


def test_address_asked_for() -> None:
    """Before it has one, the machine asks for an address in option 50."""
    assert read({Option.REQUESTED_ADDRESS: b"\x0a\0\0\7"}).address == "10.0.0.7"


def test_relay() -> None:
    """giaddr names the relay."""
    relayed = Packet(op=Op.REQUEST, xid=1, giaddr="10.9.0.1", chaddr=MAC.ljust(16, b"\0"))
    assert read_request(relayed, "67").relay == "10.9.0.1"


def test_uuid() -> None:
    """As SMBIOS spells it: its first three fields are little-endian on the wire."""
    request = read({Option.CLIENT_UUID: b"\0" + UUID})
    assert request.uuid == "12345678-9abc-def0-1122-334455667788"


@pytest.mark.parametrize("value", [b"", b"\0" + bytes(16), b"\0" + b"\xff" * 16, b"\1" + UUID, UUID, b"\0" + UUID[:8]])
def test_no_uuid(value: bytes) -> None:
    """Blank, of another type or of another length: none."""
    request = read({Option.CLIENT_UUID: value})
    assert request.uuid is None


@pytest.mark.parametrize(
    ("options", "architecture", "firmware"),
    [
        ({Option.ARCHITECTURE: b"\0\0"}, Architecture.X86_BIOS, "BIOS"),
        ({Option.ARCHITECTURE: b"\0\x09"}, Architecture.EBC, "UEFI x64"),
        ({Option.ARCHITECTURE: b"\xff\1\0\7"}, Architecture.X64_UEFI, "UEFI x64"),
        ({Option.ARCHITECTURE: b"\xff\1"}, 0xFF01, "architecture 65281"),
        ({Option.ARCHITECTURE: b"\0\x1f"}, Architecture.S390_BASIC, "architecture 31"),
        ({Option.VENDOR_CLASS: b"PXEClient:Arch:00011:UNDI:003000"}, Architecture.ARM64_UEFI, "UEFI arm64"),
        ({Option.VENDOR_CLASS: b"PXEClient"}, None, "unknown firmware"),
    ],
)
def test_architecture(options: dict[int, bytes], architecture: int | None, firmware: str) -> None:
    """The first known one of option 93, else what the vendor class says."""
    request = read(options)
    assert (request.architecture, request.firmware) == (architecture, firmware)


def test_bare_user_class() -> None:
    """Both forms of option 77 make it iPXE."""
    assert read({Option.USER_CLASS: b"iPXE"}).is_ipxe
    assert read({Option.USER_CLASS: b"\4iPXE\3lab"}).is_ipxe
    assert not read({Option.USER_CLASS: b"iPXElab"}).is_ipxe


def test_feature_of_version_zero_is_none() -> None:
    """iPXE lists a feature with its version, and others' option 175 is nobody's business."""
    features: dict[int, bytes] = {Option.IPXE: b"\x13\1\0\x18\1\1"}
    assert read({Option.USER_CLASS: b"iPXE", **features}).ipxe_features == {IpxeFeature.BZIMAGE}
    assert read(features).ipxe_features == frozenset()


def test_guid_in_chaddr() -> None:
    """EDK2's SendGUID mode: the client identifier has the MAC address; without it chaddr must do."""
    assert read({Option.CLIENT_ID: b"\1" + MAC}, chaddr=UUID).mac == "52:54:00:77:00:01"
    assert read({Option.CLIENT_ID: b"\xff" + bytes(18)}, chaddr=UUID).mac == UUID.hex(":")


def test_nothing_but_a_client_identifier() -> None:
    """InfiniBand leaves chaddr empty (RFC 4390)."""
    assert read({Option.CLIENT_ID: b"\x20\1\2\3"}, chaddr=b"").mac == "20:01:02:03"


def test_nameless() -> None:
    """A machine that cannot be told from others is refused."""
    with pytest.raises(WireError, match="names the machine"):
        read({}, chaddr=b"")


def test_text_is_made_harmless() -> None:
    """What goes to terminals and logs is printable."""
    request = read({Option.VENDOR_CLASS: b"PXEClient\x1b[2J\xff\0", Option.USER_CLASS: b"\3a\nb"})
    assert (request.vendor_class, request.user_classes) == ("PXEClient?[2J?", ("a?b",))


@pytest.mark.parametrize(
    ("options", "pxe", "http"),
    [
        ({}, False, False),
        ({Option.VENDOR_CLASS: b"udhcp 1.35"}, False, False),
        ({Option.VENDOR_CLASS: b"PXEClient"}, True, False),
        ({Option.VENDOR_CLASS: b"HTTPClient:Arch:00016:UNDI:003001"}, False, True),
        ({Option.USER_CLASS: b"iPXE"}, True, False),
    ],
)
def test_who_wants_what(options: dict[int, bytes], pxe: bool, http: bool) -> None:
    """PXE by vendor class or as iPXE, HTTP boot by vendor class, the rest is none of ours."""
    assert (is_pxe_client(packet(options)), is_http_client(packet(options))) == (pxe, http)
