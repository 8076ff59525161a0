"""The structured values of a client configuration: one class for each kind of entry, read from and written as text.

    IMAGE            DEVICE;NAME;VERSION;SERVER;BSIZE[;COMPRESSION]
    UNIONFS_CONFIG   RW,RO,TYPE
    NBDROOT          SERVER;EXPORT;DEVICE[;SWAPEXPORT;SWAPDEVICE[;WRITEEXPORT;WRITEDEVICE]]
    AOEROOT          DEVICE[,WRITEDEVICE]
    NFSROOT          SERVER;PATH
    PART             SIZE;TYPE;MOUNT
    RAID             1;DISK;DISK
    CONF             SOURCE;DESTINATION;SERVER;BSIZE[;HASH]

Clients since 2014-08 drop empty fields, so that later ones move left: none is written. A server that is left out is
filled in when the text is made.
"""

import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

TFTP_BLOCK = 32768  # bytes; the client raises smaller ones until an image has under 65,535 blocks
LARGEST_BLOCK = 65464  # bytes (RFC 2348)
REST = "x"  # in PART: the rest of the disk, or no mount point

# What reaches an eval'd command of the client: nothing that a shell or a list could take for more than text.
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:/+-]{1,255}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+][A-Za-z0-9._+-]{0,200}$")]
Path = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._:/+-]{0,254}$")]
Device = Annotated[str, StringConstraints(pattern=r"^/dev/[A-Za-z0-9._:/+-]{1,200}$")]
WriteDevice = Annotated[str, StringConstraints(pattern=r"^(tmpfs|/dev/[A-Za-z0-9._:/+-]{1,200})$")]
Block = Annotated[int, Field(ge=8, le=LARGEST_BLOCK)]

_TARGET = re.compile(r"/dev/etherd/e([0-9]{1,5})\.([0-9]{1,3})(p[0-9]+)?")
_SHELVES, _SLOTS = 65535, 255  # AoE's broadcast shelf and slot: no target's (AoEr11 §2.3)


class Entry(BaseModel):
    """One entry; made of its fields by name, or of the text that clients read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    FIELDS: ClassVar[tuple[str, ...]]  # in the order of the text
    SEPARATOR: ClassVar[str] = ";"

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        return cls.complete(cls.split(given) if isinstance(given, str) else given)

    @classmethod
    def split(cls, text: str) -> dict[str, Any]:
        """The fields of an entry's text by name, empty ones left out. Raises: ValueError when there are too many."""
        words = [word.strip("'\" \t\r") for word in text.split(cls.SEPARATOR)]
        if len(words) > len(cls.FIELDS):
            raise ValueError(f"has {len(words)} fields, of which there are {len(cls.FIELDS)}: {', '.join(cls.FIELDS)}")
        return {name: word for name, word in zip(cls.FIELDS, words, strict=False) if word}

    @classmethod
    def complete(cls, given: Any) -> Any:
        """The fields with those added that follow from others."""
        return given

    def write(self, server: str) -> str:
        """The entry as clients read it; `server` stands where none was named."""
        words = [getattr(self, name) for name in self.FIELDS]
        if "server" in self.FIELDS:
            words[self.FIELDS.index("server")] = getattr(self, "server") or server  # noqa: B009  # not of every entry
        return self.SEPARATOR.join(str(word) for word in words if word is not None)


def _split_entries(given: Any) -> Any:
    """A list's text as its entries; trailing commas and quotes around single entries are KIWI 7's own."""
    return [entry for entry in given.split(",") if entry.strip("'\" \t\r")] if isinstance(given, str) else given


Entries = BeforeValidator(_split_entries)


def _read_compression(given: Any) -> Any:
    if isinstance(given, str):
        given = {"compressed": "gzip", "compressed-gzip": "gzip", "compressed-xz": "xz"}.get(given, given)
        return None if given.startswith("uncomp") else given
    return given


class Image(Entry):
    """A file system image that the client fetches to a device."""

    FIELDS = ("device", "name", "version", "server", "block", "compression")
    WORDS: ClassVar = {None: None, "gzip": "compressed", "xz": "compressed-xz"}  # gzip as all versions spell it
    SUFFIXES: ClassVar = {None: "", "gzip": ".gz", "xz": ".xz"}

    device: Device
    name: Name
    version: Name
    server: Word | None = None
    block: Block = TFTP_BLOCK
    compression: Annotated[Literal["gzip", "xz"] | None, BeforeValidator(_read_compression)] = None

    @property
    def path(self) -> str:
        """Where the uncompressed image is, from the server's root; its checksum is beside it."""
        return f"image/{self.name}-{self.version}"

    @property
    def fetched_path(self) -> str:
        """Which file the client fetches."""
        return self.path + self.SUFFIXES[self.compression]

    def write(self, server: str) -> str:
        """As Entry.write."""
        plain = self.model_copy(update={"compression": self.WORDS[self.compression]})
        return super(Image, plain).write(server)


