"""Machines and boots as tables for people; fed with the API's reports, so they need no appliance to be drawn."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from appliance.images.changes import REMEDIES
from appliance.images.sumfiles import MEND_CHECKSUM
from appliance.reports.listing import GAP, plain_table
from appliance.reports.report import (
    BootReport,
    ImageReport,
    MachineHistory,
    MachineReport,
    MachinesReport,
    RefusedReport,
    StepReport,
)
from appliance.timeline.stage import FINAL_STAGES, Stage

READABLE = 9  # columns that a loader or root needs at least to be recognised: "pxelinux", "nbd name"
ALARM = "yellow"
HAS_ROOT = frozenset(stage.label for stage in FINAL_STAGES)
MACHINES_NAMED = 3  # per hint: a classroom that waits for the same thing is one line, not thirty


def machines_table(machines: Sequence[MachineReport], *, width: int = 100) -> Table:
    """One row per machine, yellow where it waits too long; `width` columns decide whether loader and root have room."""
    rows = [_cells(machine) for machine in machines]
    table = plain_table()
    for heading, room in _fit_columns(rows, width).items():
        justify: Literal["left", "right"] = "right" if heading in ("for", "bytes") else "left"
        table.add_column(heading, justify=justify, no_wrap=True, overflow="ellipsis", max_width=room)
    headings = [column.header for column in table.columns]
    for machine, cells in zip(machines, rows, strict=True):
        style = ALARM if machine["overdue"] else None
        table.add_row(*(text for heading, text in cells.items() if heading in headings), style=style)
    return table


def _cells(machine: MachineReport) -> dict[str, Text]:
    """A row by column heading, in the order of the columns."""
    others = len(machine["addresses"]) - 1
    return {
        "machine": Text(machine["mac"] or "not known yet"),
        "address": Text(next(iter(machine["addresses"]), "") + (f" +{others}" if others > 0 else "")),
        "firmware": Text(" ".join(filter(None, (machine["architecture"], machine["runs"])))),
        "stage": Text(machine["stage"] or "seen", style="green" if machine["stage"] in HAS_ROOT else ""),
        "for": Text(describe_seconds(machine["waiting"])),
        "loader": Text(machine["loader"] or ""),
        "root": Text(machine["root"] or ""),
        "bytes": Text(describe_bytes(machine["bytes"])),
    }


def _fit_columns(rows: Sequence[dict[str, Text]], width: int) -> dict[str, int]:
    """The headings that fit into `width` and the room of each: only loader and root may be cut short or left out."""
    headings = ("machine", "address", "firmware", "stage", "for", "loader", "root", "bytes")
    rooms = {heading: max(len(heading), *(len(row[heading]) for row in rows), 0) for heading in headings}
    loader, root = rooms["loader"], rooms["root"]
    spare = width - sum(room + GAP for room in rooms.values()) + loader + root
    rooms["loader"] = min(loader, max(spare // 2, spare - root))
    rooms["root"] = min(root, spare - rooms["loader"])
    if rooms["loader"] < min(loader, READABLE) or rooms["root"] < min(root, READABLE):
        del rooms["loader"]
        rooms["root"] = min(root, spare + GAP)
        if rooms["root"] < min(root, READABLE):
            del rooms["root"]
    return rooms


def timeline_table(boot: BootReport) -> Table:
    """The steps of one boot: when since it began, for how long, how much, and what."""
    table = plain_table()
    table.add_column("stage", no_wrap=True)
    for heading in ("at", "took", "bytes"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("detail", overflow="fold")
    for step in boot["steps"]:
        took = f"{step['seconds']:.2f} s" if step["seconds"] else ""
        table.add_row(_stage_text(step), f"+{step['after']:.2f} s", took, describe_bytes(step["bytes"]), _detail(step))
    return table


def _stage_text(step: StepReport) -> Text:
    style = "green" if step["stage"] in HAS_ROOT else ""
    return Text(step["stage"] + (" again" if step["second_stage"] else ""), style=style)


def _detail(step: StepReport) -> Text:
    text = Text(step["detail"])
    if step["count"] > 1:
        text.append(f"{' ' if step['detail'] else ''}(x{step['count']})", style="dim")
    return text


def machine_view(machine: MachineHistory) -> RenderableType:
    """One machine: who it is, its present boot step by step, and its earlier boots in a line each."""
    facts = [machine["id"], *machine["addresses"], machine["architecture"], machine["firmware"]]
    parts: list[RenderableType] = [Text("  ".join(fact for fact in dict.fromkeys(facts) if fact), style="bold")]
    if machine["uuid"]:
        parts.append(Text(f"uuid {machine['uuid']}", style="dim"))
    if quirk := machine.get("quirk"):
        parts.append(Text(f"quirk {quirk}: flow {machine.get('flow')}", style="dim"))
    if machine["boot"]:
        parts += [Text(), timeline_table(machine["boot"]), Text()]
        parts.append(Text(f"{machine['stage']} for {describe_seconds(machine['waiting'])}"))
    if machine["overdue"]:
        parts.append(Text(machine["overdue"]["hint"], style=ALARM))
    parts += [_earlier(boot) for boot in reversed(machine["boots"][:-1])]
    return Group(*parts)


def _earlier(boot: BootReport) -> Text:
    began = datetime.fromtimestamp(boot["began"]).strftime("%Y-%m-%d %H:%M:%S")
    return Text(f"earlier boot of {began}: {boot['stage']} after {boot['seconds']:.1f} s", style="dim")


def machines_view(report: MachinesReport, console: Console, *, height: int | None = None) -> RenderableType:
    """All machines: table, hints, summary; in at most `height` lines (5 or more) when it is given.

    Where not all have room, those that wait too long stay, then those on their way, then what changed last.
    """
    machines = report["machines"]
    hints = _hints(machines) + _image_notices(report["images"]) + _refusals(report.get("refused", []))
    hints += [Text(note, style="dim") for note in report.get("notes", [])]
    shown = list(machines)
    if height is not None:
        room = height - 1  # the table's heading
        hints = _fit(hints, console, room // 3)
        room -= sum(count_lines(text, console) for text in (*hints, _summary(machines, len(machines))))
        shown = _choose(machines, max(1, room))
    parts: list[RenderableType] = [machines_table(shown, width=console.width)] if shown else []
    return Group(*parts, *hints, _summary(machines, len(machines) - len(shown)))


def _summary(machines: Sequence[MachineReport], left_out: int) -> Text:
    return Text(summarize(machines, left_out), style="bold")


def summarize(machines: Sequence[MachineReport], left_out: int = 0) -> str:
    """One line that counts machines by stage, the furthest first: "37 machines: 30 root busy, 5 kernel, 2 overdue"."""
    if not machines:
        return "no machine has asked to boot yet"
    stages = Counter(machine["stage"] or "seen" for machine in machines)
    order = [*(stage.label for stage in reversed(Stage)), "seen"]
    parts = [f"{stages[label]} {label}" for label in order if stages[label]]
    if overdue := sum(machine["overdue"] is not None for machine in machines):
        parts.append(f"{overdue} overdue")
    total = f"{len(machines)} machine{'s' if len(machines) > 1 else ''}"
    return f"{total}{f' ({left_out} not shown)' if left_out else ''}: {', '.join(parts)}"


def describe_seconds(seconds: float) -> str:
    """A duration in at most two units, such as "3.2 s", "48 s", "4 m 10 s", "3 h 12 m", "5 d 3 h"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    for length, unit, part, subunit in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= length:
            return f"{whole // length} {unit} {whole % length // part} {subunit}"
    return f"{whole} s"


