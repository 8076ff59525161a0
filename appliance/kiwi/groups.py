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


def _spelled(word: str) -> str | None:
    try:
        return format_mac(parse_mac(word))
    except ValueError:
        return None


def macs_listed(values: Mapping[str, str], key: str) -> list[str]:
    """The machines of a list, whose MACs may be in whatever spelling; what is no MAC is passed over."""
    return [mac for word in listed(values, key) if (mac := _spelled(word)) is not None]


def memberships(groups: Document | None) -> dict[str, str]:
    """The group of every machine that config.group lists: of several, the first in the order of KIWI_GROUP."""
    values = groups.values if groups else {}
    found: dict[str, str] = {}
    for name in listed(values, "KIWI_GROUP")[:GROUPS_MAX]:
        for mac in macs_listed(values, f"{name}_KIWI_MAC_LIST"):
            found.setdefault(mac, name)
    return found


def resolve(site: Site, mac: str) -> Resolution | None:
    """What the machine's own file, or its group's, come to; None when the tree has nothing for this machine.

    Raises: OSError or ValueError when a file can't be read, LookupError naming one that is missing.
    """
    own = site.own_config(mac)
    document = site.read(own) if own else None
    if document is not None:
        return add_map(site, document, mac)
    group = memberships(site.groups()).get(mac)
    return None if group is None else resolve_group(site, group, mac)


def resolve_group(site: Site, group: str, mac: str) -> Resolution:
    """What the configuration of a group comes to for one machine. Raises: as resolve."""
    return add_map(site, _require(site, f"{CONFIG_PREFIX}{group}"), mac)


def map_of(document: Document) -> str | None:
    """The hardware map that a configuration names: of several, the one that clients ever test."""
    return next(iter(listed(document.values, "HARDWARE_MAP")), None)


def mapped(document: Document) -> list[str]:
    """The machines for which that map is."""
    name = map_of(document)
    return [] if name is None else macs_listed(document.values, f"{name}_HARDWARE_MAP")


def add_map(site: Site, document: Document, mac: str) -> Resolution:
    """A configuration with the hardware map that it names laid over it. Raises: as resolve."""
    extra = [_require(site, f"{MAP_PREFIX}{map_of(document)}")] if mac in mapped(document) else []
    sources = (document, *extra)
    merged = {key: value for source in sources for key, value in source.values.items()}
    return Resolution({key: value for key, value in merged.items() if not LOOKUP_KEYS.fullmatch(key)}, sources)


def _require(site: Site, path: str) -> Document:
    document = site.read(path)
    if document is None:
        raise LookupError(f"{path} is missing")
    return document
