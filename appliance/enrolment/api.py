"""Machines that registered or were enrolled, over the API.

    GET  /api/registrations                [RegistrationReport]: by MAC
    POST /api/registrations/{mac}?group=G  have the machine belong to the group G; without a group: to none

The last only over the appliance's own socket (else 403); an unknown group is a 409. A client that waits picks its
configuration up when it asks next, within a minute. Errors are {"error": text}.
"""

import asyncio
import json

from aiohttp import web
from typing_extensions import TypedDict  # as in appliance/reports/report.py

from appliance.enrolment.members import Members
from appliance.exports.api import require_local
from appliance.kiwi.answers import Answers
from appliance.kiwi.names import CONFIG_PREFIX
from protocols.ethernet import format_mac, parse_mac


class RegistrationReport(TypedDict):
    """One machine that registered, or was enrolled."""

    mac: str
    alias: str | None  # what somebody typed at its console
    address: str | None
    architecture: str | None
    at: float | None  # unix seconds of the registration; null: enrolled without one
    group: str | None
    waiting: bool  # whether it is given nothing yet


class Registrations:
    """What can be asked and done."""

    def __init__(self, members: Members, answers: Answers) -> None:
        self._members = members
        self._answers = answers

    def routes(self) -> list[web.RouteDef]:
        """The API's routes."""
        return [
            web.get("/api/registrations", self._get),
            web.post("/api/registrations/{mac}", self._post),
        ]

    def reports(self) -> list[RegistrationReport]:
        """Every machine that registered or was enrolled. Reads files: may wait."""
        known = {registration.mac: registration for registration in self._members.inbox}
        return [
            {
                "mac": mac,
                "alias": known[mac].alias if mac in known else None,
                "address": known[mac].address if mac in known else None,
                "architecture": known[mac].architecture if mac in known else None,
                "at": round(known[mac].at, 3) if mac in known else None,
                "group": self._members.group_of(mac),
                "waiting": self._answers.machine(mac) is None,
            }
            for mac in sorted({*known, *self._members.enrolled})
        ]

    async def _get(self, _request: web.Request) -> web.Response:
        return _answer(await asyncio.to_thread(self.reports))

    async def _post(self, request: web.Request) -> web.Response:
        require_local(request)
        try:
            mac = format_mac(parse_mac(request.match_info["mac"]))
        except ValueError as refusal:
            return _answer({"error": str(refusal)}, 404)
        group = request.query.get("group")
        if group and not await asyncio.to_thread(self._has_group, group):
            return _answer({"error": f"there is no group {group}"}, 409)
        await asyncio.to_thread(self._members.enrolled.put, mac, group)
        return _answer(group or "")

    def _has_group(self, group: str) -> bool:
        in_tree = group.isidentifier() and self._answers.publisher.site.find(f"{CONFIG_PREFIX}{group}") is not None
        return in_tree or group in self._members.settings.groups


def _answer(content: object, status: int = 200) -> web.Response:
    text = json.dumps(content, separators=(",", ":"))
    headers = {"Cache-Control": "no-store"}
    return web.Response(text=text, status=status, content_type="application/json", headers=headers)
