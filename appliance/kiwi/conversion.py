"""A tree's configurations as tables of the appliance's own: what each machine, each group, and everybody else is told.

A file of which something can't be read, so that its machines would be told something else, is left out whole, and
stays in force where it is: files come before tables. So do configurations by address, for which there are no tables.
"""

import re
from dataclasses import dataclass, field

from pydantic import ValidationError

from appliance.kiwi.finding import Finding
from appliance.kiwi.groups import Resolution, add_map, listed, map_of, mapped, memberships
from appliance.kiwi.linter import check_document, errors_of
from appliance.kiwi.model import ClientConfig, read_model
from appliance.kiwi.names import CONFIG_PREFIX, DEFAULT, GROUPS, MAP_PREFIX, is_subnet_config, mac_asked_for
from appliance.kiwi.site import Document, Site
from appliance.kiwi.toml import Table
from appliance.kiwi.traps import grammar

GROUP_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")  # as appliance/section.py has it


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that no table says: where it is, FILE or FILE:LINE, and why."""

    place: str
    reason: str


@dataclass(slots=True)
class Tables:
    """What a tree comes to."""

    client: ClientConfig | None = None  # what machines are told that nothing else is said of
    groups: dict[str, ClientConfig] = field(default_factory=dict)
    members: dict[str, list[str]] = field(default_factory=dict)  # MACs by group
    machines: dict[str, ClientConfig] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)

    def as_table(self) -> Table:
        """As the configuration has them."""
        groups = {
            name: {"macs": self.members.get(name, []), "client": _dump(client)} for name, client in self.groups.items()
        }
        machines = {mac: {"client": _dump(client)} for mac, client in self.machines.items()}
        everybody = {} if self.client is None else {"client": _dump(self.client)}
        return {"kiwi": {**everybody, "groups": groups, "machines": machines}}


def _dump(client: ClientConfig) -> dict[str, object]:
    dumped: dict[str, object] = client.model_dump(exclude_defaults=True)
    return dumped


def convert(site: Site) -> Tables:
    """The tables by which every machine is told what it is told by the tree's files. Reads files: may wait."""
    conversion = _Conversion(site)
    conversion.take_machines()
    conversion.take_groups()
    conversion.take_default()
    conversion.name_the_rest()
    return conversion.tables


