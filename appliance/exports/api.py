"""Machines' disks over the API.

    GET    /api/exports                [ExportReport]: every disk there is
    POST   /api/exports/{who}/reset    have what `who` (a MAC in any spelling, or an export's name) names be new
    DELETE /api/exports/{who}          the same, and give its AoE address back

The last two only over the appliance's own socket (else 403), and, unless ?force=yes, only where nobody has the disk
open (else 409). They answer [name] of the disks concerned, or 404 where there are none. Errors are {"error": text}.
"""

import asyncio
import json
import socket
from collections.abc import Callable, Iterable

from aiohttp import web
from typing_extensions import TypedDict  # as in appliance/reports/report.py

from appliance.exports.disks import DiskFile
from appliance.exports.exports import Exports
from appliance.exports.names import Kind, name_of, parse_name
from appliance.exports.policy import Policy
from appliance.exports.targets import Targets
from protocols.ethernet import format_mac, parse_mac
from protocols.nbd.events import Connection


class ExportReport(TypedDict):
    """One disk of one machine."""

    name: str  # the NBD export
    machine: str
    kind: str  # "write" or "swap"
    target: str | None  # its AoE address, where it has one
    base: str | None  # the image below it; null for a blank one
    bytes: int
    used: int
    policy: str  # "keep", "discard", or "none" where the machine is not given it any more
    connected: list[str]  # address:port over NBD, "aoe" over AoE


class ExportApi:
    """What can be asked and done."""

    def __init__(
        self,
        exports: Exports,
        targets: Targets,
        *,
        policy: Callable[[str], Policy],
        connections: Callable[[], Iterable[Connection]],
    ) -> None:
        self._exports = exports
        self._targets = targets
        self._policy = policy
        self._connections = connections

    def routes(self) -> list[web.RouteDef]:
        """The API's routes."""
        return [
            web.get("/api/exports", self._get),
            web.post("/api/exports/{who}/reset", self._reset),
            web.delete("/api/exports/{who}", self._delete),
        ]

    async def reports(self) -> list[ExportReport]:
        """Every disk as it is now."""
        connections = list(self._connections())
        return [self._report(disk, connections) for disk in await asyncio.to_thread(list, self._exports.disks)]

    async def _get(self, _request: web.Request) -> web.Response:
        return _answer(await self.reports())

    async def _reset(self, request: web.Request) -> web.Response:
        chosen = await self._choose(request)
        for report in chosen:
            await self._exports.reset(*_parse(report))
            if report["kind"] == "write" and self._targets.is_shown(report["machine"]):
                await self._targets.show(report["machine"])
        return _answer([report["name"] for report in chosen])

    async def _delete(self, request: web.Request) -> web.Response:
        chosen = await self._choose(request)
        for mac in {report["machine"] for report in chosen}:
            kinds = {_parse(report)[0] for report in chosen if report["machine"] == mac}
            if Kind.WRITE in kinds:
                await self._targets.forget(mac)
            for kind in kinds:
                await self._exports.reset(kind, mac)
            if not any(report["machine"] == mac for report in await self.reports()):
                await self._exports.forget(mac)
        return _answer([report["name"] for report in chosen])

    async def _choose(self, request: web.Request) -> list[ExportReport]:
        """The disks that a request is about. Raises: web.HTTPException where it can't be carried out."""
        require_local(request)
        who = request.match_info["who"]
        chosen = [report for report in await self.reports() if _is_meant(report, who)]
        if not chosen:
            raise _refusal(web.HTTPNotFound, f"there is no disk of {who}")
        users = [f"{report['name']} by {', '.join(report['connected'])}" for report in chosen if report["connected"]]
        if users and request.query.get("force") != "yes":
            raise _refusal(web.HTTPConflict, f"in use: {'; '.join(users)}")
        return chosen

    def _report(self, disk: DiskFile, connections: Iterable[Connection]) -> ExportReport:
        name = name_of(disk.kind, disk.mac)
        policy = self._policy(disk.mac)
        is_write = disk.kind is Kind.WRITE
        is_served = is_write and disk.has_base == (policy.write_base is not None)
        address = self._targets.address(disk.mac) if is_served else None
        users = [f"{one.client}:{one.port}" for one in connections if one.export == name]
        used = self._exports.used(disk.kind, disk.mac) if is_served or not is_write else None
        rule = policy.write if is_write else "discard"
        return {
            "name": name,
            "machine": disk.mac,
            "kind": "write" if is_write else "swap",
            "target": "e{}.{}".format(*address) if address else None,
            "base": policy.write_base if disk.has_base else None,
            "bytes": disk.size,
            "used": disk.used if used is None else used,
            "policy": rule if disk.kind in self._exports.offered(disk.mac) else "none",
            "connected": users + (["aoe"] if is_served and self._targets.is_used(disk.mac) else []),
        }


def require_local(request: web.Request) -> None:
    """Let nobody but users of this machine change anything. Raises: web.HTTPForbidden."""
    found = None if request.transport is None else request.transport.get_extra_info("socket")
    if found is None or found.family != socket.AF_UNIX:
        raise _refusal(web.HTTPForbidden, "only over the appliance's own socket")


def _is_meant(report: ExportReport, who: str) -> bool:
    try:
        return report["machine"] == format_mac(parse_mac(who))
    except ValueError:
        return report["name"] == who


def _parse(report: ExportReport) -> tuple[Kind, str]:
    found = parse_name(report["name"])
    if found is None:
        raise AssertionError(report["name"])
    return found


def _dump(content: object) -> str:
    return json.dumps(content, separators=(",", ":"))


def _answer(content: object) -> web.Response:
    return web.Response(text=_dump(content), content_type="application/json", headers={"Cache-Control": "no-store"})


def _refusal(kind: type[web.HTTPException], why: str) -> web.HTTPException:
    return kind(text=_dump({"error": why}), content_type="application/json")
