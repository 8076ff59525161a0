"""Flows tried in turn: a machine that does not take up what it is offered is offered the same in another way.

A machine is moved on when it discovered several times, for as long as one attempt of its firmware lasts (4, 8, 16 and
32 s: quirks P-12), asked the DHCP server for its address meanwhile, and still fetched no file and asked no boot server.
That it discovers again is not enough: behind a switch port that does not forward yet (D-24), or without a DHCP server,
no flow would do better. UEFI HTTP boot between its attempts at PXE (P-11), and iPXE, are not counted at all.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from appliance.quirks.memory import FlowMemory, Tried
from appliance.quirks.model import FlowName, QuirkSettings
from appliance.quirks.table import MACHINES_MAX, Applied
from protocols.dhcp.endpoint import BootServerAsked, DhcpEvent, HostSeen

ORDER: tuple[FlowName, ...] = ("complete", "binl", "menu")  # from what boots most machines to what boots fewest
AGAIN_SECONDS = 86400.0  # after which all flows are tried once more with a machine that took none

log = structlog.get_logger()


@dataclass(slots=True)
class Attempt:
    """How one machine takes the present flow."""

    tried: Tried
    since: float  # of its first DISCOVER
    discovers: int = 0
    has_leased: bool = False


class Adaptation:
    """Says by which flow each machine is offered its boot file now."""

    def __init__(
        self, settings: QuirkSettings, *, clock: Callable[[], float], memory: FlowMemory, most: int = MACHINES_MAX
    ) -> None:
        """`clock` gives unix time; `most` machines are remembered, the longest silent being forgotten first."""
        self._settings = settings
        self._clock = clock
        self._memory = memory
        self._most = most
        self._attempts: OrderedDict[str, Attempt] = OrderedDict()
        self._is_dirty = False
        for mac, tried in memory.recall({}).items():
            self._remember(mac, Attempt(tried, since=clock()))

    def is_on(self, applied: Applied) -> bool:
        """Whether flows are tried with this machine: not where one was set for it, unless that says so too."""
        request = applied.request
        if request.is_ipxe or request.wants_http or applied.flow not in ORDER:
            return False
        own = applied.effects.adaptive
        return own if own is not None else self._settings.adaptive and not applied.is_pinned

    def flow(self, applied: Applied) -> FlowName:
        """The flow of a machine at present."""
        attempt = self._attempts.get(applied.request.mac) if self.is_on(applied) else None
        return attempt.tried.flow if attempt and self._is_of(attempt, applied) else applied.flow

    def discover(self, applied: Applied) -> FlowName:
        """The flow for a machine that discovers: the next one where the present one was offered in vain."""
        if not self.is_on(applied):
            return applied.flow
        mac, now = applied.request.mac, self._clock()
        attempt = self._attempts.get(mac)
        if attempt is None or not self._is_of(attempt, applied):
            attempt = Attempt(Tried(applied.flow, applied.flow, applied.request.architecture, at=now), since=now)
        elif attempt.discovers == 0:
            attempt.since = now
        elif self._is_in_vain(attempt, now):
            attempt = Attempt(self._next(attempt.tried, mac, now), since=now)
            self._is_dirty = True
        attempt.discovers += 1
        self._remember(mac, attempt)
        return attempt.tried.flow

    def describe(self, applied: Applied) -> str:
        """What was found out about a machine, in a few words for its timeline; nothing where nothing was."""
        attempt = self._attempts.get(applied.request.mac) if self.is_on(applied) else None
        if attempt is None or not self._is_of(attempt, applied) or not attempt.tried.is_worth_keeping:
            return ""
        return "adaptive: no flow taken up" if attempt.tried.is_exhausted else f"adaptive: {applied.flow} not taken up"

    def hear(self, event: DhcpEvent) -> None:
        """What a machine says by DHCP beside its DISCOVER."""
        match event:
            case HostSeen(mac=mac, is_leasing=True) if mac in self._attempts:
                self._attempts[mac].has_leased = True
            case BootServerAsked(request=request) if request.mac in self._attempts:
                self._begin_anew(self._attempts[request.mac])

    def fetched(self, mac: str) -> None:
        """The machine asked for a file: its flow is the right one, and stays."""
        attempt = self._attempts.get(mac)
        if attempt is None:
            return
        self._begin_anew(attempt)
        if not attempt.tried.is_proven:
            attempt.tried = replace(attempt.tried, is_proven=True, at=self._clock())
            self._is_dirty = self._is_dirty or attempt.tried.flow != attempt.tried.first

    async def keep(self) -> None:
        """Write down what has changed since it was last written; call it about once a second."""
        if self._is_dirty:
            self._is_dirty = False
            moved = {mac: each.tried for mac, each in self._attempts.items() if each.tried.is_worth_keeping}
            await asyncio.to_thread(self._memory.remember, moved)

    def tried(self, mac: str) -> Tried | None:
        """What was tried with a machine, where anything was."""
        attempt = self._attempts.get(mac)
        return attempt.tried if attempt else None

    def _is_of(self, attempt: Attempt, applied: Applied) -> bool:
        """Whether what was tried still holds: firmware set to UEFI is another, and so is a row that says otherwise."""
        return (attempt.tried.architecture, attempt.tried.first) == (applied.request.architecture, applied.flow)

    def _is_in_vain(self, attempt: Attempt, now: float) -> bool:
        if attempt.tried.is_proven or (attempt.tried.is_exhausted and now - attempt.tried.at < AGAIN_SECONDS):
            return False
        enough = attempt.discovers >= self._settings.adaptive_discovers
        return enough and attempt.has_leased and now - attempt.since >= self._settings.adaptive_seconds

    def _next(self, tried: Tried, mac: str, now: float) -> Tried:
        """The flow after this one; behind the last the first again, where it stays for a day."""
        at = ORDER.index(tried.flow) + 1
        flow = ORDER[at % len(ORDER)]
        is_exhausted = flow == tried.first
        if is_exhausted:
            log.warning("flows_exhausted", mac=mac, flow=flow, remedy="see rootwire doctor, and its firmware's screen")
        else:
            log.info("flow_changed", mac=mac, flow=flow, before=tried.flow, reason="no file was asked for")
        return Tried(flow, tried.first, tried.architecture, at=now, is_exhausted=is_exhausted)

    def _begin_anew(self, attempt: Attempt) -> None:
        attempt.discovers, attempt.has_leased = 0, False

    def _remember(self, mac: str, attempt: Attempt) -> None:
        self._attempts[mac] = attempt
        self._attempts.move_to_end(mac)
        if len(self._attempts) > self._most:
            self._attempts.popitem(last=False)
