"""The client side of `rootwire machines` and `rootwire enroll`."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter
from rich.console import RenderableType
from rich.text import Text

from appliance.client import Place, fetch, read_answer
from appliance.enrolment.api import RegistrationReport
from appliance.errors import OperatorError
from appliance.reports.listing import Listing, describe_moment, plain_table
from protocols.ethernet import format_mac, parse_mac

_GROUP = TypeAdapter(str)


async def enroll(mac: str, group: str | None, socket: Path) -> str:
    """Have a machine belong to a group, or to none; returns its MAC as it is listed.

    Raises: OperatorError for what is no MAC, a group that there is not, or when the appliance can't be asked.
    """
    try:
        name = format_mac(parse_mac(mac))
    except ValueError as refusal:
        raise OperatorError(str(refusal), "name a machine as rootwire machines lists it") from refusal
    answer = await fetch(
        Place(socket),
        f"api/registrations/{name}",
        {"group": group} if group else None,
        method="POST",
        conflict=OperatorError(f"there is no group {group}", f"write [kiwi.groups.{group}], or KIWI/config.{group}"),
    )
    read_answer(_GROUP, answer, Place(socket))
    return name


def registrations_view(reports: Sequence[RegistrationReport]) -> RenderableType:
    """A row a machine, yellow while it waits."""
    if not reports:
        return Text("no machine has registered: those that find a configuration don't")
    table = plain_table()
    for heading in ("machine", "name", "address", "architecture", "registered", "group", ""):
        # Where there is no room for all, these go on in the next line; nobody can do with half an address.
        table.add_column(heading, no_wrap=heading not in ("name", "registered", "group"), overflow="fold")
    for one in reports:
        at = describe_moment(one["at"]) if one["at"] else ""
        said = [one["alias"] or "", one["address"] or "", one["architecture"] or ""]
        row = [Text(text) for text in (one["mac"], *said, at, one["group"] or "", "waits" if one["waiting"] else "")]
        table.add_row(*row, style="yellow" if one["waiting"] else None)
    return table


REGISTRATIONS = Listing("api/registrations", TypeAdapter(list[RegistrationReport]), registrations_view)
