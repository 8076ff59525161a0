"""The configuration: everything has a default, a TOML file may say otherwise, the command line has the last word."""

import dataclasses
import re
import tomllib
import typing
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    ByteSize,
    Field,
    ValidationError,
    create_model,
    model_validator,
)

from appliance.enrolment.uploads import UploadLimits
from appliance.errors import OperatorError
from appliance.exports.limits import ExportLimits
from appliance.heat.prefetch import PrefetchLimits
from appliance.heat.recording import HeatLimits
from appliance.images.catalog import CatalogLimits
from appliance.kiwi.model import ClientConfig
from appliance.kiwi.names import EVERYBODYS_TABLE, group_table, is_safe_name, machine_table
from appliance.leases.settings import DhcpSettings
from appliance.menus.settings import MenuSettings, MenuTable
from appliance.quirks.model import Effects, QuirkSettings
from appliance.section import GroupName, MacPrefix, MacText, Section
from appliance.timeline.timeline import TimelineLimits
from protocols.aoe.endpoint import AoeLimits
from protocols.dhcp.endpoint import Capture, DhcpLimits
from protocols.http.endpoint import HttpLimits
from protocols.nbd.endpoint import NbdLimits
from protocols.tftp.endpoint import TftpLimits
from storage.layerfile import LAYER_MOST

DEFAULT_SOCKET = Path("/run/rootwire/api.sock")  # where `rootwire status` looks without being told

DISK_LEAST = 1 << 20  # bytes; whole sectors and pages come of themselves
MOST_PUMPS = 64  # more threads than cores only take turns

Root = Literal["nbd", "aoe", "ram"]
BiosLoader = Literal["auto", "pxelinux", "ipxe"]
UefiLoader = Literal["auto", "shim", "ipxe", "grub", "iso"]  # iso: the machine's image itself, by UEFI HTTP boot
Write = Literal["none", "keep", "discard"]
L = TypeVar("L")
S = TypeVar("S", bound=Section)

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


def _one_line(text: str) -> str:
    if _UNPRINTABLE.search(text):
        raise ValueError("must be one line of printable text: it becomes part of a kernel command line")
    return text


def _image_name(text: str) -> str:
    if not is_safe_name(text):
        raise ValueError("must be the name of a file in image/, of letters, digits and . _ + -")
    return text


def _disk_size(size: ByteSize) -> ByteSize:
    if not DISK_LEAST <= size <= LAYER_MOST or size % DISK_LEAST:
        raise ValueError("must be 1 MiB to 1 TiB, in whole MiB, such as '4GiB'")
    return size


CommandLine = Annotated[str, AfterValidator(_one_line)]
Architecture = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,16}$")]  # as uname -m has it
ImageName = Annotated[str, AfterValidator(_image_name)]
DiskSize = Annotated[ByteSize, AfterValidator(_disk_size)]


class WriteSettings(Section):
    """The keys of both tables that say what a machine may write to (appliance/exports)."""

    write: Write | None = None
    write_size: DiskSize | None = None
    write_quota: DiskSize | None = None
    write_base: ImageName | None = None
    swap_size: DiskSize | None = None


class BootSettings(WriteSettings):
    """[boot]: what machines boot unless their own table says otherwise."""

    root: Root | None = None  # None: what the image's own initramfs mounts best, else NBD
    image: ImageName | None = None
    append: CommandLine = ""
    bios_loader: BiosLoader = "auto"
    menu_seconds: Annotated[float, Field(ge=0, le=3600)] | None = None  # None: 5 where only a person can choose, else 0
    uefi_loader: UefiLoader = "auto"
    raw_images: tuple[ImageName, ...] = ()


class MachineSettings(WriteSettings):
    """[machines."MAC"]: what one machine does differently; what is absent comes from [boot]."""

    root: Root | None = None
    image: ImageName | None = None
    install: ImageName | None = None  # what wipes its disk at each boot, until this is taken out again
    append: CommandLine | None = None
    bios_loader: BiosLoader | None = None
    uefi_loader: UefiLoader | None = None
    menu: MenuSettings | None = None
    quirks: Effects | None = None
    address: IPv4Address | None = None  # reserved for it, where [dhcp] gives addresses


class KiwiGroup(Section):
    """[kiwi.groups.NAME]: machines that KIWI's clients on them are told the same, and who belongs to them."""

    macs: tuple[MacText, ...] = ()
    prefixes: tuple[MacPrefix, ...] = ()  # whoever's MAC begins so belongs to it by itself
    architectures: tuple[Architecture, ...] = ()  # whoever registers with one of these does, too
    client: ClientConfig | None = None  # None: KIWI/config.NAME


class KiwiMachine(Section):
    """[kiwi.machines."MAC"]: one machine's group, or what its client is told."""

    group: GroupName | None = None
    client: ClientConfig | None = None


