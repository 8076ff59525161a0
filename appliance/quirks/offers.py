"""Offers as a machine's quirks want them: the same boot file by another flow, another loader, or none at all."""

from dataclasses import replace

from appliance.offers.loaders import LINKED, LOADER_FILES, missing_files, remedy
from appliance.quirks.adaptive import Adaptation
from appliance.quirks.model import FlowName
from appliance.quirks.table import Applied, Quirks
from protocols.dhcp.offer import MenuItem, Offer, Plan, Refusal
from protocols.dhcp.request import BootRequest

MENU_TEXT = "Boot from the network"
MENU_ITEMS = 2  # some firmware dies of a menu of one, none of a menu of two (quirks P-7)


def heed_quirks(plan: Plan, quirks: Quirks, adaptation: Adaptation) -> Plan:
    """`plan`, whose offers are made as each machine's quirks want them, or as it takes them."""

    def heeding(request: BootRequest) -> Offer | Refusal:
        applied = quirks.note(request)
        discovers = request.via == "67" and not request.is_leasing
        flow = adaptation.discover(applied) if discovers else adaptation.flow(applied)
        offered = shape_offer(plan, request, applied, flow)
        if isinstance(offered, Refusal):
            return offered
        return replace(offered, quirk=", ".join(filter(None, (offered.quirk, adaptation.describe(applied)))))

    return heeding


def shape_offer(plan: Plan, request: BootRequest, applied: Applied, flow: FlowName) -> Offer | Refusal:
    """What `plan` has for a request, by the flow `flow` and otherwise as the quirks that apply say."""
    if flow == "off":
        return Refusal(f"{applied.name} says that it is left alone", is_wanted=True)
    if flow == "http" and not request.wants_http:
        return Refusal(f"{applied.name} has it wait for UEFI HTTP boot", is_wanted=True)
    if request.wants_http or request.is_ipxe:  # a URL has one flow, and iPXE takes what is complete at once (I-3)
        offered = plan(request)
        return offered if isinstance(offered, Refusal) else replace(offered, quirk=applied.name)
    offered = _other_loader(applied.effects.loader) if applied.effects.loader else plan(request)
    if isinstance(offered, Refusal):
        return offered
    offered = replace(offered, banner=applied.effects.banner or "", quirk=applied.name)
    return (
        _with_menu(offered, applied)
        if flow == "menu"
        else replace(offered, flow="binl" if flow == "binl" else "complete")
    )


def _other_loader(name: str) -> Offer | Refusal:
    """A loader of Debian's that is there, or a file of the tree's, which its machine will find or not."""
    missing = missing_files(name) if name in LOADER_FILES or name in LINKED else ()
    return Refusal(f"{name} is its loader: {remedy(missing)}") if missing else Offer(name)


def _with_menu(offered: Offer, applied: Applied) -> Offer:
    """Every item leads to the same: it is the menu that such firmware wants, not the choice (quirks P-7)."""
    count = applied.effects.menu_items or MENU_ITEMS
    texts = [MENU_TEXT, *(f"{MENU_TEXT} ({number})" for number in range(2, count + 1))]
    items = tuple(MenuItem(text, offered.boot_file) for text in texts)
    return replace(offered, flow="menu", menu=items, menu_seconds=applied.effects.menu_seconds or 0)
