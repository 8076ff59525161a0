"""The HTTP API: machines and their boots, counters and metrics, read only.

    GET /api/machines        MachinesReport: every machine with its present boot
    GET /api/machines/{id}   MachineHistory: one machine, by MAC (in any spelling) or IPv4 address, with all its boots
    GET /api/counters        {protocol: {counter: number}}: what is counted rather than logged
    GET /api/about           {name: text}: version, interface, address, boot tree
    GET /metrics             the same numbers for Prometheus

All but the last answer JSON; its fields are described in appliance/report.py. An unknown machine is a 404 with
{"error": text}.
"""

import json
from collections.abc import Callable, Mapping

from aiohttp import web

from appliance.metrics import CONTENT_TYPE, expose
from appliance.report import MachinesReport, report_history, report_machine
from appliance.timeline import Machine, Timeline
from protocols.ethernet import format_mac, parse_mac

Counters = Callable[[], Mapping[str, Mapping[str, int]]]


def routes(timeline: Timeline, counters: Counters, about: Mapping[str, str]) -> list[web.RouteDef]:
    """The API's routes.

    `counters` gives the counts of each protocol at the moment of asking; `about` is what the appliance says of itself.
    """

    async def get_machines(_request: web.Request) -> web.Response:
        return _json(report_machines(timeline))

    async def get_machine(request: web.Request) -> web.Response:
        name = request.match_info["id"]
        machine = find_machine(timeline, name)
        if machine is None:
            return _json({"error": f"no machine {name} was seen"}, status=404)
        return _json(report_history(machine, timeline.clock(), timeline.limits.patience_factor))

    async def get_counters(_request: web.Request) -> web.Response:
        return _json(counters())

    async def get_about(_request: web.Request) -> web.Response:
        return _json(about)

    async def get_metrics(_request: web.Request) -> web.Response:
        return web.Response(body=expose(timeline, counters(), about), headers={"Content-Type": CONTENT_TYPE})

    return [
        web.get("/api/machines", get_machines),
        web.get("/api/machines/{id}", get_machine),
        web.get("/api/counters", get_counters),
        web.get("/api/about", get_about),
        web.get("/metrics", get_metrics),
    ]


def report_machines(timeline: Timeline) -> MachinesReport:
    """Every machine at this moment."""
    now, factor = timeline.clock(), timeline.limits.patience_factor
    machines = sorted(timeline.machines(), key=lambda machine: machine.name)
    return {"time": round(now, 3), "machines": [report_machine(machine, now, factor) for machine in machines]}


def find_machine(timeline: Timeline, name: str) -> Machine | None:
    """The machine with a MAC, in any spelling, or an IPv4 address."""
    try:
        return timeline.find(format_mac(parse_mac(name)))
    except ValueError:
        return timeline.find(name.lower())


def _json(content: object, status: int = 200) -> web.Response:
    # Compact: a full table of machines is polled once a second. No cache may keep what is true for a moment only.
    text = json.dumps(content, separators=(",", ":"))
    return web.Response(
        text=text, status=status, content_type="application/json", headers={"Cache-Control": "no-store"}
    )
