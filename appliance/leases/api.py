"""Leases over the API.

    GET /api/leases    [LeaseReport]: by address; empty where we give none

What was declined is listed as well: an address that somebody else was found to use.
"""

import json

from aiohttp import web
from typing_extensions import TypedDict  # as in appliance/reports/report.py

from appliance.leases.service import LeaseService


class LeaseReport(TypedDict):
    """One address that was given."""

    address: str
    mac: str  # or whatever else the machine is known by; empty for a declined address
    name: str  # what the machine calls itself, often nothing
    state: str  # bound, expired, released, declined
    since: float  # unix seconds
    until: float


def routes(service: LeaseService) -> list[web.RouteDef]:
    """The API's routes."""

    async def get_leases(_request: web.Request) -> web.Response:
        text = json.dumps(report_leases(service), separators=(",", ":"))
        return web.Response(text=text, content_type="application/json", headers={"Cache-Control": "no-store"})

    return [web.get("/api/leases", get_leases)]


def report_leases(service: LeaseService) -> list[LeaseReport]:
    """Every lease, those that ended too."""
    return [
        {
            "address": lease.address,
            "mac": lease.client,
            "name": lease.name,
            "state": service.state_of(lease),
            "since": round(lease.since, 3),
            "until": round(lease.until, 3),
        }
        for lease in service.leases()
    ]
