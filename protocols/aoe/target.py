"""One AoE target's state: configuration string, MAC mask, reservation, and what an ATA command asks of its image.

Speaks AoEr11 §3. Commands that need the image come back as wishes (Read, Write, Flush); whoever carries one out builds
the reply with `completed` or `failed`. Repeating any request is harmless: initiators send again what they saw no
answer to, under the same tag or a new one (quirks A-6).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from typing_extensions import Buffer

from protocols.aoe import wire
from protocols.aoe.identity import LBA28_SECTORS, build_identity
from protocols.aoe.wire import (
    AtaArgument,
    AtaCommand,
    AtaError,
    AtaStatus,
    Command,
    ConfigCommand,
    DirectiveCommand,
    ErrorCode,
    MaskCommand,
    MaskError,
    ReserveCommand,
)
from protocols.errors import SessionError
from protocols.ethernet import format_mac, parse_mac

FIRMWARE = 1  # what configuration replies give as the firmware's version
FIRMWARE_TEXT = "1.0"
FAILURE = AtaStatus.DRDY | AtaStatus.ERR
LBA48_MASK = (1 << 48) - 1


@dataclass(frozen=True, slots=True)
class Reply:
    """An argument that answers the request, in parts to be sent one behind the other."""

    parts: tuple[Buffer, ...]


@dataclass(frozen=True, slots=True)
class Read:
    """Bytes wanted from the image, for the data of a reply to `ata`."""

    ata: AtaArgument
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes for the image; `data` is a view of the frame."""

    ata: AtaArgument
    offset: int
    data: memoryview


@dataclass(frozen=True, slots=True)
class Flush:
    """Everything written so far has to become stable."""

    ata: AtaArgument


@dataclass(frozen=True, slots=True)
class Identify:
    """IDENTIFY, with its 512 bytes: told apart from other replies because it means that a driver found the target."""

    ata: AtaArgument
    data: bytes


Outcome = Reply | Identify | Read | Write | Flush | None  # None: the request wants silence

READS = (AtaCommand.READ, AtaCommand.READ_EXT)
WRITES = (AtaCommand.WRITE, AtaCommand.WRITE_EXT)
FLUSHES = (AtaCommand.FLUSH, AtaCommand.FLUSH_EXT)


def completed(ata: AtaArgument, data: Buffer = b"") -> Reply:
    """The reply to an ATA command that did all it was asked: no sectors left, no error."""
    registers = AtaArgument(ata.aflags, 0, 0, AtaStatus.DRDY, ata.lba)
    return Reply((wire.build_ata(registers), data))


def failed(ata: AtaArgument, error: AtaError) -> Reply:
    """The reply to an ATA command that failed, its registers otherwise as they came."""
    registers = AtaArgument(ata.aflags, error, ata.sectors, FAILURE, ata.lba)
    return Reply((wire.build_ata(registers),))


