"""Which configuration a machine ends with in a tree of files: its own, or its group's, and what a hardware map adds.

The clients' own order (KIWI linuxrc, config look-up): config.<MAC>; config.group and the config.<GROUP> of the first
group that lists the MAC; then hardware_config.<MAP>, of which only the first map is ever tested. What goes by address
(config.<HEX>) or for all (config.default) is no machine's own and stays with the files.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from appliance.kiwi.model import LOOKUP_KEYS
from appliance.kiwi.names import CONFIG_PREFIX, MAP_PREFIX
from appliance.kiwi.site import Document, Site
from protocols.ethernet import format_mac, parse_mac

GROUPS_MAX = 256  # names in KIWI_GROUP that are looked at

_LIST = re.compile(r"[,\s]+")


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a machine ends with: the final values, and the files they came from, in the order in which they are read."""

    values: Mapping[str, str]
    sources: tuple[Document, ...]


def listed(values: Mapping[str, str], key: str) -> list[str]:
    """The words of a list, by commas and blanks."""
    return [word for word in _LIST.split(values.get(key, "")) if word][:10_000]


def holds(values: Mapping[str, str], key: str, mac: str) -> bool:
    """Whether a list of MACs, in whatever spelling, has this one."""
    return any(_spelled(word) == mac for word in listed(values, key))


def _spelled(word: str) -> str | None:
    try:
        return format_mac(parse_mac(word))
    except ValueError:
        return None


def group_of(groups: Document | None, mac: str) -> str | None:
    """The first group of config.group that lists the machine."""
    if groups is None:
        return None
    names = listed(groups.values, "KIWI_GROUP")[:GROUPS_MAX]
    return next((name for name in names if holds(groups.values, f"{name}_KIWI_MAC_LIST", mac)), None)


def resolve(site: Site, mac: str) -> Resolution | None:
    """What the machine's own file, or its group's, come to; None when the tree has nothing for this machine.

    Raises: OSError or ValueError when a file can't be read, LookupError naming one that is missing.
    """
    own = site.own_config(mac)
    document = site.read(own) if own else None
    if document is not None:
        return add_map(site, document, mac)
    group = group_of(site.groups(), mac)
    return None if group is None else resolve_group(site, group, mac)


def resolve_group(site: Site, group: str, mac: str) -> Resolution:
    """What the configuration of a group comes to for one machine. Raises: as resolve."""
    return add_map(site, _require(site, f"{CONFIG_PREFIX}{group}"), mac)


def add_map(site: Site, document: Document, mac: str) -> Resolution:
    """A configuration with the hardware map that it names laid over it. Raises: as resolve."""
    maps = listed(document.values, "HARDWARE_MAP")[:1]
    extra = [_require(site, f"{MAP_PREFIX}{m}") for m in maps if holds(document.values, f"{m}_HARDWARE_MAP", mac)]
    sources = (document, *extra)
    merged = {key: value for source in sources for key, value in source.values.items()}
    return Resolution({key: value for key, value in merged.items() if not LOOKUP_KEYS.fullmatch(key)}, sources)


def _require(site: Site, path: str) -> Document:
    document = site.read(path)
    if document is None:
        raise LookupError(f"{path} is missing")
    return document
