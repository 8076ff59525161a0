"""The client side of `rootwire heat`: asks the appliance what boots read, and shows or writes it."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import TypeAdapter
from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from appliance.client import Place, fetch, read_answer
from appliance.errors import OperatorError
from appliance.heat.reads import BootHeat, HeatReport, HotRange
from appliance.heat.sortfile import write_sort_file
from appliance.reports.listing import plain_table
from appliance.timeline.machine import printable

ANSWER_SECONDS = 120.0  # the first question about an image has it walked over, and its disk may be slow
NAMES_SHOWN = 3  # of a fragment in the table

_REPORT = TypeAdapter(HeatReport)


async def show_heat(
    image: str,
    *,
    client: str | None = None,
    as_json: bool = False,
    sort_file: Path | None = None,
    socket: Path,
    url: str | None = None,
    console: Console | None = None,
) -> None:
    """Print what boots read of an image, or write it as a sort file; `client` is a MAC.

    Raises: OperatorError when the appliance can't be asked, knows no such image, or has seen no boot of it.
    """
    report = await fetch_heat(Place(socket, url), image, client)
    console = console or Console()
    if as_json:
        console.out(json.dumps(report), highlight=False)
    elif not report["boots"]:
        whose = f" by {client}" if client else ""
        raise OperatorError(f"no boot of {image}{whose} was recorded", "boot a machine from it over NBD or AoE first")
    if sort_file is not None:
        count = save_sort_file(report, sort_file)
        Console(stderr=True).print(f"{sort_file}: {count} files, in the order of the boot", highlight=False)
    elif not as_json:
        console.print(heat_view(report))


async def fetch_heat(place: Place, image: str, client: str | None) -> HeatReport:
    """What the appliance says of an image. Raises: OperatorError."""
    if not image or "/" in image:
        raise OperatorError(f"{image!r} is no image's name", "name a file in image/, without a path")
    query = {"client": client} if client else {}
    missing = OperatorError(f"the appliance has no squashfs image {image}", "name one that it serves")
    answer = await fetch(place, f"api/heat/{image}", query, missing=missing, seconds=ANSWER_SECONDS)
    return read_answer(_REPORT, answer, place)


def save_sort_file(report: HeatReport, path: Path) -> int:
    """Write the files that were read in mksquashfs's format; how many there are.

    Raises: OperatorError when the file can't be written.
    """
    lines = list(write_sort_file(ordered_names(report)))
    try:
        path.write_bytes(b"".join(lines))
    except OSError as failure:
        raise OperatorError(f"sort file {path}: {failure.strerror}", "name one that can be written") from failure
    return len(lines)


def ordered_names(report: HeatReport) -> Iterator[bytes]:
    """Files in the order of the first read; those whose ends share a fragment come with its first read, all of them."""
    for part in report["ranges"]:
        if part["part"] in ("file", "fragment"):
            yield from map(os.fsencode, part["names"])


def heat_view(report: HeatReport) -> RenderableType:
    """The boots in a line each, then a row a file."""
    return Group(*map(_boot_line, report["boots"]), Text(), heat_table(report["ranges"], len(report["boots"])))


def _boot_line(boot: BootHeat) -> Text:
    dropped = f", {boot['dropped']} reads not recorded" if boot["dropped"] else ""
    return Text(
        f"{printable(boot['client'])}: {decimal(boot['bytes'])} in {boot['reads']} reads, {boot['jumps']} jumps over"
        f" {decimal(boot['way'])}; {boot['blocks']} blocks of 128 KiB in {boot['stretches']} stretches{dropped}",
        style="bold",
    )


def heat_table(ranges: Sequence[HotRange], boots: int) -> Table:
    """What was read, in the order of the first read."""
    table = plain_table()
    for heading in ("at", "read", "of"):
        table.add_column(heading, justify="right", no_wrap=True)
    if boots > 1:
        table.add_column("boots", justify="right", no_wrap=True)
    table.add_column("file", overflow="fold")
    for part in ranges:
        cells = [f"+{part['after']:.3f} s", decimal(part["bytes"]), decimal(part["size"])]
        cells += [str(part["boots"])] if boots > 1 else []
        table.add_row(*cells, _names(part))
    return table


def _names(part: HotRange) -> Text:
    shown = ", ".join(printable(name) for name in part["names"][:NAMES_SHOWN])
    more = len(part["names"]) + part["more_names"] - NAMES_SHOWN
    rest = f" and {more} more" if more > 0 else ""
    if part["part"] == "file":
        return Text(shown + rest)
    if part["part"] == "fragment":
        return Text(f"fragment with the ends of {shown}{rest}", style="dim")
    return Text(f"({shown or 'no file'})", style="dim")
