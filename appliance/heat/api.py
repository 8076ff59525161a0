"""What boots read of each image, asked for over the API.

    GET /api/heat/{image}    HeatReport of appliance/heat/reads.py; with ?client=MAC of that machine's boots only

An unknown image, or one that is no squashfs, is a 404 with {"error": text}.
"""

import asyncio
import json
from collections import OrderedDict

from aiohttp import web

from appliance.heat.reads import HeatReport, report_heat
from appliance.heat.recording import Recorder
from appliance.images.catalog import Catalog, Entry
from protocols.ethernet import format_mac, parse_mac
from storage.errors import StorageError
from storage.squashfs.owners import Owners, map_owners

MAPS_MOST = 4  # images whose maps are kept, some 10 MB for a hundred thousand files


class NoHeatError(Exception):
    """What there is no heat of; the text says what, and why not."""


class HeatMaps:
    """Reports of heat, and the maps of files that they need: made when first asked for."""

    def __init__(self, catalog: Catalog, recorder: Recorder) -> None:
        self._catalog = catalog
        self._recorder = recorder
        self._maps: OrderedDict[tuple[str, str], Owners] = OrderedDict()
        self._lock = asyncio.Lock()

    async def report(self, image: str, client: str | None = None) -> HeatReport:
        """What boots read of an image, or those of one client. Raises: NoHeatError."""
        entry = self._catalog.get(image)
        if entry is None:
            raise NoHeatError(f"there is no image {image}")
        owners = await self._map(entry)
        return await asyncio.to_thread(report_heat, image, self._recorder.recordings(image, client), owners)

    async def _map(self, entry: Entry) -> Owners:
        key = (entry.name, entry.image.version)
        async with self._lock:  # two that ask at once wait for one walk
            found = self._maps.pop(key, None)
            if found is None:
                found = await asyncio.to_thread(map_entry, entry)
            self._maps[key] = found
            if len(self._maps) > MAPS_MOST:
                self._maps.popitem(last=False)
            return found

    def routes(self) -> list[web.RouteDef]:
        """The API's routes."""

        async def get_heat(request: web.Request) -> web.Response:
            try:
                report = await self.report(request.match_info["image"], canonical(request.query.get("client")))
            except NoHeatError as refusal:
                return _answer({"error": str(refusal)}, status=404)
            return _answer(report)

        return [web.get("/api/heat/{image}", get_heat)]


def map_entry(entry: Entry) -> Owners:
    """The map of an image's files. May wait for the disk. Raises: NoHeatError."""
    files = entry.files
    if files is None:
        raise NoHeatError(f"image {entry.name} is no squashfs that can be read")
    try:
        return map_owners(files)
    except StorageError as failure:
        raise NoHeatError(f"image {entry.name} can't be read: {failure}") from failure


def canonical(client: str | None) -> str | None:
    """A MAC in any spelling as machines are known by it; anything else as it is."""
    if client is None:
        return None
    try:
        return format_mac(parse_mac(client))
    except ValueError:
        return client


def _answer(content: object, status: int = 200) -> web.Response:
    text = json.dumps(content, separators=(",", ":"))
    headers = {"Cache-Control": "no-store"}
    return web.Response(text=text, status=status, content_type="application/json", headers=headers)