class KiwiSettings(Section):
    """[kiwi]: what KIWI's clients are told; a machine's own file in the tree comes first."""

    unknown: Literal["boot", "register"] = "boot"  # machines that nothing is said of boot as [boot] says, or ask to
    client: ClientConfig | None = None  # what such machines' clients are told instead; None: as `unknown` says
    groups: dict[GroupName, KiwiGroup] = Field(default_factory=dict)
    machines: dict[MacText, KiwiMachine] = Field(default_factory=dict)

    def clients(self) -> dict[str, ClientConfig]:
        """What clients are told, by the name of the table that says it."""
        tables = {EVERYBODYS_TABLE: self.client}
        tables |= {group_table(name): group.client for name, group in self.groups.items()}
        tables |= {machine_table(mac): machine.client for mac, machine in self.machines.items()}
        return {table: client for table, client in tables.items() if client is not None}


def _limits_section(limits: type[Any]) -> Any:
    """A table whose keys are the fields of a room's limits dataclass, each a number above zero."""
    hints = typing.get_type_hints(limits)
    fields = {f.name: (Annotated[hints[f.name], Field(gt=0)], f.default) for f in dataclasses.fields(limits)}
    return create_model(limits.__name__, __base__=Section, **typing.cast(Any, fields))


LIMITS: dict[str, type[Any]] = {
    "tftp": TftpLimits,
    "nbd": NbdLimits,
    "aoe": AoeLimits,
    "dhcp": DhcpLimits,
    "http": HttpLimits,
    "timeline": TimelineLimits,
    "uploads": UploadLimits,
    "catalog": CatalogLimits,
    "heat": HeatLimits,
    "prefetch": PrefetchLimits,
    "exports": ExportLimits,
}

LimitsTable = create_model(
    "LimitsTable",
    __base__=Section,
    **typing.cast(
        Any, {room: (section, section()) for room, section in ((r, _limits_section(c)) for r, c in LIMITS.items())}
    ),
)


class Config(Section):
    """The whole file. `interface` and `root` may instead come from the command line."""

    interface: str | None = None
    root: Path | None = None
    address: str | None = None
    state: Path | None = None  # where machines' writes are kept; None: in the boot tree, under .rootwire
    socket: Path = DEFAULT_SOCKET
    pumps: Annotated[int, Field(ge=1, le=MOST_PUMPS)] = 1  # threads that each bulk protocol is served by
    capture: Capture = "auto"  # whether port 67 is left to a DHCP server of this host, and heard by a packet socket
    prefetch: bool = True  # whether what boots read is brought into memory ahead of the next one
    aoe_reservations: bool = False  # whether an initiator may shut others out of a target that is everybody's
    boot: BootSettings = BootSettings()
    machines: dict[MacText, MachineSettings] = Field(default_factory=dict)
    kiwi: KiwiSettings = KiwiSettings()
    menu: MenuTable = MenuTable()
    quirks: QuirkSettings = QuirkSettings()
    dhcp: DhcpSettings = DhcpSettings()
    limits: LimitsTable = LimitsTable()  # type: ignore[valid-type]  # made at run time from the rooms' dataclasses

    @model_validator(mode="after")
    def _addresses_are_given(self) -> Self:
        named = next((mac for mac, table in self.machines.items() if table.address is not None), None)
        if named is not None and not self.dhcp.is_on:
            raise ValueError(f'[machines."{named}"] has an address, but there is no [dhcp] to give it')
        if self.dhcp.is_on and self.capture == "always":
            raise ValueError('by capture = "always" port 67 is left to another server, and [dhcp] has us be that one')
        return self

    def limits_for(self, room: str, kind: type[L]) -> L:
        """The settled limits of `room` (a key of LIMITS) as that room's own dataclass `kind`."""
        return kind(**getattr(self.limits, room).model_dump())


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "the file"


def load_config(path: Path | None) -> Config:
    """The configuration in the TOML file `path`, or all defaults when None.

    Raises: OperatorError naming file and key when it can't be read, is no TOML, or says something unknown.
    """
    return Config() if path is None else read_settings(path, Config, "configuration")


def read_settings(path: Path, section: type[S], what: str) -> S:
    """The TOML file `path` as a `section`; `what` is what messages call the file.

    Raises: OperatorError naming file and key when it can't be read, is no TOML, or says something unknown.
    """
    try:
        return section.model_validate(tomllib.loads(path.read_text()))
    except OSError as failure:
        raise OperatorError(f"{what} {path}: {failure.strerror}", "name a file that can be read") from failure
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as failure:
        raise OperatorError(f"{what} {path} is no TOML", f"{failure}") from failure
    except ValidationError as failure:
        first = failure.errors()[0]
        more = f" (and {failure.error_count() - 1} more)" if failure.error_count() > 1 else ""
        raise OperatorError(f"{what} {path}, {_place(first['loc'])}", f"{first['msg']}{more}") from failure