class _Conversion:
    """A tree on its way into tables."""

    def __init__(self, site: Site) -> None:
        self.tables = Tables()
        self._site = site
        self._paths = site.configs()
        self._own = site.own_configs()
        self._judged: dict[str, Document | None] = {}  # files that were looked at; None: nothing to be carried
        self._added: dict[str, frozenset[str]] = {}  # whom a file's map is for
        self._stuck: set[str] = set()  # machines whose own files stay in force

    def take_machines(self) -> None:
        """Machines' own files."""
        for mac, path in self._own.items():
            document = self._judge(path)
            client = self._final(document, mac) if document else None
            if client is not None:
                self.tables.machines[mac] = client
            elif not self._is_empty(path):
                self._stuck.add(mac)

    def take_groups(self) -> None:
        """Groups with their machines, and those that nobody is in yet."""
        groups = self._judge(GROUPS)
        if groups is None and GROUPS in self._judged and not self._is_empty(GROUPS):
            return
        listing = memberships(groups)
        for name in listed(groups.values, "KIWI_GROUP") if groups else ():
            if self._site.find(f"{CONFIG_PREFIX}{name}") is None and groups:
                self._leave_out(groups, "KIWI_GROUP", f"{CONFIG_PREFIX}{name} is missing")
        for mac, name in listing.items():
            if mac not in self._stuck and mac not in self.tables.machines:
                self._take_member(mac, name)
        for path in self._paths:
            if path not in self._judged and self._is_group(path):
                self._take_empty_group(path)

    def take_default(self) -> None:
        """What is for everybody else, and what its hardware map adds for some."""
        document = self._judge(DEFAULT)
        if document is None:
            return
        added = self._mapped(document) - self._stuck - self.tables.machines.keys() - set(self._members())
        if added and any(map(is_subnet_config, self._paths)):
            reason = "a machine's address decides before this map: leave it where it is"
            self._leave_out(document, "HARDWARE_MAP", reason)
            return
        clients = {mac: self._final(document, mac) for mac in sorted(added)}
        if None in clients.values():
            return
        self.tables.machines |= {mac: client for mac, client in clients.items() if client}
        self.tables.client = self._model(Resolution(document.values, (document,)))

    def name_the_rest(self) -> None:
        """Every file that nothing was made of, and why, where that was not said yet."""
        for path in self._paths:
            if path not in self._judged and not self._is_empty(path):
                self.tables.left_out.append(LeftOut(path, self._why_not(path)))

    def _why_not(self, path: str) -> str:
        mac = mac_asked_for(path)
        if mac is not None:
            return f"{self._own[mac]} is the same machine's and wins"
        if path.startswith(MAP_PREFIX):
            return "no configuration adds it to a machine's"
        if is_subnet_config(path):
            return "is asked for by address, for which there are no tables: leave it where it is"
        return f"nobody knows who is in it while {GROUPS} can't be read"

    def _members(self) -> list[str]:
        return [mac for macs in self.tables.members.values() for mac in macs]

    def _is_group(self, path: str) -> bool:
        is_other = path == DEFAULT or path.startswith(MAP_PREFIX) or is_subnet_config(path)
        return not is_other and mac_asked_for(path) is None and not self._is_empty(path)

    def _is_empty(self, path: str) -> bool:
        place = self._site.find(path)
        return place is None or place.stat().st_size == 0

    def _take_member(self, mac: str, name: str) -> None:
        document = self._judge(f"{CONFIG_PREFIX}{name}")
        if document is None or not self._take_group(document, name):
            return
        if mac in self._mapped(document):
            if (client := self._final(document, mac)) is not None:
                self.tables.machines[mac] = client
            return
        self.tables.members.setdefault(name, []).append(mac)

    def _take_empty_group(self, path: str) -> None:
        document = self._judge(path)
        if document is not None and map_of(document):
            self._leave_out(document, "HARDWARE_MAP", "its machines are not known, and so not what a map adds to each")
        elif document is not None:
            self._take_group(document, path.removeprefix(CONFIG_PREFIX))

    def _take_group(self, document: Document, name: str) -> bool:
        """Whether there is a table for the group, now at the latest."""
        if name not in self.tables.groups and not GROUP_NAME.fullmatch(name):
            self._leave_out(document, "", f"{name!r} can't be the name of a group: letters, digits and _ can")
        elif name not in self.tables.groups and (client := self._model(Resolution(document.values, (document,)))):
            self.tables.groups[name] = client
        return name in self.tables.groups

    def _judge(self, path: str) -> Document | None:
        """A configuration of which everything can be read; None, with what keeps it from that said, for any other."""
        if path not in self._judged:
            self._judged[path] = self._read(path)
        return self._judged[path]

    def _read(self, path: str) -> Document | None:
        try:
            document = self._site.read(path)
        except (OSError, ValueError) as failure:
            reason = failure.strerror if isinstance(failure, OSError) else None
            self.tables.left_out.append(LeftOut(path, reason or str(failure)))
            return None
        findings = errors_of(check_document(document, self._site, grammar.TRAPS)) if document else []
        self.tables.left_out += map(_left_out, findings)
        return None if findings else document

    def _final(self, document: Document, mac: str) -> ClientConfig | None:
        """What a machine ends with that has this configuration, its map laid over it."""
        if mac in self._mapped(document):
            path = f"{MAP_PREFIX}{map_of(document)}"
            if self._site.find(path) is None:
                self._leave_out(document, "HARDWARE_MAP", f"{path} is missing")
                return None
            if self._judge(path) is None:
                return None
        return self._model(add_map(self._site, document, mac))

    def _mapped(self, document: Document) -> frozenset[str]:
        if document.path not in self._added:
            self._added[document.path] = frozenset(mapped(document))
        return self._added[document.path]

    def _model(self, found: Resolution) -> ClientConfig | None:
        try:
            return read_model(found.values)
        except ValidationError as failure:  # of files that can be read one by one, together
            self.tables.left_out.append(LeftOut(found.sources[0].path, failure.errors()[0]["msg"]))
            return None

    def _leave_out(self, document: Document, key: str, reason: str) -> None:
        line = document.line_of(key)
        left = LeftOut(f"{document.path}:{line}" if line else document.path, reason)
        if left not in self.tables.left_out:
            self.tables.left_out.append(left)


def _left_out(finding: Finding) -> LeftOut:
    return LeftOut(finding.place, f"{finding.effect} ({finding.mend})")
