"""Leases over the API.

    GET /api/leases    [LeaseReport]: by address; empty where we give none

What was declined is listed as well: an address that somebody else was found to use.
"""

import asyncio
import json
from collections.abc import Iterable
from ipaddress import IPv4Address

from aiohttp import web
from typing_extensions import TypedDict  # as in appliance/reports/report.py

from appliance.leases.service import LeaseService
from protocols.dhcp.leasing.lease import Lease


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
        # Of up to 65,536: in a thread, while the loop goes on serving.
        text = await asyncio.to_thread(_dump, service, service.leases())
        return web.Response(text=text, content_type="application/json", headers={"Cache-Control": "no-store"})

    return [web.get("/api/leases", get_leases)]


def _dump(service: LeaseService, leases: Iterable[Lease]) -> str:
    """Lease by lease: one call for all of them would keep every other thread waiting to its end."""
    by_address = sorted(leases, key=lambda lease: IPv4Address(lease.address))
    return f"[{','.join(json.dumps(_report(service, lease), separators=(',', ':')) for lease in by_address)}]"


def _report(service: LeaseService, lease: Lease) -> LeaseReport:
    return {
        "address": lease.address,
        "mac": lease.client,
        "name": lease.name,
        "state": service.state_of(lease),
        "since": round(lease.since, 3),
        "until": round(lease.until, 3),
    }
