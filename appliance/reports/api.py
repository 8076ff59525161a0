"""The HTTP API: machines and their boots, counters and metrics, read only.

    GET /api/machines        MachinesReport: every machine with its present boot; with ?steps=no without its steps
    GET /api/machines/{id}   MachineHistory: one machine, by MAC (in any spelling) or IPv4 address, with all its boots
    GET /api/images          [ImageReport]: every image, its checksums or how far they are, and whether its file changed
    GET /api/explain/{id}    what a machine would be offered and why: appliance/offers/explanation.py
    GET /api/counters        {protocol: {counter: number}}: what is counted rather than logged
    GET /api/about           {name: text}: version, interface, address, boot tree
    GET /metrics             the same numbers for Prometheus

All but the last answer JSON; its fields are described in appliance/reports/report.py. An unknown machine is a 404 with
{"error": text}.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence

from aiohttp import web

from appliance.reports.metrics import CONTENT_TYPE, expose
from appliance.reports.report import ImageReport, RefusedReport, report_history, report_machine
from appliance.timeline.timeline import Machine, Timeline
from protocols.ethernet import format_mac, parse_mac

SLICE = 32  # machines reported in one go: about 4 ms, in which no packet is answered

Counters = Callable[[], Mapping[str, Mapping[str, int]]]
Refused = Callable[[], Sequence[RefusedReport]]
Notes = Callable[[], Sequence[str]]
Images = Callable[[], Sequence[ImageReport]]


def routes(
    timeline: Timeline,
    counters: Counters,
    about: Mapping[str, str],
    images: Images = list,
    refused: Refused = list,
    notes: Notes = list,
) -> list[web.RouteDef]:
    """The API's routes.

    `counters` gives the counts of each protocol at the moment of asking, `images` what there is to say of each image,
    `refused` which configurations are withheld, `notes` what to know of the appliance;
    `about` is what the appliance says of itself.
    """

    async def get_machines(request: web.Request) -> web.Response:
        with_steps = request.query.get("steps") != "no"
        return _answer(await list_machines(timeline, images(), refused(), notes(), with_steps=with_steps))

    async def get_machine(request: web.Request) -> web.Response:
        name = request.match_info["id"]
        machine = find_machine(timeline, name)
        if machine is None:
            return _answer(_dump({"error": f"no machine {name} was seen"}), status=404)
        return _answer(_dump(report_history(machine, timeline.clock(), timeline.limits.patience_factor)))

    async def get_images(_request: web.Request) -> web.Response:
        return _answer(_dump(images()))

    async def get_counters(_request: web.Request) -> web.Response:
        return _answer(_dump(counters()))

    async def get_about(_request: web.Request) -> web.Response:
        return _answer(_dump(about))

    async def get_metrics(_request: web.Request) -> web.Response:
        return web.Response(body=expose(timeline, counters(), about), headers={"Content-Type": CONTENT_TYPE})

    return [
        web.get("/api/machines", get_machines),
        web.get("/api/machines/{id}", get_machine),
        web.get("/api/images", get_images),
        web.get("/api/counters", get_counters),
        web.get("/api/about", get_about),
        web.get("/metrics", get_metrics),
    ]


async def list_machines(
    timeline: Timeline,
    images: Sequence[ImageReport] = (),
    refused: Sequence[RefusedReport] = (),
    notes: Sequence[str] = (),
    *,
    with_steps: bool,
) -> str:
    """A MachinesReport as JSON text, made in slices between which the event loop serves others."""
    now, factor = timeline.clock(), timeline.limits.patience_factor
    machines = sorted(timeline.machines(), key=lambda machine: machine.name)
    texts: list[str] = []
    for start in range(0, len(machines), SLICE):
        some = machines[start : start + SLICE]
        texts += (_dump(report_machine(machine, now, factor, with_steps=with_steps)) for machine in some)
        await asyncio.sleep(0)
    rest = f'"images":{_dump(images)},"refused":{_dump(refused)},"notes":{_dump(notes)}'
    return f'{{"time":{round(now, 3)},"machines":[{",".join(texts)}],{rest}}}'


def find_machine(timeline: Timeline, name: str) -> Machine | None:
    """The machine with a MAC, in any spelling, or an IPv4 address."""
    try:
        return timeline.find(format_mac(parse_mac(name)))
    except ValueError:
        return timeline.find(name.lower())


def _dump(content: object) -> str:
    return json.dumps(content, separators=(",", ":"))


def _answer(text: str, status: int = 200) -> web.Response:
    headers = {"Cache-Control": "no-store"}  # it is true for a moment only
    return web.Response(text=text, status=status, content_type="application/json", headers=headers)
