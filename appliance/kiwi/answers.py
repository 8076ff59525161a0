"""What a KIWI client that asks for its configuration is answered: policy, in the order in which it decides.

A machine's own file, or its group's in the tree; its table or group in the configuration; what an operator enrolled
it in; else, for machines that nothing is said of, what [boot] says, or nothing at all, so that they register.
"""

from dataclasses import dataclass

from appliance.enrolment.members import Members
from appliance.kiwi.names import DEFAULT, EVERYBODYS_TABLE, group_table, mac_asked_for, machine_table
from appliance.kiwi.publisher import Publisher
from appliance.kiwi.roots import with_private
from appliance.plan import Plans


@dataclass(frozen=True, slots=True)
class Chosen:
    """One machine's configuration: where it was decided, and what it says, None where that has an error."""

    place: str
    text: bytes | None


class Answers:
    """Gives the texts; its methods read files and may wait for the disk."""

    def __init__(self, publisher: Publisher, plans: Plans, members: Members | None = None) -> None:
        """Without `members` nobody belongs to any group but those in the tree."""
        self.publisher = publisher
        self._plans = plans
        self._members = members

    def open(self, path: str) -> bytes | None:
        """The configuration called `path` (from the root), or None."""
        if (mac := mac_asked_for(path)) is not None:
            return self.machine(mac) or self._generated(mac)
        if path == DEFAULT and not self.publisher.site.find(path):
            return self._everybodys(None)
        return self.publisher.file(path)

    def machine(self, mac: str) -> bytes | None:
        """What somebody decided for this machine; None where nobody did, or where it has an error."""
        chosen = self.chosen(mac)
        return chosen.text if chosen else None

    def chosen(self, mac: str) -> Chosen | None:
        """The same, and where it was decided; None where nobody did."""
        own = self.publisher.machine(mac)
        if own is not None or self.publisher.has_own(mac):
            return Chosen("the tree's KIWI/, for this machine", own)
        if self._members is None:
            return None
        table = self._members.settings.machines.get(mac)
        if table is not None and table.client is not None:
            place = machine_table(mac)
            return Chosen(place, self.publisher.model(place, table.client))
        group = self._members.group_of(mac)
        return None if group is None else self._chosen_for(group, mac)

    def _chosen_for(self, group: str, mac: str) -> Chosen:
        settings = self._members.settings.groups.get(group) if self._members else None
        if settings is not None and settings.client is not None:
            place = group_table(group)
            config = with_private(settings.client, self._plans.private(mac))
            # What passed last is remembered by its name, and one machine's is never to be another's.
            name = place if config is settings.client else f"{machine_table(mac)} by {place}"
            return Chosen(place, self.publisher.model(name, config))
        return Chosen(f"KIWI/config.{group}", self.publisher.member(group, mac))

    def _generated(self, mac: str) -> bytes | None:
        """Answering the first question spares the client ten more, but only where nothing later could apply."""
        if self.publisher.has_own(mac) or (self._members and self._members.has(mac)):
            return None
        if self._plans.has_own(mac):
            return self._plans.kiwi_config(mac)
        is_free = self._boots_unknown() and not self.publisher.site.configs()
        return self._everybodys(mac) if is_free else None

    def everybodys_place(self) -> str:
        """Where that is decided which machines are told that nothing is said of."""
        if self.publisher.site.find(DEFAULT):
            return DEFAULT
        return EVERYBODYS_TABLE if self._members and self._members.settings.client else "[boot]"

    def _everybodys(self, mac: str | None) -> bytes | None:
        """What machines are told that nothing is said of."""
        client = self._members.settings.client if self._members else None
        if client is not None:
            return self.publisher.model(EVERYBODYS_TABLE, client)
        return self._plans.kiwi_config(mac) if self._boots_unknown() else None

    def _boots_unknown(self) -> bool:
        return self._members is None or self._members.settings.unknown == "boot"
