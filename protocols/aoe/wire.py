"""AoE frames as values and back: the header and the arguments of its four commands.

Speaks AoEr11 (February 2009) §2 header, §3.1 ATA, §3.2 configuration, §3.3 MAC mask list, §3.4 reserve/release,
protocol version 1. Left out: vendor commands (240 to 255). Decoders accept bytes after the argument they read, since
Ethernet pads short frames to 60 bytes; payloads are memoryviews into the frame they came from.
"""

import struct
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

from typing_extensions import Buffer

from protocols.errors import WireError

ETHERTYPE = 0x88A2
VERSION = 1
ANY_SHELF = 0xFFFF  # addresses every shelf
MISSET_SHELF = 0xFFF  # the Linux driver takes it for switches set wrong and refuses it (aoecmd_cfg_rsp)
ANY_SLOT = 0xFF
CONFIG_BYTES = 1024  # AoEr11 §3.2: the longest configuration string
LIST_ENTRIES = 255  # of a mask or reserve list: their counts are one byte
SECTOR_BYTES = 512
HEADER_BYTES = 24  # with the 14 of Ethernet
ATA_BYTES = 12

# AoE header (AoEr11 §2)
#
#      0               1               2               3
#   0  |                    destination                ...
#   4  |      ...  destination         |    source     ...
#   8  |                      ... source                |
#  12  |        0x88A2                 | ver 4 | flags 4 |  error  |
#  16  |        shelf (major)          | slot (minor)    | command |
#  20  |                        tag                      |
#  24  |  argument ...
HEADER = struct.Struct("!6s6sHBBHBBI")

# ATA argument (§3.1), from byte 24
#
#   0  | aflags | err/feature | sector count | cmd/status |
#   4  |  lba0  |    lba1     |     lba2     |    lba3    |
#   8  |  lba4  |    lba5     |        reserved           |
#  12  |  sectors of data ...
ATA = struct.Struct("!BBBB6s2x")

# Configuration argument (§3.2), from byte 24
#
#   0  |       buffer count        |     firmware version      |
#   4  | sector count | ver4 ccmd4 |      string length        |
#   8  |  string ...
CONFIG = struct.Struct("!HHBBH")

# MAC mask argument (§3.3), from byte 24, and its directives
#
#   0  | reserved | mcmd | merror | directive count |
#   4  | reserved | dcmd |    Ethernet address 6    |   repeated
MASK = struct.Struct("!xBBB")
DIRECTIVE = struct.Struct("!xB6s")

# Reserve/release argument (§3.4), from byte 24
#
#   0  | rcmd | address count |  Ethernet address 6  |   repeated
RESERVE = struct.Struct("!BB")
ADDRESS = struct.Struct("!6s")


class Flag(IntFlag):
    """Low four bits beside the version."""

    ERROR = 4
    RESPONSE = 8


class Command(IntEnum):
    """AoEr11 §2.6."""

    ATA = 0
    CONFIG = 1
    MASK = 2
    RESERVE = 3


class ErrorCode(IntEnum):
    """What a response with the error flag says (§2.4)."""

    BAD_COMMAND = 1
    BAD_ARGUMENT = 2
    DEVICE_UNAVAILABLE = 3
    CONFIG_STRING_PRESENT = 4
    UNSUPPORTED_VERSION = 5
    TARGET_RESERVED = 6


class AtaFlag(IntFlag):
    """Aflags (§3.1)."""

    WRITE = 0x01
    ASYNC = 0x02
    DEVICE = 0x10
    EXTENDED = 0x40


class AtaCommand(IntEnum):
    """The ATA commands a target carries out; every other one is aborted."""

    READ = 0x20
    READ_EXT = 0x24
    WRITE = 0x30
    WRITE_EXT = 0x34
    FLUSH = 0xE7
    FLUSH_EXT = 0xEA
    IDENTIFY = 0xEC


class AtaStatus(IntFlag):
    """Status register; the Linux driver takes any of 0xA9 (BSY, DF, DRQ, ERR) for a failed command."""

    ERR = 0x01
    DRDY = 0x40


