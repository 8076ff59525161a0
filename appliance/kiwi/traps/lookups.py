"""Traps of the look-up: groups, hardware maps, and files that nobody ever asks for."""

import re
from collections.abc import Iterator

from appliance.kiwi.finding import Complaint, error, warning
from appliance.kiwi.groups import listed
from appliance.kiwi.names import (
    CONFIG_PREFIX,
    DEFAULT,
    GROUPS,
    MACHINE_TABLE,
    MAP_PREFIX,
    is_subnet_config,
    mac_asked_for,
)
from appliance.kiwi.site import Document, Site

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAC_AS_ASKED = re.compile(r"([0-9A-F]{2}:){5}[0-9A-F]{2}")


def group_file_without_groups(document: Document, site: Site) -> Iterator[Complaint]:
    """Once the file is there it has to say which groups there are."""
    if document.path == GROUPS and not listed(document.values, "KIWI_GROUP"):
        yield error(0, "defines no KIWI_GROUP: every machine without a file of its own reboots", "set KIWI_GROUP")


def group_name_no_identifier(document: Document, site: Site) -> Iterator[Complaint]:
    """Names of groups and maps become names of shell variables."""
    for key in ("KIWI_GROUP", "HARDWARE_MAP"):
        for name in listed(document.values, key):
            if not _IDENTIFIER.fullmatch(name):
                effect = f"{name} can't be part of a variable's name: the client's shell fails"
                yield error(document.line_of(key), effect, "use letters, digits and _")


def group_config_missing(document: Document, site: Site) -> Iterator[Complaint]:
    """A group that lists a machine has to have a configuration."""
    for group in listed(document.values, "KIWI_GROUP") if document.path == GROUPS else ():
        if site.find(f"{CONFIG_PREFIX}{group}") is None:
            effect = f"{CONFIG_PREFIX}{group} is missing: the group's machines reboot"
            yield error(document.line_of("KIWI_GROUP"), effect, "write it, or take the group out")


def hardware_map_missing(document: Document, site: Site) -> Iterator[Complaint]:
    """A map that lists a machine has to be there."""
    for name in listed(document.values, "HARDWARE_MAP"):
        if site.find(f"{MAP_PREFIX}{name}") is None:
            effect = f"{MAP_PREFIX}{name} is missing: the map's machines reboot"
            yield error(document.line_of("HARDWARE_MAP"), effect, "write it, or take the map out")


def several_hardware_maps(document: Document, site: Site) -> Iterator[Complaint]:
    """Code stops after the first, whatever comes of it."""
    names = listed(document.values, "HARDWARE_MAP")
    if len(names) > 1:
        effect = f"only {names[0]} is ever tested, {', '.join(names[1:])} never"
        yield warning(document.line_of("HARDWARE_MAP"), effect, "name one map in a configuration")


def mac_never_matches(document: Document, site: Site) -> Iterator[Complaint]:
    """Clients compare text: upper case, with colons."""
    for line in document.lines:
        if line.key is None or not line.key.endswith(("_KIWI_MAC_LIST", "_HARDWARE_MAP")):
            continue
        for word in listed({line.key: line.value}, line.key):
            if not _MAC_AS_ASKED.fullmatch(word):
                effect = f"{word} matches no machine: clients compare upper case with colons"
                yield warning(line.number, effect, "published machine by machine, where any spelling is the same")


def config_never_asked_for(document: Document, site: Site) -> Iterator[Complaint]:
    """There is no alias, host name, UUID or type of hardware in any look-up."""
    path, name = document.path, document.path.removeprefix(CONFIG_PREFIX)
    if path in (DEFAULT, GROUPS) or not path.startswith(CONFIG_PREFIX) or is_subnet_config(path):
        return
    groups = site.groups()
    if mac_asked_for(path) is None and (groups is None or name not in listed(groups.values, "KIWI_GROUP")):
        effect = f"no client asks for config.{name}, and no group in config.group is called so"
        yield warning(0, effect, "name it after a MAC, or enrol machines in a group of that name")


def mac_in_two_files(document: Document, site: Site) -> Iterator[Complaint]:
    """All spellings of a MAC are one machine here, and one file to its client."""
    mac = mac_asked_for(document.path)
    kept = site.own_config(mac) if mac else None
    if kept is not None and kept != document.path:
        yield warning(0, f"{kept} is the same machine's and wins", "keep one of the two")


def write_export_for_many(document: Document, site: Site) -> Iterator[Complaint]:
    """Clients format what they may write to: two on one export destroy each other's data."""
    if mac_asked_for(document.path) is not None or document.path.startswith(MACHINE_TABLE):
        return
    nbd = any(len(fields) > 5 and fields[5] for fields in document.entries("NBDROOT"))
    aoe = document.values.get("AOEROOT", "").partition(",")[2].startswith("/dev/etherd/")
    if nbd or aoe:
        effect = "each machine that reads this formats the same export, under the others' feet"
        mend = 'give machines their own: write = "keep" in [boot] or [machines."MAC"]'
        yield error(document.line_of("NBDROOT" if nbd else "AOEROOT"), effect, mend)


TRAPS = (
    group_file_without_groups,
    group_name_no_identifier,
    group_config_missing,
    hardware_map_missing,
    several_hardware_maps,
    mac_never_matches,
    config_never_asked_for,
    mac_in_two_files,
    write_export_for_many,
)
