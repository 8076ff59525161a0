"""The client side of `rootwire explain`: asks the appliance what a machine would be offered and why, and shows it."""

import json
from pathlib import Path
from uuid import UUID

from pydantic import TypeAdapter
from rich.console import Console, Group, RenderableType
from rich.text import Text

from appliance.client import Place, fetch, read_answer
from appliance.errors import OperatorError
from appliance.offers.explanation import AddressReport, ExplanationReport, MenuReport, OfferReport
from appliance.reports.listing import plain_table
from appliance.reports.tables import ALARM
from protocols.dhcp.request import Architecture
from protocols.ethernet import parse_mac

ARCHITECTURES: dict[str, int] = {
    "bios": Architecture.X86_BIOS,
    "ia32": Architecture.X86_UEFI,
    "x64": Architecture.X64_UEFI,
    "arm32": Architecture.ARM32_UEFI,
    "arm64": Architecture.ARM64_UEFI,
    "riscv64": Architecture.RISCV64_UEFI,
    "loongarch64": Architecture.LOONGARCH64_UEFI,
    "ia32-http": Architecture.X86_UEFI_HTTP,
    "x64-http": Architecture.X64_UEFI_HTTP,
    "arm32-http": Architecture.ARM32_UEFI_HTTP,
    "arm64-http": Architecture.ARM64_UEFI_HTTP,
    "bios-http": Architecture.X86_BIOS_HTTP,
    "riscv64-http": Architecture.RISCV64_UEFI_HTTP,
    "loongarch64-http": Architecture.LOONGARCH64_UEFI_HTTP,
    "rpi": Architecture.ARM_RPIBOOT,
}
NUMBER_MOST = 0xFFFF  # of option 93

_REPORT = TypeAdapter(ExplanationReport)


async def show_explanation(
    who: str, *, arch: str | None, as_json: bool, socket: Path, url: str | None, console: Console | None = None
) -> None:
    """Print what the machine `who`, a MAC or a UUID, would be offered.

    Raises: OperatorError for what is neither, an architecture that there is not, a machine that never asked where no
    architecture is given, or when the appliance can't be asked.
    """
    place, console = Place(socket, url), console or Console()
    query = {} if arch is None else {"arch": str(architecture_number(arch))}
    answer = await fetch(
        place,
        f"api/explain/{_checked(who)}",
        query,
        missing=OperatorError(f"no machine with the UUID {who} has asked to boot", "name its MAC, and --arch"),
        conflict=OperatorError(f"{who} has not asked to boot", "say what its firmware is, such as --arch x64"),
    )
    report = read_answer(_REPORT, answer, place)
    if as_json:
        console.out(json.dumps(report), highlight=False)
    else:
        console.print(explanation_view(report))


def architecture_number(text: str) -> int:
    """A number of option 93, by name or as itself. Raises: OperatorError."""
    number = ARCHITECTURES.get(text.lower())
    if number is None and text.isascii() and text.isdigit() and int(text[:6]) <= NUMBER_MOST:
        number = int(text)
    if number is None:
        raise OperatorError(
            f"{text!r} is no architecture", f"use a number of option 93, or: {', '.join(ARCHITECTURES)}"
        )
    return number


def _checked(who: str) -> str:
    for read in (parse_mac, UUID):
        try:
            read(who)
        except ValueError:
            continue
        return who
    raise OperatorError(f"{who!r} is no MAC and no UUID", "name a machine as rootwire status lists it")


def explanation_view(report: ExplanationReport) -> RenderableType:
    """A heading, and a row for each thing that is decided."""
    asked = "as it last asked" if report["asked"] else "as such firmware would ask"
    facts = [report["mac"], report["firmware"], report["uuid"]]
    table = plain_table(show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    if report["address"] is not None:
        table.add_row("address", _address(report["address"]))
    for offer in report["offers"]:
        table.add_row(f"offer to {offer['to']}", _offer(offer))
    table.add_row("quirk", _quirk(report))
    table.add_row("menu", _menu(report["menu"]))
    table.add_row("client config", _config(report))
    table.add_row("root", _root(report))
    heading = Text("  ".join(fact for fact in facts if fact), style="bold")
    return Group(heading, Text(asked, style="dim"), Text(), table)


def _address(told: AddressReport) -> Text:
    if told["address"] is None:
        return Text(f"none: {told['because']}", style=ALARM)
    return Text(told["address"]).append(f"  {told['because']}", style="dim")


def _offer(offer: OfferReport) -> Text:
    if offer["refused"]:
        return Text(f"nothing: {offer['refused']}", style=ALARM)
    return Text(f"{offer['boot_file']}\n").append(f"flow {offer['flow']}: {offer['because']}", style="dim")


def _quirk(report: ExplanationReport) -> Text:
    quirks = report["quirks"]
    if not quirks["places"]:
        return Text("none is known")
    effects = ", ".join(f"{key} {value}" for key, value in quirks["effects"].items())
    text = Text(f"{', then '.join(quirks['places'])}: {effects}")
    return text.append(f"\n{quirks['story']} ({quirks['source']})", style="dim") if quirks["story"] else text


def _menu(menu: MenuReport) -> Text:
    text = Text(menu["notice"], style=ALARM) if menu["notice"] else Text(menu["place"], style="dim")
    for choice in menu["choices"]:
        mark = "*" if choice["label"] == menu["default"] else " "
        files = " ".join([choice["kernel"], *choice["initrds"]]) or "the local disk"
        text.append(f"\n{mark} {choice['label']}: {files}", style="default").append(
            f"\n    {choice['append']}", style="dim"
        )
    return text


def _config(report: ExplanationReport) -> Text:
    config = report["config"]
    if config["text"] is None:
        return Text(config["place"], style=ALARM)
    return Text(f"by {config['place']}").append(f"\n{config['text'].rstrip()}", style="dim")


def _root(report: ExplanationReport) -> Text:
    root = report["root"]
    if root["image"] is None:
        return Text("there is no image in image/", style=ALARM)
    own = f", its own {' and '.join(root['exports'])}" if root["exports"] else ""
    target = f" ({root['target']})" if root["over"] == "aoe" else ""
    return Text(f"{root['image']} over {root['over']}{target}{own}")