class Overlay(Entry):
    """What is laid over the root, and how."""

    FIELDS = ("rw", "ro", "type")
    SEPARATOR = ","

    rw: Word
    ro: Word
    type: Literal["overlay", "unionfs", "clicfs", "seed"] = "overlay"


class NbdRoot(Entry):
    """Root, swap and private write export over NBD."""

    FIELDS = ("server", "export", "device", "swap_export", "swap_device", "write_export", "write_device")
    PARTNERS: ClassVar = {"swap_export": ("swap_device", "/dev/nbd1"), "write_export": ("write_device", "/dev/nbd2")}

    server: Word | None = None
    export: Word
    device: Device = "/dev/nbd0"
    swap_export: Word | None = None
    swap_device: Device | None = None
    write_export: Word | None = None
    write_device: WriteDevice | None = None

    @classmethod
    def complete(cls, given: Any) -> Any:
        """A device for each export."""
        if not isinstance(given, dict):
            return given
        devices = {name: default for export, (name, default) in cls.PARTNERS.items() if given.get(export)}
        return {**given, **{name: given.get(name) or default for name, default in devices.items()}}

    @model_validator(mode="after")
    def _require_neighbours(self) -> Self:
        if self.write_export and not self.swap_export:
            raise ValueError("write_export needs swap_export: clients move fields left over empty ones")
        if (self.swap_device and not self.swap_export) or (self.write_device and not self.write_export):
            raise ValueError("a device needs its export: clients move fields left over empty ones")
        return self


def _require_target(device: str) -> None:
    found = _TARGET.fullmatch(device)
    if device.startswith("/dev/etherd/") and (found is None or int(found[1]) >= _SHELVES or int(found[2]) >= _SLOTS):
        raise ValueError(f"{device} is no AoE target: e<shelf>.<slot>, shelf 0 to 65534, slot 0 to 254")


class AoeRoot(Entry):
    """Root and private write target over AoE."""

    FIELDS = ("device", "write_device")
    SEPARATOR = ","

    device: Device
    write_device: WriteDevice | None = None

    @model_validator(mode="after")
    def _require_targets(self) -> Self:
        for device in filter(None, (self.device, self.write_device)):
            _require_target(device)
        return self


class NfsRoot(Entry):
    """Root over NFS version 3."""

    FIELDS = ("server", "path")

    server: Word | None = None
    path: Path


_LETTERS = {"S": "82", "L": "83", "V": "8e"}
_UNITS = {"M": 1, "G": 1024}


def _read_size(given: Any) -> Any:
    """A size in MB: clients of every version compare plain numbers only."""
    if given == REST:
        return None
    if isinstance(given, str) and given[-1:] in _UNITS and given[:-1].isascii() and given[:-1].isdigit():
        return int(given[:-1]) * _UNITS[given[-1]]
    return given


class Partition(Entry):
    """A partition of DISK: megabytes or the rest, type, where it is mounted."""

    FIELDS = ("size", "type", "mount")

    size: Annotated[Annotated[int, Field(ge=1, le=1 << 40)] | None, BeforeValidator(_read_size)] = None
    type: Annotated[Literal["82", "83", "8e", "fd", "41", "ef"], BeforeValidator(lambda t: _LETTERS.get(t, t))]
    mount: Annotated[Literal["swap"] | Path | None, BeforeValidator(lambda given: None if given == REST else given)] = (
        None
    )

    def write(self, server: str) -> str:
        """As Entry.write; type as a number, which is what the client compares it with."""
        return f"{self.size or REST};{self.type};{self.mount or REST}"


class Raid(Entry):
    """Mirrored disks."""

    FIELDS = ("level", "first", "second")

    level: Literal["1"] = "1"
    first: Device
    second: Device


class ConfigFile(Entry):
    """A file that the client copies into its system."""

    FIELDS = ("source", "destination", "server", "block", "hash")

    source: Word
    destination: Path
    server: Word | None = None
    block: Block = 4096
    hash: Word | None = None
