"""Why a machine is offered what it is offered, over the API.

    GET /api/explain/{who}?arch=N    ExplanationReport of `who`, a MAC in any spelling or a UUID

What is told is made as for the machine itself, from its last request; `arch` (a number of option 93) tells what its
firmware would be offered, and must be given for a machine that never asked (else 409). A UUID that nobody had is a 404.
"""

import asyncio
import json
import re
from dataclasses import dataclass, replace
from uuid import UUID

from aiohttp import web
from typing_extensions import TypedDict  # as in appliance/reports/report.py

from appliance.exports.service import ExportService
from appliance.kiwi.answers import Answers
from appliance.leases.service import LeaseService
from appliance.menus.files import PXELINUX_DEFAULT
from appliance.offers.loaders import LOADER_FILES
from appliance.plan import Plans
from appliance.quirks.adaptive import Adaptation
from appliance.quirks.offers import shape_offer
from appliance.quirks.table import Applied, Quirks
from appliance.tree import Tree
from protocols.dhcp.offer import Plan, Refusal
from protocols.dhcp.request import HTTP_CLASS, PXE_CLASS, Architecture, BootRequest, IpxeFeature
from protocols.ethernet import format_mac, parse_mac

HTTP_ARCHITECTURES = frozenset(each for each in Architecture if each.name.endswith("_HTTP"))
_NUMBER = re.compile(r"[0-9]{1,5}")
IPXE_PACKAGE = "ipxe"
FIRMWARES_DISK = "http, whole: firmware makes a disk of it in its memory"
IPXE_FEATURES = frozenset({IpxeFeature.HTTP, IpxeFeature.TFTP, IpxeFeature.BZIMAGE, IpxeFeature.MENU})  # Debian's build


class QuirkReport(TypedDict):
    """What is known of the machine."""

    row: str | None  # of the table of quirks
    story: str | None
    source: str | None
    places: list[str]  # what had a say, the last word last
    effects: dict[str, object]  # what is done differently


class OfferReport(TypedDict):
    """What one of the machine's programs is offered, or why nothing."""

    to: str  # the firmware, or iPXE after it
    boot_file: str | None
    flow: str
    because: str  # of the flow
    refused: str | None


class AddressReport(TypedDict):
    """What it is given by us, where we give addresses."""

    address: str | None  # null: nothing is left
    because: str


class MenuChoiceReport(TypedDict):
    """One line of the boot menu."""

    label: str
    kernel: str  # empty: the local disk
    initrds: list[str]
    append: str


class MenuReport(TypedDict):
    """What the loader finds."""

    place: str
    default: str | None
    choices: list[MenuChoiceReport]
    notice: str


class ConfigReport(TypedDict):
    """What KIWI's client finds."""

    place: str
    text: str | None  # null: nothing


class RootReport(TypedDict):
    """What the machine's root comes from, and what it may write to."""

    over: str
    image: str | None
    target: str | None  # the image's AoE address
    exports: list[str]  # its own


class ExplanationReport(TypedDict):
    """All of it for one machine."""

    mac: str
    uuid: str | None
    architecture: int | None
    firmware: str
    asked: bool  # whether this is from a request of its own
    quirks: QuirkReport
    address: AddressReport | None  # null: we give none
    offers: list[OfferReport]
    menu: MenuReport
    config: ConfigReport
    root: RootReport