class TargetSession:
    """A disk at one shelf.slot address."""

    __slots__ = (
        "_allowed",
        "_buffers",
        "_claimable",
        "_config",
        "_identity",
        "_mask",
        "_mtu",
        "_reserved",
        "frame_sectors",
        "sectors",
        "shelf",
        "slot",
        "writable",
    )

    def __init__(
        self,
        shelf: int,
        slot: int,
        *,
        sectors: int,
        writable: bool,
        label: str,
        buffers: int,
        mtu: int,
        allowed: Iterable[str] = (),
        claimable: bool = True,
    ) -> None:
        """A target that hears the MACs in `allowed` (none: everyone); no mask command lets anybody else in.

        `buffers` is how many requests one initiator may have outstanding. Of one that is not `claimable` no initiator
        can keep others away. Raises: ValueError when `allowed` has more than LIST_ENTRIES addresses, or something that
        is none.
        """
        self.shelf = shelf
        self.slot = slot
        self.sectors = sectors
        self.writable = writable
        self._buffers = buffers
        self._claimable = claimable
        self._config = b""
        self._allowed = dict.fromkeys(format_mac(parse_mac(mac)) for mac in allowed)
        self._mask = dict(self._allowed)
        if len(self._mask) > wire.LIST_ENTRIES:
            raise ValueError(f"{len(self._mask)} MACs are over the {wire.LIST_ENTRIES} a mask list holds (AoEr11 §3.3)")
        self._reserved: list[str] = []
        self._identity = build_identity(sectors, serial=f"{shelf}.{slot}:{label}", firmware=FIRMWARE_TEXT)
        self.fit(mtu)

    def fit(self, mtu: int) -> None:
        """Take the interface's MTU (bytes), which decides how many sectors a frame carries."""
        self._mtu = mtu
        self.frame_sectors = wire.sectors_per_frame(mtu)

    @property
    def mask(self) -> list[str]:
        """The MACs this target hears, in the order they were added; empty: everyone.

        An empty list opens a disk to all (AoEr11 §3.3); of one that is private it restores the operator's list.
        """
        return list(self._mask or self._allowed)

    @property
    def reserved(self) -> list[str]:
        """The MACs this target is reserved for; empty: nobody."""
        return list(self._reserved)

    def admits(self, mac: str) -> bool:
        """Whether the mask lets `mac` talk to this target at all; others get silence, so that they do not attach."""
        heard = self._mask or self._allowed
        return not heard or mac in heard

    def answer(self, mac: str, header: wire.Header, argument: Buffer) -> Outcome:
        """What to do about one request that `mac` sent to this target.

        Raises: SessionError with an ErrorCode to reply with; WireError when the argument is malformed.
        """
        if header.version != wire.VERSION:
            raise SessionError(f"version {header.version} is not {wire.VERSION}", ErrorCode.UNSUPPORTED_VERSION)
        match header.command:
            case Command.ATA:
                return self._on_ata(mac, header, wire.parse_ata(argument))
            case Command.CONFIG:
                return self._on_config(wire.parse_config(argument))
            case Command.MASK:
                return self._on_mask(wire.parse_mask(argument))
            case Command.RESERVE:
                return self._on_reserve(mac, wire.parse_reserve(argument))
        raise SessionError(f"command {header.command} is unknown", ErrorCode.BAD_COMMAND)

    def describe(self, command: int = ConfigCommand.READ) -> bytes:
        """The configuration argument of replies and advertisements."""
        return wire.build_config(
            wire.ConfigArgument(self._buffers, FIRMWARE, self.frame_sectors, wire.VERSION, command, self._config)
        )

    def _on_ata(self, mac: str, header: wire.Header, ata: AtaArgument) -> Outcome:
        if header.shelf == wire.ANY_SHELF or header.slot == wire.ANY_SLOT:
            # One write to every disk of the LAN at once is never meant.
            raise SessionError("ATA command to a wildcard address", ErrorCode.BAD_ARGUMENT)
        if ata.command == AtaCommand.IDENTIFY:  # also while reserved: an initiator may always look (as vblade)
            return Identify(ata, self._identity)
        if self._reserved and mac not in self._reserved:
            raise SessionError(f"reserved for {', '.join(self._reserved)}", ErrorCode.TARGET_RESERVED)
        if ata.command in READS:
            return self._on_read(ata)
        if ata.command in WRITES:
            return self._on_write(ata)
        if ata.command in FLUSHES:
            return Flush(ata)
        return failed(ata, AtaError.ABRT)

    def _on_read(self, ata: AtaArgument) -> Outcome:
        start = self._locate(ata)
        if start is None:
            return failed(ata, AtaError.IDNF)
        return Read(ata, start * wire.SECTOR_BYTES, ata.sectors * wire.SECTOR_BYTES)

    def _on_write(self, ata: AtaArgument) -> Outcome:
        if not self.writable:
            return failed(ata, AtaError.ABRT)
        start = self._locate(ata)
        length = ata.sectors * wire.SECTOR_BYTES
        data = memoryview(ata.data)
        if len(data) < length:
            raise SessionError(f"frame has {len(data)} of {length} bytes to write", ErrorCode.BAD_ARGUMENT)
        if start is None:
            return failed(ata, AtaError.IDNF)
        return Write(ata, start * wire.SECTOR_BYTES, data[:length])

    def _locate(self, ata: AtaArgument) -> int | None:
        """The first sector, or None when the range leaves the disk. Raises: SessionError past a frame's capacity."""
        if ata.sectors > self.frame_sectors:
            raise SessionError(f"{ata.sectors} sectors in a frame of {self.frame_sectors}", ErrorCode.BAD_ARGUMENT)
        # The upper four bits of a 28-bit address hold the device number and mode (0xE0), as the Linux driver sets them.
        is_extended = ata.command in (AtaCommand.READ_EXT, AtaCommand.WRITE_EXT)
        start = ata.lba & (LBA48_MASK if is_extended else LBA28_SECTORS)
        return start if start + ata.sectors <= self.sectors else None

    def _on_config(self, asked: wire.ConfigArgument) -> Outcome:
        command, string = asked.command, asked.string
        if command not in tuple(ConfigCommand):
            raise SessionError(f"config command {command} is unknown", ErrorCode.BAD_ARGUMENT)
        if command == ConfigCommand.TEST and string != self._config:
            return None
        if command == ConfigCommand.TEST_PREFIX and not self._config.startswith(string):
            return None
        # Set to the same again is no error: it is a repeat whose first answer was lost.
        if command == ConfigCommand.SET and self._config not in (b"", string):
            raise SessionError("the config string is set already", ErrorCode.CONFIG_STRING_PRESENT)
        if command in (ConfigCommand.SET, ConfigCommand.FORCE_SET):
            self._config = string
        return Reply((self.describe(command),))

    def _on_mask(self, asked: wire.MaskArgument) -> Outcome:
        if asked.command not in (MaskCommand.READ, MaskCommand.EDIT):
            raise SessionError(f"mask command {asked.command} is unknown", ErrorCode.BAD_ARGUMENT)
        if asked.command == MaskCommand.EDIT:
            for place, directive in enumerate(asked.directives):
                error = self._edit(directive)
                if error is not MaskError.NONE:
                    # The directives before stay in force, and the count says how many they were.
                    return Reply((wire.build_mask(wire.MaskArgument(asked.command, error), place),))
        room = self._room(wire.MASK.size, wire.DIRECTIVE.size)
        entries = [wire.Directive(DirectiveCommand.NONE, parse_mac(mac)) for mac in self.mask[:room]]
        return Reply((wire.build_mask(wire.MaskArgument(asked.command, MaskError.NONE, entries)),))

    def _edit(self, directive: wire.Directive) -> MaskError:
        mac = format_mac(directive.address)
        match directive.command:
            case DirectiveCommand.NONE:
                pass
            case _ if not self._claimable:
                return MaskError.UNSPECIFIED  # the first one that adds itself would shut out all others
            case DirectiveCommand.ADD if self._allowed and mac not in self._allowed:
                return MaskError.UNSPECIFIED  # whom a private disk hears is the operator's to say
            case DirectiveCommand.ADD:
                if mac not in self._mask and len(self._mask) == wire.LIST_ENTRIES:
                    return MaskError.LIST_FULL
                self._mask[mac] = None
            case DirectiveCommand.DELETE:
                self._mask.pop(mac, None)
            case _:
                return MaskError.BAD_DIRECTIVE
        return MaskError.NONE

    def _on_reserve(self, mac: str, asked: wire.ReserveArgument) -> Outcome:
        if asked.command not in tuple(ReserveCommand):
            raise SessionError(f"reserve command {asked.command} is unknown", ErrorCode.BAD_ARGUMENT)
        if asked.command != ReserveCommand.READ and not self._claimable:
            raise SessionError("is everybody's, and takes no reservations", ErrorCode.BAD_COMMAND)
        if asked.command == ReserveCommand.SET and self._reserved and mac not in self._reserved:
            raise SessionError(f"reserved for {', '.join(self._reserved)}", ErrorCode.TARGET_RESERVED)
        if asked.command != ReserveCommand.READ:
            self._reserved = [format_mac(address) for address in asked.addresses]
        room = self._room(wire.RESERVE.size, wire.ADDRESS.size)
        addresses = [parse_mac(reserved) for reserved in self._reserved[:room]]
        return Reply((wire.build_reserve(wire.ReserveArgument(asked.command, addresses)),))

    def _room(self, fixed: int, entry: int) -> int:
        """How many list entries fit one frame: 185 MACs of a mask at MTU 1500; a reply tells of no more."""
        return (self._mtu - (wire.HEADER_BYTES - 14) - fixed) // entry
