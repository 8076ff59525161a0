"""The client side of `rootwire leases`: which addresses the appliance gave."""

from collections.abc import Sequence

from pydantic import TypeAdapter
from rich.console import RenderableType
from rich.text import Text

from appliance.leases.api import LeaseReport
from appliance.reports.listing import Listing, describe_moment, plain_table

_STYLES = {"bound": None, "declined": "yellow"}  # others are past: dim


def leases_view(reports: Sequence[LeaseReport]) -> RenderableType:
    """A row an address."""
    if not reports:
        return Text("no address has been given: a pool in [dhcp] has this appliance give them")
    table = plain_table()
    for heading in ("address", "machine", "name", "state", "until", "since"):
        table.add_column(heading, no_wrap=heading != "name", overflow="fold")
    for one in reports:
        times = (describe_moment(one["until"]), describe_moment(one["since"]))
        row = [Text(text) for text in (one["address"], one["mac"], one["name"], one["state"], *times)]
        table.add_row(*row, style=_STYLES.get(one["state"], "dim"))
    return table


LEASES = Listing("api/leases", TypeAdapter(list[LeaseReport]), leases_view)
