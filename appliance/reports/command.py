"""`rootwire status`: asks the appliance for all machines or one, and shows what it says."""

import asyncio
import json
from pathlib import Path
from typing import NoReturn, cast

from pydantic import TypeAdapter
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from appliance.client import Place, fetch, read_answer
from appliance.errors import OperatorError
from appliance.reports.report import MachineHistory, MachinesReport
from appliance.reports.tables import count_lines, machine_view, machines_view

REFRESH_SECONDS = 1.0  # as often as the appliance itself looks at its connections
LEAST_HEIGHT = 5  # lines: a heading, three machines and the summary

_MACHINES = TypeAdapter(MachinesReport)
_HISTORY = TypeAdapter(MachineHistory)


async def fetch_machines(place: Place, *, with_steps: bool = True) -> MachinesReport:
    """What the appliance says of all machines. Raises: OperatorError when it can't be asked."""
    query = {} if with_steps else {"steps": "no"}
    return read_answer(_MACHINES, await fetch(place, "api/machines", query), place)


async def fetch_machine(place: Place, name: str) -> MachineHistory:
    """What the appliance says of the machine `name`, a MAC or an address.

    Raises: OperatorError when the appliance can't be asked or has not seen the machine.
    """
    if not name.strip() or not set(name) <= set("0123456789abcdefABCDEF:-."):
        raise OperatorError(f"{name!r} is no MAC and no IPv4 address", "name a machine as rootwire status lists it")
    missing = OperatorError(f"machine {name} was not seen", "list those that were: rootwire status")
    return read_answer(_HISTORY, await fetch(place, f"api/machines/{name}", missing=missing), place)


async def show_status(
    name: str | None = None,
    *,
    watch: bool = False,
    as_json: bool = False,
    socket: Path,
    url: str | None = None,
    console: Console | None = None,
) -> None:
    """Print all machines, or the machine `name`, as a table or as one line of JSON; `watch` repeats it until cancelled.

    Raises: OperatorError as the fetch functions do; watching on a terminal, only when the very first question fails.
    """
    place, console = Place(socket, url), console or Console()
    report = await _ask(place, name, as_json)
    if watch and console.is_terminal and not as_json:
        await _watch(place, name, report, console)
    _print(report, console, as_json)
    while watch:
        await asyncio.sleep(REFRESH_SECONDS)
        _print(await _ask(place, name, as_json), console, as_json)


async def _watch(place: Place, name: str | None, report: MachinesReport | MachineHistory, console: Console) -> NoReturn:
    trouble = Text()
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            above = count_lines(trouble, console) if trouble else 0
            room = max(LEAST_HEIGHT, console.height - 1 - above)  # a line is the cursor's
            view = _view(report, console, room)
            live.update(Group(trouble, view) if trouble else view, refresh=True)
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                report, trouble = await _ask(place, name, as_json=False), Text()
            except OperatorError as error:  # it is being restarted: what it last said stays in sight
                trouble = Text(str(error), style="red")


async def _ask(place: Place, name: str | None, as_json: bool) -> MachinesReport | MachineHistory:
    return await (fetch_machine(place, name) if name else fetch_machines(place, with_steps=as_json))


def _print(report: MachinesReport | MachineHistory, console: Console, as_json: bool) -> None:
    if as_json:
        console.out(json.dumps(report), highlight=False)
    else:
        console.print(_view(report, console))


def _view(report: MachinesReport | MachineHistory, console: Console, height: int | None = None) -> RenderableType:
    if "boots" in report:  # only a MachineHistory has them, which mypy can't conclude from a key
        return machine_view(cast(MachineHistory, report))
    return machines_view(report, console, height=height)