class AtaError(IntFlag):
    """Error register, valid with ERR."""

    ABRT = 0x04  # command refused
    IDNF = 0x10  # no such sector
    UNC = 0x40  # sector could not be read


class ConfigCommand(IntEnum):
    """Ccmd (§3.2)."""

    READ = 0
    TEST = 1
    TEST_PREFIX = 2
    SET = 3
    FORCE_SET = 4


class MaskCommand(IntEnum):
    """Mcmd (§3.3)."""

    READ = 0
    EDIT = 1


class MaskError(IntEnum):
    """Merror (§3.3)."""

    NONE = 0
    UNSPECIFIED = 1
    BAD_DIRECTIVE = 2
    LIST_FULL = 3


class DirectiveCommand(IntEnum):
    """Dcmd (§3.3)."""

    NONE = 0
    ADD = 1
    DELETE = 2


class ReserveCommand(IntEnum):
    """Rcmd (§3.4)."""

    READ = 0
    SET = 1
    FORCE_SET = 2


@dataclass(frozen=True, slots=True)
class Header:
    """The 24 bytes every frame starts with; `flags` are bits of Flag, as a number: making a Flag costs microseconds."""

    destination: bytes
    source: bytes
    version: int
    flags: int
    error: int
    shelf: int
    slot: int
    command: int
    tag: int


@dataclass(frozen=True, slots=True)
class AtaArgument:
    """ATA registers, and the sectors behind; in responses `command` is the status and `feature` the error.

    `aflags` are bits of AtaFlag.
    """

    aflags: int
    feature: int
    sectors: int
    command: int
    lba: int
    data: Buffer = b""


@dataclass(frozen=True, slots=True)
class ConfigArgument:
    """A configuration query, or what a target says of itself."""

    buffers: int
    firmware: int
    sectors: int
    version: int
    command: int
    string: bytes


@dataclass(frozen=True, slots=True)
class Directive:
    """One step of a mask edit, or (command NONE) one entry of a mask that was read."""

    command: int
    address: bytes


@dataclass(frozen=True, slots=True)
class MaskArgument:
    """Read or edit the list of MACs a target hears."""

    command: int
    error: int = MaskError.NONE
    directives: list[Directive] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ReserveArgument:
    """Read or set the list of MACs that may use the disk."""

    command: int
    addresses: list[bytes] = field(default_factory=list)


