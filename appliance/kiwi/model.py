"""A client's whole configuration as one typed model: every key that some version of KIWI's netboot client reads.

Made of TOML tables, of keywords, or of a configuration's own keys and values: IMAGE's text is as good as its fields.
Keys are taken in lower case and as clients spell them.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from appliance.kiwi.entries import (
    AoeRoot,
    ConfigFile,
    Device,
    Entries,
    Image,
    NbdRoot,
    NfsRoot,
    Overlay,
    Partition,
    Raid,
    Word,
)

ENTRIES_MAX = 256  # entries of one list: PART has four or a dozen, CONF some tens
VARIABLES_MAX = 256
TEXT_MAX = 4096  # characters of a value

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,100}")
_UNSAFE = re.compile(r"['\\\x00-\x1f\x7f]")


def safe_text(text: str) -> str:
    """A value that can stand between single quotes. Raises: ValueError for one that can't."""
    if _UNSAFE.search(text):
        raise ValueError("can't hold quotes, backslashes or control characters: clients would run what follows")
    return text


def _safe_key(key: str) -> str:
    if key in FIELDS:
        raise ValueError(f"is {FIELDS[key]}'s")
    if not _KEY.fullmatch(key):
        raise ValueError("must be a name of letters, digits and _ that begins with no digit")
    return key


def _read_switch(given: Any) -> Any:
    """Any text is yes to a client, even "no": true is as good, false is to leave the key out."""
    if isinstance(given, bool):
        return "yes" if given else None
    return given or None


Value = Annotated[str, Field(max_length=TEXT_MAX), AfterValidator(safe_text)]
Text = Annotated[Value, Field(min_length=1)]
Key = Annotated[str, AfterValidator(_safe_key)]
Switch = Annotated[Text | None, BeforeValidator(_read_switch)]
Many = Field(max_length=ENTRIES_MAX)


class ClientConfig(BaseModel):
    """What one client reads. Fields stand in the order in which they are written out."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    disk: Device | None = Field(default=None, validation_alias="DISK")
    part: Annotated[tuple[Partition, ...], Entries, Many] = Field(default=(), validation_alias="PART")
    raid: Raid | None = Field(default=None, validation_alias="RAID")
    image: Annotated[tuple[Image, ...], Entries, Many] = Field(default=(), validation_alias="IMAGE")
    nbdroot: NbdRoot | None = Field(default=None, validation_alias="NBDROOT")
    aoeroot: AoeRoot | None = Field(default=None, validation_alias="AOEROOT")
    nfsroot: NfsRoot | None = Field(default=None, validation_alias="NFSROOT")
    unionfs_config: Overlay | None = Field(default=None, validation_alias="UNIONFS_CONFIG")
    conf: Annotated[tuple[ConfigFile, ...], Entries, Many] = Field(default=(), validation_alias="CONF")
    vendor_conf: Annotated[tuple[ConfigFile, ...], Entries, Many] = Field(default=(), validation_alias="VENDOR_CONF")
    kiwi_kernel: Word | None = Field(default=None, validation_alias="KIWI_KERNEL")
    kiwi_initrd: Word | None = Field(default=None, validation_alias="KIWI_INITRD")
    kiwi_kernel_options: Text | None = Field(default=None, validation_alias="KIWI_KERNEL_OPTIONS")
    kiwi_boot_timeout: Annotated[int, Field(ge=0, le=86400)] | None = Field(
        default=None, validation_alias="KIWI_BOOT_TIMEOUT"
    )
    reboot_image: Switch = Field(default=None, validation_alias="REBOOT_IMAGE")
    reload_image: Switch = Field(default=None, validation_alias="RELOAD_IMAGE")
    reload_config: Switch = Field(default=None, validation_alias="RELOAD_CONFIG")
    combined_image: Switch = Field(default=None, validation_alias="COMBINED_IMAGE")
    force_kexec: Switch = Field(default=None, validation_alias="FORCE_KEXEC")
    allow_cmdline_overwrite: Switch = Field(default=None, validation_alias="ALLOW_CMDLINE_OVERWRITE")
    error_interrupt: Text | None = Field(default=None, validation_alias="ERROR_INTERRUPT")
    partitioner: Word | None = Field(default=None, validation_alias="PARTITIONER")
    device_init: Text | None = Field(default=None, validation_alias="DEVICE_INIT")
    luks_pass: Text | None = None
    kiwi_oemreboot: Switch = None
    kiwi_oemshutdown: Switch = None
    kiwi_fsmountoptions: Text | None = None
    kiwi_devicepersistency: Word | None = None
    non_persistent_device_names: Switch = Field(default=None, validation_alias="NON_PERSISTENT_DEVICE_NAMES")
    do_not_install_bootloader: Switch = Field(default=None, validation_alias="DO_NOT_INSTALL_BOOTLOADER")
    kiwi_local_cache_dir: Word | None = Field(default=None, validation_alias="KIWI_LOCAL_CACHE_DIR")
    fetch_file_temp_dir: Word | None = Field(default=None, validation_alias="FETCH_FILE_TEMP_DIR")
    kiwi_forbid_hooks: Switch = Field(default=None, validation_alias="KIWI_FORBID_HOOKS")
    kiwi_forbid_hook_cmds: Switch = Field(default=None, validation_alias="KIWI_FORBID_HOOK_CMDS")
    kiwiserver: Word | None = None
    kiwiservertype: Word | None = None
    variables: Annotated[dict[Key, Value], Field(max_length=VARIABLES_MAX)] = {}  # whatever else hooks may read


# How clients spell each field; the timeout in both ways, of which code reads the second and books name the first.
SPELLINGS: dict[str, tuple[str, ...]] = {
    name: (str(field.validation_alias or name),)
    for name, field in ClientConfig.model_fields.items()
    if name != "variables"
} | {"kiwi_boot_timeout": ("KIWI_BOOT_TIMEOUT", "kiwi_boot_timeout")}
FIELDS = {spelling: name for name, spellings in SPELLINGS.items() for spelling in spellings}

# What a client heeds before it has its final configuration: who is in which group, which map adds to it.
LOOKUP_KEYS = re.compile(r"KIWI_GROUP|HARDWARE_MAP|\w+_KIWI_MAC_LIST|\w+_HARDWARE_MAP")


def read_model(values: Mapping[str, str]) -> ClientConfig:
    """The model of a configuration's keys and values. Raises: pydantic.ValidationError naming each key."""
    known = {FIELDS[key]: value for key, value in values.items() if key in FIELDS and value}
    others = {key: value for key, value in values.items() if key not in FIELDS and not LOOKUP_KEYS.fullmatch(key)}
    return ClientConfig.model_validate(
        {SPELLINGS[name][0]: value for name, value in known.items()} | {"variables": others}
    )
