"""The client side of `rootwire exports`: lists machines' disks, and has the appliance throw them away."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter
from rich.console import RenderableType
from rich.filesize import decimal
from rich.text import Text

from appliance.client import Place, fetch, read_answer
from appliance.errors import OperatorError
from appliance.exports.api import ExportReport
from appliance.reports.listing import Listing, plain_table

CHANGE_SECONDS = 60.0  # what is under way at a disk ends first, and the disk may be slow

_NAMES = TypeAdapter(list[str])


async def change_exports(who: str, *, reset: bool, force: bool, socket: Path) -> list[str]:
    """Have disks be new, or delete them; `who` is a MAC or an export's name. Returns the names concerned.

    Raises: OperatorError when there are none, when they are in use and not forced, or the appliance can't be asked.
    """
    if not who or "/" in who:
        raise OperatorError(f"{who!r} is no MAC and no export", "name one as rootwire exports lists it")
    path = f"api/exports/{who}/reset" if reset else f"api/exports/{who}"
    answer = await fetch(
        Place(socket),
        path,
        {"force": "yes"} if force else None,
        method="POST" if reset else "DELETE",
        missing=OperatorError(f"there is no disk of {who}", "list those that there are: rootwire exports"),
        conflict=OperatorError(f"{who} is in use", "shut the machine down first, or add --force: it gets errors then"),
        seconds=CHANGE_SECONDS,
    )
    return read_answer(_NAMES, answer, Place(socket))


def exports_view(reports: Sequence[ExportReport]) -> RenderableType:
    """A row a disk."""
    if not reports:
        return Text("no machine has a disk yet: they are made when a machine first asks for its own")
    table = plain_table()
    for heading in ("machine", "export", "kind", "size", "used", "policy", "connected"):
        # Where there is no room for all, these two go on in the next line; nobody can do with half a name.
        can_fold = heading in ("kind", "connected")
        justify: Literal["left", "right"] = "right" if heading in ("size", "used") else "left"
        table.add_column(heading, justify=justify, no_wrap=not can_fold, overflow="fold")
    for one in reports:
        names = one["name"] + (f" {one['target']}" if one["target"] else "")
        kind = one["kind"] + (f" over {one['base']}" if one["base"] else "")
        sizes = (decimal(one["bytes"]), decimal(one["used"]))
        table.add_row(one["machine"], names, kind, *sizes, one["policy"], ", ".join(one["connected"]))
    return table


EXPORTS = Listing("api/exports", TypeAdapter(list[ExportReport]), exports_view)