def sectors_per_frame(mtu: int) -> int:
    """How many sectors one frame of an interface carries, 1 to 255; 0 would mean "as many as 2" to the Linux driver."""
    inside = mtu - (HEADER_BYTES - 14) - ATA_BYTES
    return min(max(inside // SECTOR_BYTES, 1), 255)


def parse_header(frame: Buffer) -> Header:
    """The header of a frame. Raises: WireError for a runt or another ethertype. AoEr11 §2."""
    view = memoryview(frame)
    if len(view) < HEADER_BYTES:
        raise WireError(f"frame of {len(view)} bytes has no AoE header", len(view))
    destination, source, ethertype, bits, error, shelf, slot, command, tag = HEADER.unpack_from(view)
    if ethertype != ETHERTYPE:
        raise WireError(f"ethertype 0x{ethertype:04x} is not AoE", 12)
    return Header(destination, source, bits >> 4, bits & 0xF, error, shelf, slot, command, tag)


def build_header(header: Header) -> bytes:
    """The 24 bytes of a header. AoEr11 §2."""
    return HEADER.pack(
        header.destination,
        header.source,
        ETHERTYPE,
        header.version * 16 + header.flags,  # a sum, since | would make a Flag of it
        header.error,
        header.shelf,
        header.slot,
        header.command,
        header.tag,
    )


def fixed_part(layout: struct.Struct, argument: memoryview) -> tuple[int, ...]:
    """The fields an argument starts with. Raises: WireError when it ends before them."""
    if len(argument) < layout.size:
        raise WireError(f"argument of {len(argument)} bytes needs {layout.size}", HEADER_BYTES + len(argument))
    return layout.unpack_from(argument)


def repeated_part(layout: struct.Struct, argument: memoryview, start: int, count: int) -> list[tuple[int, ...]]:
    """`count` equal entries from `start` on. Raises: WireError when the argument ends before the last."""
    end = start + count * layout.size
    if len(argument) < end:
        raise WireError(f"{count} entries end at byte {end} of an argument of {len(argument)}", HEADER_BYTES + start)
    return list(layout.iter_unpack(argument[start:end]))


def parse_ata(argument: Buffer) -> AtaArgument:
    """An ATA argument; `data` is all that follows the registers, padding too. Raises: WireError. AoEr11 §3.1."""
    view = memoryview(argument)
    if len(view) < ATA_BYTES:
        raise WireError(f"argument of {len(view)} bytes needs {ATA_BYTES}", HEADER_BYTES + len(view))
    aflags, feature, sectors, command, lba = ATA.unpack_from(view)
    return AtaArgument(aflags, feature, sectors, command, int.from_bytes(lba, "little"), view[ATA_BYTES:])


def build_ata(ata: AtaArgument) -> bytes:
    """The 12 bytes of the registers; the data goes out behind them untouched. AoEr11 §3.1."""
    return ATA.pack(ata.aflags, ata.feature, ata.sectors, ata.command, ata.lba.to_bytes(6, "little"))


def parse_config(argument: Buffer) -> ConfigArgument:
    """A configuration argument.

    Raises: WireError when the string leaves the frame or is over CONFIG_BYTES. AoEr11 §3.2.
    """
    view = memoryview(argument)
    buffers, firmware, sectors, bits, length = fixed_part(CONFIG, view)
    if length > CONFIG_BYTES:
        raise WireError(f"config string of {length} bytes is over {CONFIG_BYTES}", HEADER_BYTES + 6)
    if len(view) < CONFIG.size + length:
        raise WireError(f"config string of {length} bytes leaves the frame", HEADER_BYTES + CONFIG.size)
    string = bytes(view[CONFIG.size : CONFIG.size + length])
    return ConfigArgument(buffers, firmware, sectors, bits >> 4, bits & 0xF, string)


def build_config(config: ConfigArgument) -> bytes:
    """A configuration argument. AoEr11 §3.2."""
    bits = config.version << 4 | config.command
    return CONFIG.pack(config.buffers, config.firmware, config.sectors, bits, len(config.string)) + config.string


def parse_mask(argument: Buffer) -> MaskArgument:
    """A MAC mask argument. Raises: WireError when its directives leave the frame. AoEr11 §3.3."""
    view = memoryview(argument)
    command, error, count = fixed_part(MASK, view)
    entries = repeated_part(DIRECTIVE, view, MASK.size, count)
    return MaskArgument(command, error, [Directive(*entry) for entry in entries])  # type: ignore[arg-type]  # "xB6s"


def build_mask(mask: MaskArgument, count: int | None = None) -> bytes:
    """A MAC mask argument; `count` stands for the number of directives where an error is answered. AoEr11 §3.3."""
    said = len(mask.directives) if count is None else count
    entries = [DIRECTIVE.pack(directive.command, directive.address) for directive in mask.directives]
    return MASK.pack(mask.command, mask.error, said) + b"".join(entries)


def parse_reserve(argument: Buffer) -> ReserveArgument:
    """A reserve/release argument. Raises: WireError when its addresses leave the frame. AoEr11 §3.4."""
    view = memoryview(argument)
    command, count = fixed_part(RESERVE, view)
    entries = repeated_part(ADDRESS, view, RESERVE.size, count)
    return ReserveArgument(command, [entry[0] for entry in entries])  # type: ignore[misc]  # "6s"


def build_reserve(reserve: ReserveArgument) -> bytes:
    """A reserve/release argument. AoEr11 §3.4."""
    return RESERVE.pack(reserve.command, len(reserve.addresses)) + b"".join(reserve.addresses)
