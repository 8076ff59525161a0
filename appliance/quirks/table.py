"""The table of quirks: which row is a machine's, and what the configuration has to say about it."""

import tomllib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files

from pydantic import TypeAdapter

from appliance.quirks.model import Effects, FlowName, QuirkSettings, Row
from protocols.dhcp.request import BootRequest

MACHINES_MAX = 4096  # whose last request is kept, as many as the timeline has machines; the oldest goes first

NO_EFFECTS = Effects()
_ROWS = TypeAdapter(list[Row])


def shipped_rows() -> tuple[Row, ...]:
    """The rows that come with rootwire, in the order in which they are tried."""
    text = files("appliance.quirks").joinpath("rows.toml").read_text()
    return tuple(_ROWS.validate_python(tomllib.loads(text)["rows"]))


@dataclass(frozen=True, slots=True)
class Applied:
    """What holds for one machine: the row that fits it, if any, and `places`, which had a say, the last word last.

    `is_pinned`: an OUI's, a group's or the machine's own settings name the flow.
    """

    request: BootRequest
    row: Row | None
    effects: Effects
    places: tuple[str, ...]
    is_pinned: bool = False

    @property
    def flow(self) -> FlowName:
        """How it is offered its boot file, adaptation aside."""
        return self.effects.flow or "complete"

    @property
    def name(self) -> str:
        """Who had a say, in a few words; nothing for a machine without quirks."""
        return ", ".join(self.places)


class Quirks:
    """Finds a machine's row, and remembers the last request of each machine."""

    def __init__(
        self,
        settings: QuirkSettings,
        *,
        machines: Mapping[str, Effects] | None = None,
        group_of: Callable[[str], str | None] = lambda mac: None,
    ) -> None:
        """`machines` are the machines' own tables; `group_of` names the group of a MAC, and is asked only if needed."""
        self._settings = settings
        self._rows = (*settings.rows, *shipped_rows())
        self._machines = machines or {}
        self._group_of = group_of
        self._requests: OrderedDict[str, BootRequest] = OrderedDict()

    def apply(self, request: BootRequest) -> Applied:
        """What holds for the machine that sent this; the first row that fits, then OUI, group and MAC."""
        row = next((row for row in self._rows if row.match.fits(request)), None)
        effects = NO_EFFECTS if row is None else NO_EFFECTS.with_others(row)
        places = [] if row is None else [row.name]
        sayings = self._sayings(request.mac)
        for place, said in sayings:
            effects = effects.with_others(said)
            places.append(place)
        is_pinned = any(said.flow is not None for _, said in sayings)
        return Applied(request, row, effects, tuple(places), is_pinned)

    def note(self, request: BootRequest) -> Applied:
        """As `apply`, for a request that really came."""
        self._requests[request.mac] = request
        self._requests.move_to_end(request.mac)
        if len(self._requests) > MACHINES_MAX:
            self._requests.popitem(last=False)
        return self.apply(request)

    def last(self, mac: str) -> BootRequest | None:
        """The last request of a machine, where there was one."""
        return self._requests.get(mac)

    def by_uuid(self, uuid: str) -> BootRequest | None:
        """The last request of the machine with this UUID, as dmidecode spells it."""
        return next((each for each in reversed(self._requests.values()) if each.uuid == uuid), None)

    def _sayings(self, mac: str) -> list[tuple[str, Effects]]:
        """What the configuration says of a machine, the most general first; of prefixes, the shortest."""
        digits = mac.replace(":", "")
        ouis = sorted((oui for oui in self._settings.ouis if digits.startswith(oui)), key=len)
        said = [(f'[quirks.ouis."{oui}"]', self._settings.ouis[oui]) for oui in ouis]
        group = self._group_of(mac) if self._settings.groups else None
        if group in self._settings.groups:
            said.append((f"[quirks.groups.{group}]", self._settings.groups[group]))
        if mac in self._machines:
            said.append((f'[machines."{mac}".quirks]', self._machines[mac]))
        return said
