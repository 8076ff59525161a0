"""Who belongs to which group of KIWI's clients: as the configuration says, as an operator enrolled it, or by rule."""

import threading
from collections.abc import Iterator
from pathlib import Path

from pydantic import TypeAdapter

from appliance.config import KiwiSettings
from appliance.enrolment.inbox import Inbox
from appliance.names import STATE
from appliance.section import GroupName, MacText
from appliance.statefile import StateFile

FILE = "enrolled.json"
SIZE_MAX = 4 << 20  # bytes of it that are read: fifty thousand machines

_ROWS = TypeAdapter(dict[MacText, GroupName])


class Enrolments:
    """Machines that an operator put into a group, remembered on disk."""

    def __init__(self, root: Path) -> None:
        """`root` is the boot tree's folder."""
        self._file = StateFile(root / STATE / FILE, _ROWS, most=SIZE_MAX)
        self._lock = threading.Lock()
        self._groups = self._file.recall({})

    def __getitem__(self, mac: str) -> str | None:
        return self._groups.get(mac)

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def put(self, mac: str, group: str | None) -> None:
        """Enrol a machine, or forget it; threads may do so at once.

        Raises: OSError when it can't be remembered; nothing is changed then.
        """
        with self._lock:
            groups = {other: at for other, at in self._groups.items() if other != mac}
            if group:
                groups[mac] = group
            self._file.write(groups)
            self._groups = groups


class Members:
    """Tells a machine's group."""

    def __init__(self, settings: KiwiSettings, inbox: Inbox, enrolled: Enrolments) -> None:
        """A machine's own table comes first, then what was enrolled, a group's list, its prefixes, architectures."""
        self.settings = settings
        self.inbox = inbox
        self.enrolled = enrolled

    def has(self, mac: str) -> bool:
        """Whether something is said of what the machine's client is to be told."""
        own = self.settings.machines.get(mac)
        return bool(own and own.client) or self.group_of(mac) is not None

    def has_aoe_root(self, mac: str) -> bool | None:
        """Whether the machine is told to have its root over AoE; None where no table says. Waits as group_of does."""
        own = self.settings.machines.get(mac)
        client = own.client if own else None
        if client is None and (group := self.settings.groups.get(self.group_of(mac) or "")) is not None:
            client = group.client
        return None if client is None else client.aoeroot is not None

    def group_of(self, mac: str) -> str | None:
        """The group of a machine, or None. May read its registration, and so wait."""
        own = self.settings.machines.get(mac)
        return (own.group if own else None) or self.enrolled[mac] or self._listed(mac) or self._ruled(mac)

    def _listed(self, mac: str) -> str | None:
        return next((name for name, group in self.settings.groups.items() if mac in group.macs), None)

    def _ruled(self, mac: str) -> str | None:
        """By rule, the longest prefix before shorter ones; architectures last, as they say least."""
        digits = mac.replace(":", "")
        rules = [(prefix, name) for name, group in self.settings.groups.items() for prefix in group.prefixes]
        fitting = [(len(prefix), name) for prefix, name in rules if digits.startswith(prefix)]
        if fitting:
            return max(fitting, key=lambda rule: rule[0])[1]
        wanted = {arch: name for name, group in self.settings.groups.items() for arch in group.architectures}
        registration = self.inbox.get(mac) if wanted else None
        return wanted.get(registration.architecture or "") if registration else None