@dataclass(frozen=True, slots=True)
class Explainer:
    """Asks those who decide."""

    plan: Plan
    quirks: Quirks
    adaptation: Adaptation
    tree: Tree
    plans: Plans
    exports: ExportService
    leases: LeaseService

    def routes(self) -> list[web.RouteDef]:
        """The API's routes."""
        return [web.get("/api/explain/{who}", self._get)]

    async def _get(self, request: web.Request) -> web.Response:
        architecture = request.query.get("arch")
        if architecture is not None and not (
            architecture.isascii() and architecture.isdigit() and len(architecture) < 6
        ):
            return _answer({"error": f"{architecture} is no number of option 93"}, 409)
        try:
            asking = self._request(request.match_info["who"], None if architecture is None else int(architecture))
        except LookupError as unknown:
            return _answer({"error": str(unknown)}, 404)
        if asking is None:
            return _answer({"error": "it never asked, so that its architecture must be said"}, 409)
        return _answer(await self.explain(*asking))

    async def explain(self, asking: BootRequest, is_own: bool) -> ExplanationReport:
        """What the machine that sends `asking` gets, and why; `is_own`: it did send it."""
        applied = self.quirks.apply(asking)
        return {
            "mac": asking.mac,
            "uuid": asking.uuid,
            "architecture": asking.architecture,
            "firmware": asking.firmware,
            "asked": is_own,
            "quirks": _report_quirks(applied),
            "address": self._address(asking),
            "offers": self._offers(applied),
            "menu": await asyncio.to_thread(self._menu, asking.mac),
            "config": await asyncio.to_thread(explain_config, self.tree.answers, self.plans, asking.mac),
            "root": await asyncio.to_thread(self._root, asking),
        }

    def _request(self, who: str, architecture: int | None) -> tuple[BootRequest, bool] | None:
        """What the machine asked last, or would ask; None: that can't be known. Raises: LookupError."""
        last, mac = self._last(who)
        if architecture is not None:
            return _made_up(mac, architecture, last), False
        return None if last is None else (last, True)

    def _last(self, who: str) -> tuple[BootRequest | None, str]:
        try:
            mac = format_mac(parse_mac(who))
        except ValueError:
            last = self.quirks.by_uuid(_spelled(who))
            if last is None:
                raise LookupError(f"no machine {who} has asked") from None
            return last, last.mac
        return self.quirks.last(mac), mac

    def _address(self, asking: BootRequest) -> AddressReport | None:
        foreseen = self.leases.foresee(asking.mac, asking.uuid)
        return None if foreseen is None else {"address": foreseen.address, "because": foreseen.because}

    def _offers(self, applied: Applied) -> list[OfferReport]:
        first = self._offer(applied)
        loader = LOADER_FILES.get((first["boot_file"] or "").rpartition("/")[2])
        if loader is None or loader.package != IPXE_PACKAGE:
            return [first]
        ipxe = replace(applied.request, is_ipxe=True, ipxe_features=IPXE_FEATURES, user_classes=("iPXE",))
        if applied.request.wants_http:
            ipxe = replace(ipxe, vendor_class=PXE_CLASS.decode())
        return [first, self._offer(self.quirks.apply(ipxe))]

    def _offer(self, applied: Applied) -> OfferReport:
        flow = self.adaptation.flow(applied)
        offered = shape_offer(self.plan, applied.request, applied, flow)
        told: OfferReport = {
            "to": "iPXE" if applied.request.is_ipxe else applied.request.firmware,
            "boot_file": None,
            "flow": flow,
            "because": self._because(applied),
            "refused": None,
        }
        if isinstance(offered, Refusal):
            return {**told, "refused": offered.reason}
        return {**told, "boot_file": offered.boot_file, "flow": offered.flow}

    def _because(self, applied: Applied) -> str:
        """Why this flow and no other."""
        tried = self.adaptation.tried(applied.request.mac)
        if applied.is_pinned:
            return f"{applied.places[-1]} says so"
        if tried is not None and self.adaptation.is_on(applied):
            if tried.is_exhausted:
                return "every flow was tried, and none was taken up"
            if tried.is_proven:
                return "the machine fetched a file by it"
            if tried.flow != tried.first:
                return f"it did not take up {tried.first}"
        if applied.row is not None and applied.row.flow is not None:
            return applied.row.story
        return "nearly all firmware boots from one complete offer"

    def _menu(self, mac: str) -> MenuReport:
        menu = self.tree.menu(mac)
        default = menu.default_choice()
        choices: list[MenuChoiceReport] = [
            {"label": each.label, "kernel": each.kernel, "initrds": list(each.initrds), "append": each.append}
            for each in menu.choices
        ]
        place = PXELINUX_DEFAULT if self.tree.has_file(PXELINUX_DEFAULT) else "generated"
        return {
            "place": place,
            "default": default.label if default else None,
            "choices": choices,
            "notice": menu.notice,
        }

    def _root(self, asking: BootRequest) -> RootReport:
        mac = asking.mac
        entry = self.plans.entry(mac)
        is_medium = asking.wants_http and self.tree.medium(mac) is not None
        return {
            "over": FIRMWARES_DISK if is_medium else self.plans.for_machine(mac).root,
            "image": entry.name if entry else None,
            "target": entry.target if entry else None,
            "exports": sorted(self.exports.exports.offered(mac).values()),
        }


def explain_config(answers: Answers, plans: Plans, mac: str) -> ConfigReport:
    """What the machine's KIWI client finds, and where that comes from. Reads files: may wait."""
    chosen = answers.chosen(mac)
    if chosen is not None:
        return {"place": chosen.place, "text": _text(chosen.text)}
    own = answers.open(f"KIWI/config.{mac.upper()}")
    if own is not None:
        return {
            "place": f'[machines."{mac}"]' if plans.has_own(mac) else answers.everybodys_place(),
            "text": _text(own),
        }
    everybody = answers.open("KIWI/config.default")
    if everybody is None:
        return {"place": "none: it registers, and waits to be enrolled", "text": None}
    return {"place": answers.everybodys_place(), "text": _text(everybody)}


def _report_quirks(applied: Applied) -> QuirkReport:
    row = applied.row
    return {
        "row": row.name if row else None,
        "story": row.story if row else None,
        "source": row.source if row else None,
        "places": list(applied.places),
        "effects": applied.effects.model_dump(exclude_none=True),
    }


def _made_up(mac: str, architecture: int, last: BootRequest | None) -> BootRequest:
    """What firmware of this architecture asks in the machine's place."""
    is_http = architecture in HTTP_ARCHITECTURES
    kind = (HTTP_CLASS if is_http else PXE_CLASS).decode()
    return BootRequest(
        mac=mac,
        uuid=last.uuid if last else None,
        architecture=architecture,
        is_ipxe=False,
        ipxe_features=frozenset(),
        vendor_class=f"{kind}:Arch:{architecture:05}",
        user_classes=(),
        address=None,
        via="67",
        relay=None,
    )


def _spelled(uuid: str) -> str:
    try:
        return str(UUID(uuid))
    except ValueError:
        return uuid


def _text(config: bytes | None) -> str | None:
    return None if config is None else config.decode(errors="replace")


def _answer(content: object, status: int = 200) -> web.Response:
    text = json.dumps(content, separators=(",", ":"))
    return web.Response(
        text=text, status=status, content_type="application/json", headers={"Cache-Control": "no-store"}
    )
