"""The client side of `rootwire leases`: asks the appliance which addresses it gave, and shows them."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from appliance.client import Place, fetch, read_answer
from appliance.leases.api import LeaseReport

_REPORTS = TypeAdapter(list[LeaseReport])
_STYLES = {"bound": None, "declined": "yellow"}  # others are past: dim


async def show_leases(*, as_json: bool, socket: Path, url: str | None, console: Console | None = None) -> None:
    """Print every lease. Raises: OperatorError when the appliance can't be asked."""
    place, console = Place(socket, url), console or Console()
    reports = read_answer(_REPORTS, await fetch(place, "api/leases"), place)
    if as_json:
        console.out(json.dumps(reports), highlight=False)
    else:
        console.print(leases_view(reports))


def leases_view(reports: Sequence[LeaseReport]) -> RenderableType:
    """A row an address."""
    if not reports:
        return Text("no address has been given: a pool in [dhcp] has this appliance give them")
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("address", "machine", "name", "state", "until", "since"):
        table.add_column(heading, no_wrap=heading != "name", overflow="fold")
    for one in reports:
        times = (_moment(one["until"]), _moment(one["since"]))
        row = [Text(text) for text in (one["address"], one["mac"], one["name"], one["state"], *times)]
        table.add_row(*row, style=_STYLES.get(one["state"], "dim"))
    return table


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