def describe_bytes(size: int) -> str:
    """A size in decimal units; nothing for nothing."""
    return decimal(size) if size else ""


def _hints(machines: Iterable[MachineReport]) -> list[Text]:
    """One paragraph per stage in which machines wait too long."""
    waiting: dict[tuple[str, str], list[str]] = {}
    for machine in machines:
        if machine["overdue"]:
            waiting.setdefault((machine["stage"] or "", machine["overdue"]["hint"]), []).append(machine["id"])
    most_first = sorted(waiting.items(), key=lambda item: -len(item[1]))
    return [_hint(names, hint) for (_, hint), names in most_first]


def _image_notices(images: Sequence[ImageReport]) -> list[Text]:
    """A line for each image whose file changed, and one for checksums that are being made."""
    notices = [Text(f"{i['name']}: {i['changed']}; {REMEDIES[i['changed']]}", ALARM) for i in images if i["changed"]]
    wrong = ((i["name"], file) for i in images for file in i.get("contradicted", ()))
    notices += [Text(f"{file} is not the checksum of {name}; {MEND_CHECKSUM}", ALARM) for name, file in wrong]
    missing = [image for image in images if image["sha256"] is None]
    if reading := [image for image in missing if image["hashed"]]:
        name, done, size = reading[0]["name"], reading[0]["hashed"], reading[0]["bytes"]
        more = f", then of {len(missing) - 1} more" if len(missing) > 1 else ""
        notices.append(Text(f"checksums of {name}: {done / size:.0%} of {decimal(size)}{more}", style="dim"))
    return notices


def _refusals(refused: Iterable[RefusedReport]) -> list[Text]:
    """A line for each reason why a configuration is withheld."""
    return [Text(f"{r['place']} is not served: {r['effect']}; {r['mend']}", ALARM) for r in refused]


def _hint(names: list[str], hint: str) -> Text:
    more = f" and {len(names) - MACHINES_NAMED} more" if len(names) > MACHINES_NAMED else ""
    return Text(f"{', '.join(names[:MACHINES_NAMED])}{more}: {hint}", style=ALARM)


def count_lines(text: Text, console: Console) -> int:
    """How many lines a text takes on a console."""
    return len(text.wrap(console, console.width))


def _fit(hints: list[Text], console: Console, room: int) -> list[Text]:
    """As many of the hints as fit into `room` lines."""
    fitting: list[Text] = []
    for hint in hints:
        room -= count_lines(hint, console)
        if room < 0:
            break
        fitting.append(hint)
    return fitting


def _choose(machines: Sequence[MachineReport], room: int) -> list[MachineReport]:
    """The `room` machines most worth looking at, in their usual order so that rows do not jump about."""
    ranked = sorted(machines, key=lambda m: (m["overdue"] is None, m["stage"] in HAS_ROOT, m["waiting"]))
    chosen = {machine["id"] for machine in ranked[:room]}
    return [machine for machine in machines if machine["id"] in chosen]
