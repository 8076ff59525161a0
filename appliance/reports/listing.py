"""What the commands that list things share: asking for the list, and how a table and a moment look."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from pydantic import TypeAdapter
from rich.console import Console, RenderableType
from rich.table import Table

from appliance.client import Place, fetch, read_answer

GAP = 2  # columns between columns

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list of the API's: its path, what it holds, and how people see it."""

    path: str
    shape: TypeAdapter[list[T]]
    view: Callable[[Sequence[T]], RenderableType]


async def show_list(listing: Listing[T], place: Place, *, as_json: bool, console: Console | None = None) -> None:
    """Print all of it, as a table or as one line of JSON. Raises: OperatorError when the appliance can't be asked."""
    console = console or Console()
    reports = read_answer(listing.shape, await fetch(place, listing.path), place)
    if as_json:
        console.out(json.dumps(reports), highlight=False)
    else:
        console.print(listing.view(reports))


def plain_table(*, show_header: bool = True) -> Table:
    """A table without lines, its columns still to be added."""
    return Table(box=None, pad_edge=False, show_header=show_header, header_style="bold", padding=(0, GAP, 0, 0))


def describe_moment(seconds: float) -> str:
    """A moment in unix seconds, on the clock of who looks."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
