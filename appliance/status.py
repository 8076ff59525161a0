"""The client side of `rootwire status`: asks the appliance over its socket or by URL, and shows what it says."""

import asyncio
import errno
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import NoReturn, TypeVar, cast

from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout, UnixConnector
from pydantic import TypeAdapter, ValidationError
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text
from yarl import URL

from appliance.errors import OperatorError
from appliance.report import MachineHistory, MachinesReport
from appliance.tables import count_lines, machine_view, machines_view

ANSWER_SECONDS = 5.0  # the appliance answers within milliseconds; far more means that it hangs
REFRESH_SECONDS = 1.0  # as often as the appliance itself looks at its connections
LEAST_HEIGHT = 5  # lines: a heading, three machines and the summary
START_IT = "start it with rootwire serve, or say where it is with --socket PATH or --url URL"

T = TypeVar("T")
_MACHINES = TypeAdapter(MachinesReport)
_HISTORY = TypeAdapter(MachineHistory)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the appliance listens: `url` (a bare address will do) when it is set, else the Unix `socket`."""

    socket: Path
    url: str | None = None

    def __str__(self) -> str:
        return self.url or str(self.socket)


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


async def show(
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


def read_answer(shape: TypeAdapter[T], answer: bytes, place: Place) -> T:
    """An answer as what it should be. Raises: OperatorError when it is something else."""
    try:
        return shape.validate_json(answer)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise OperatorError(
            f"{place} gave an answer that is no rootwire's: {where}: {first['msg']}",
            "use the command of the appliance's own version, or name another place with --socket or --url",
        ) from error


async def fetch(
    place: Place,
    path: str,
    query: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
    missing: OperatorError | None = None,
    conflict: OperatorError | None = None,
    seconds: float = ANSWER_SECONDS,
) -> bytes:
    """What the appliance answers within so many seconds.

    Raises: OperatorError when it can't be asked or gives no answer; `missing` when it knows no such thing, `conflict`
    when that is not as it would have to be.
    """
    url = _url(place, path).with_query(query)
    connector = UnixConnector(path=str(place.socket)) if place.url is None else None
    try:
        async with (
            ClientSession(connector=connector, timeout=ClientTimeout(total=seconds)) as session,
            session.request(method, url) as response,
        ):
            body = await response.read()
            status = response.status
    except ClientConnectorError as error:
        raise _unreachable(place, error.os_error) from error
    except TimeoutError as error:
        problem = f"the appliance at {place} gave no answer in {seconds:.0f} s"
        raise OperatorError(problem, "look at its log: it hangs, or something else listens there") from error
    except ClientError as error:
        raise OperatorError(f"{place}: {error}", "look at the appliance's log") from error
    if status == HTTPStatus.NOT_FOUND and missing is not None:
        raise missing
    if status == HTTPStatus.CONFLICT and conflict is not None:
        raise conflict
    if status != HTTPStatus.OK:
        raise OperatorError(f"{place} answered {status}", "name a rootwire appliance with --socket or --url")
    return body


def _url(place: Place, path: str) -> URL:
    if place.url is None:
        return URL("http://appliance") / path
    try:
        url = URL(place.url if "://" in place.url else f"http://{place.url}")
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise OperatorError(f"{place} is no URL", "name one such as http://192.168.0.2")
    return url / path


def _unreachable(place: Place, error: OSError) -> OperatorError:
    if error.errno in (errno.EACCES, errno.EPERM):
        return OperatorError(f"no right to open {place}", "run this command as root")
    if place.url is None and error.errno in (errno.ENOENT, errno.ECONNREFUSED):
        return OperatorError(f"no appliance is running at {place}", START_IT)
    return OperatorError(f"no appliance can be reached at {place}: {error.strerror or error}", START_IT)
