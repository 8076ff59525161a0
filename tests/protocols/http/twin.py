"""The native pump's twin: bodies read and written by Python, chunk after chunk, and obviously correct."""

import asyncio

from aiohttp import web

from protocols.http.channel import Exchange
from protocols.http.lobby import HttpLimits
from storage import pool
from storage.image import Image

CHUNK = 128 << 10  # bytes read and written at once


class PlainPath:
    """The path of bodies that is aiohttp's own."""

    def __init__(self, limits: HttpLimits, pumps: int) -> None:
        """Of `pumps` it has none."""
        self._stall = limits.stall

    def start(self) -> None:
        """Nothing to do."""

    def stop(self) -> None:
        """The handlers end by themselves."""

    def count(self) -> None:
        """Every exchange is up to date."""

    async def send(self, exchange: Exchange, response: web.StreamResponse, image: Image, at: int, stop: int) -> None:
        """Write chunk after chunk."""
        while at < stop:
            data = await pool.read(image, at, min(CHUNK, stop - at))
            async with asyncio.timeout(self._stall):
                await response.write(data)
            exchange.size += len(data)
            at += len(data)
