"""The names KIWI's netboot clients ask for: configurations in every spelling of a MAC, images and their versions.

The contract is the clients' own source (kiwi 7.04 to 9, package kiwi-boot-descriptions).
"""

import re

from protocols.ethernet import format_mac, parse_mac

# What a name may hold to survive the client's shell, its list separators and its eval'd download command.
_SAFE_NAME = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9._+-]{0,200}")
_CONFIG_NAME = re.compile(r"KIWI/config\.(?P<who>[0-9A-Fa-f:.\-]{12,17})")
_SUBNET_NAME = re.compile(r"KIWI/config\.[0-9A-F]{1,8}")

FOLDER = "KIWI"
CONFIG_PREFIX = "KIWI/config."
MAP_PREFIX = "KIWI/hardware_config."
DEFAULT = "KIWI/config.default"
GROUPS = "KIWI/config.group"
EVERYBODYS_TABLE = "[kiwi.client]"  # of the appliance's configuration: machines that nothing else is said of
MACHINE_TABLE = "[kiwi.machines."  # begins the name of one machine's
NO_VERSION = "0"  # stands in for the version of an image whose file name has none


def is_safe_name(name: str) -> bool:
    """Whether an image name can be given to every client: letters, digits and . _ + -, at most 201, no leading dot."""
    return _SAFE_NAME.fullmatch(name) is not None


def machine_table(mac: str) -> str:
    """What messages call a machine's table."""
    return f'{MACHINE_TABLE}"{mac}"]'


def group_table(group: str) -> str:
    """What they call a group's."""
    return f"[kiwi.groups.{group}]"


def mac_asked_for(path: str) -> str | None:
    """The machine whose own configuration `path` (relative to the root) names, in whatever spelling.

    Clients ask upper case with colons, the documentation writes dots, people write dashes and lower case: all are
    the same file. None when the path is no config.<MAC>.
    """
    found = _CONFIG_NAME.fullmatch(path)
    if found is None:
        return None
    try:
        return format_mac(parse_mac(found["who"]))
    except ValueError:
        return None


def is_client_config(path: str) -> bool:
    """Whether `path` is one of the files a client's initramfs looks its configuration up in."""
    return path.startswith(CONFIG_PREFIX)


def is_subnet_config(path: str) -> bool:
    """Whether `path` is asked for by leading hex digits of an IPv4 address, upper case as clients write them."""
    return _SUBNET_NAME.fullmatch(path) is not None


def split_name(image: str) -> tuple[str, str]:
    """NAME and VERSION of an image file called NAME.ARCH-VERSION; a name without a version gets version 0."""
    name, dash, version = image.rpartition("-")
    return (name, version) if dash and name and version else (image, NO_VERSION)
