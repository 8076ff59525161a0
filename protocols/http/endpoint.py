"""The HTTP server: aiohttp's parser around the boot tree, with a bound on everything a client may hold.

Speaks HTTP/1.1 and 1.0 (RFC 9110, 9112): GET and HEAD with ranges and conditions, PUT where the policy allows. Left
out: TLS, compression (loaders do not decode it: quirks H-8), chunked answers (H-2), redirects (H-5), listings.
"""

import asyncio
import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from protocols.errors import WireError
from protocols.http.channel import LOCAL, BodyPath, Door, Exchange, PumpedPath
from protocols.http.events import CLIENT_LEFT, Download, Report
from protocols.http.events import RequestFinished as RequestFinished
from protocols.http.events import RequestStarted as RequestStarted
from protocols.http.lobby import HttpLimits as HttpLimits
from protocols.http.lobby import Lobby
from protocols.http.refusal import METHODS, PHRASES, SOFTWARE, refuse_upload, status_of
from protocols.http.selection import CONDITIONAL, Representation, Selection, select
from protocols.http.wire import content_type, parse_target
from protocols.pacing import pace_socket
from protocols.stream import BACKLOG, tcp_listener, unix_listener
from storage import pool
from storage.errors import StorageError
from storage.image import FileImage, Image, PaddedImage
from storage.upload import Upload

CHUNK = 128 << 10  # bytes of the largest body that goes out with its head, by Python; longer ones are a pump's
FIRST = 16 << 10  # bytes of a longer one that go with the head: what can't be read at all is still a 500
LINGER = 5.0  # seconds in which the rest of a refused body is read away, so that a reset can't overtake the answer
SHUTDOWN = 1.0  # seconds that answers in the making are given when the server ends; clients come again
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

OpenRead = Callable[[str, str], Awaitable[Image]]
OpenWrite = Callable[[str, str, int | None], Awaitable[Upload]]


class HttpServer:
    """Serves images by name, and takes uploads, as the policy callables say.

    `open_read(name, client)` gives the Image or raises FileNotFoundError or PermissionError (404, 403);
    `open_write(name, client, size or None)` gives the Upload or raises PermissionError, FileExistsError or StorageError
    with EFBIG or ENOSPC (403, 409, 413, 507). Names come decoded, without leading slashes, otherwise untouched.
    `report` takes RequestStarted and RequestFinished. `routes` stand before the tree. `counts` has malformed,
    turned_away, abandoned (the client left), stalled, and each status answered as `status_404` and so on. Bodies of
    more than CHUNK bytes are sent by as many native `pumps`, or whatever else `path` makes.
    """

    def __init__(
        self,
        *,
        open_read: OpenRead,
        open_write: OpenWrite,
        report: Report,
        routes: Sequence[web.AbstractRouteDef] = (),
        limits: HttpLimits | None = None,
        pace: Callable[[str], int] = lambda client: 0,
        pumps: int = 1,
        path: Callable[[HttpLimits, int], BodyPath] = PumpedPath,
    ) -> None:
        self.limits = limits or HttpLimits()
        self.counts: Counter[str] = Counter()
        self._open_read = open_read
        self._open_write = open_write
        self._report = report
        self._routes = routes
        self._pace = pace
        self._lobby = Lobby(self.limits)
        self._path = path(self.limits, pumps)
        self._listeners: list[socket.socket] = []
        self._exchanges: set[Exchange] = set()
        self._unix_path: Path | None = None
        self._log = structlog.get_logger().bind(protocol="http")

    @property
    def port(self) -> int:
        """The TCP port bound."""
        port: int = self._listeners[0].getsockname()[1]
        return port

    async def bind(self, address: str, port: int = 80, unix_path: Path | None = None) -> None:
        """Listen on a TCP address and, with mode 0660, on a unix socket, whose folder must exist.

        Raises: OSError as socket calls do; EADDRINUSE also for a unix socket that another process answers on.
        """
        try:
            self._listeners.append(tcp_listener(address, port, self.limits.stall))
            if unix_path is not None:
                self._listeners.append(unix_listener(unix_path))
                self._unix_path = unix_path
        except OSError:
            self.close()
            raise

    def downloads(self) -> list[Download]:
        """Every GET under way, and how far it got."""
        self._path.count()
        return [Download(e.client, e.name, e.size) for e in self._exchanges if e.request.method == "GET" and e.size]

    async def run(self) -> None:
        """Serve until cancelled, then close everything."""
        loop = asyncio.get_running_loop()
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            logger=self._complaints(),
            keepalive_timeout=self.limits.idle,
            lingering_time=LINGER,
            max_line_size=self.limits.line,
            max_field_size=self.limits.field,
            max_headers=self.limits.fields,
            auto_decompress=False,
            shutdown_timeout=SHUTDOWN,
        )
        async with AsyncExitStack() as ending:
            ending.callback(self.close)
            ending.callback(self._path.stop)
            self._path.start()
            ending.push_async_callback(runner.cleanup)
            await runner.setup()
            server = cast(web.Server, runner.server)  # there is one, once it is set up
            for listener in self._listeners:
                doors = (
                    partial(Door, self._lobby, self.limits, self.counts, server)
                    if listener.family == socket.AF_INET
                    else server
                )
                acceptor = await loop.create_server(doors, sock=listener, backlog=BACKLOG)
                ending.callback(acceptor.close)
            await loop.create_future()

    def close(self) -> None:
        """Let go of every socket; for an owner that binds but never runs."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        if self._unix_path is not None:
            self._unix_path.unlink(missing_ok=True)

    def _application(self) -> web.Application:
        application = web.Application()
        application.router.add_routes(self._routes)
        application.router.add_route("*", r"/{name:[\s\S]*}", self._serve, expect_handler=keep_waiting)
        return application

    def _complaints(self) -> logging.Logger:
        logger = logging.Logger("http")  # one with a parent would also print what is only counted
        logger.addHandler(Complaints(self.counts))
        return logger

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        """One exchange, from the parsed request to its line in the log."""
        exchange = Exchange(request, request.remote or LOCAL)
        started = time.monotonic()
        self._exchanges.add(exchange)
        if request.transport is not None:
            pace_socket(request.transport.get_extra_info("socket"), self._pace(exchange.client))
        try:
            return await self._answer(exchange)
        except ConnectionError:
            if exchange.status != 500:
                self.counts["abandoned"] += 1
                exchange.status = CLIENT_LEFT
            raise
        finally:
            self._exchanges.discard(exchange)
            self._finish(exchange, time.monotonic() - started)

    def _finish(self, exchange: Exchange, seconds: float) -> None:
        client, name, status, size = exchange.client, exchange.name, exchange.status, exchange.size
        method = exchange.request.method
        self.counts[f"status_{status}"] += 1
        self._report(RequestFinished(client, method, name, status, size, seconds))
        # Ten look-ups of a KIWI client fail by design, and a SAN boot reads a disk in ranges: not for an operator.
        log = self._log.info if status in (200, 201, 204) and method != "HEAD" else self._log.debug
        log(
            "request_finished",
            client=client,
            method=method,
            name=name,
            status=status,
            bytes=size,
            seconds=round(seconds, 3),
        )

    async def _answer(self, exchange: Exchange) -> web.StreamResponse:
        """Answer, translating what was raised: a status while there is none yet, else the end of the connection."""
        handlers = {"GET": self._on_get, "HEAD": self._on_get, "PUT": self._on_put}
        try:
            exchange.name = parse_target(exchange.request.rel_url.raw_path)
            if (handler := handlers.get(exchange.request.method)) is None:
                return await refuse(exchange, 405, {"Allow": METHODS})
            return await handler(exchange)
        except ConnectionError:
            raise
        except (OSError, StorageError, WireError) as failure:
            status = status_of(failure)
            if status == 500:
                self._log.error("request_failed", client=exchange.client, name=exchange.name, reason=str(failure))
            if exchange.status == 0:
                return await refuse(exchange, status)
            self.counts["stalled"] += isinstance(failure, TimeoutError)
            exchange.status = status
            if exchange.request.transport is not None:
                exchange.request.transport.abort()
            raise ConnectionAbortedError(str(failure)) from failure

    async def _on_get(self, exchange: Exchange) -> web.StreamResponse:
        request = exchange.request
        image = await self._open_read(exchange.name, exchange.client)
        asked = {field: ", ".join(request.headers.getall(field)) for field in CONDITIONAL if field in request.headers}
        stored = Representation(image.size, image.version, modified(image))
        chosen = select(request.method, asked, stored, time.time())
        if chosen.status >= 400:
            return await refuse(exchange, chosen.status, chosen.fields)
        self._report(RequestStarted(exchange.client, request.method, exchange.name, chosen.length))
        fields = {**chosen.fields, "Server": SOFTWARE}
        if chosen.status == 304:
            return await deliver(exchange, web.Response(status=304, headers=fields))
        fields["Content-Type"] = content_type(exchange.name)
        return await self._send(exchange, image, chosen, fields)

    async def _send(
        self, exchange: Exchange, image: Image, chosen: Selection, fields: Mapping[str, str]
    ) -> web.StreamResponse:
        if exchange.request.method == "HEAD":
            bare = web.StreamResponse(status=chosen.status, headers=fields)
            bare.content_length = chosen.length
            return await deliver(exchange, bare)
        is_small = chosen.length <= CHUNK
        first = await pool.read(image, chosen.start, chosen.length if is_small else FIRST)
        if is_small:  # head and body leave in one segment
            async with asyncio.timeout(self.limits.stall):
                return await deliver(exchange, web.Response(status=chosen.status, headers=fields, body=first))
        response = web.StreamResponse(status=chosen.status, headers=fields)
        response.content_length = chosen.length
        exchange.status = chosen.status
        await response.prepare(exchange.request)
        await response.write(first)
        exchange.size = len(first)
        await self._path.send(exchange, response, image, chosen.start + len(first), chosen.stop)
        await response.write_eof()
        return response

    async def _on_put(self, exchange: Exchange) -> web.StreamResponse:
        request = exchange.request
        if (status := refuse_upload(request.headers)) is not None:
            return await refuse(exchange, status)
        with await self._open_write(exchange.name, exchange.client, request.content_length) as upload:
            size = -1 if request.content_length is None else request.content_length
            self._report(RequestStarted(exchange.client, "PUT", exchange.name, size))
            async with asyncio.timeout(self.limits.upload):
                await self._receive(exchange, upload)
            status = 204 if upload.commit() else 201
        return await deliver(exchange, web.Response(status=status, headers={"Server": SOFTWARE}))

    async def _receive(self, exchange: Exchange, upload: Upload) -> None:
        request = exchange.request
        if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= (1, 1):
            await request.writer.write(CONTINUE)
            request.writer.output_size = 0  # an interim answer is none: a refusal may still follow it
        try:
            async for data in request.content.iter_any():
                upload.write(data)
                exchange.size += len(data)
        except web.RequestPayloadError as failure:
            self.counts["malformed"] += 1
            raise WireError(f"body of an upload: {failure}", exchange.size) from failure


class Complaints(logging.Handler):
    """What aiohttp logs: requests it could not parse are counted, failures of our own handlers logged in full."""

    def __init__(self, counts: Counter[str]) -> None:
        super().__init__()
        self._counts = counts
        self._log = structlog.get_logger().bind(protocol="http")

    def emit(self, record: logging.LogRecord) -> None:
        failure = record.exc_info[1] if record.exc_info else None
        if isinstance(failure, HttpProcessingError):
            self._counts["malformed"] += 1
            self._log.debug("request_malformed", reason=failure.message)
        elif not isinstance(failure, ConnectionError):
            self._log.error("handler_failed", reason=record.getMessage(), exc_info=failure)


async def keep_waiting(request: web.Request) -> None:
    """Leave a client that expects 100-continue waiting, until the policy has been asked about its upload."""


async def deliver(exchange: Exchange, response: web.StreamResponse) -> web.StreamResponse:
    """Send an answer that is complete as it stands."""
    exchange.status = response.status
    await response.prepare(exchange.request)
    await response.write_eof()
    if isinstance(response, web.Response) and isinstance(response.body, bytes) and exchange.request.method == "GET":
        exchange.size = len(response.body)
    return response


async def refuse(exchange: Exchange, status: int, fields: Mapping[str, str] | None = None) -> web.StreamResponse:
    """Answer with a status and a line of plain text; the connection lives unless a body is still to come."""
    response = web.Response(status=status, text=f"{PHRASES[status]}\n", headers={"Server": SOFTWARE, **(fields or {})})
    if exchange.request.method == "PUT":  # its body, perhaps held back for a 100, would be taken for the next request
        response.force_close()
    return await deliver(exchange, response)


def modified(image: Image) -> float | None:
    """Seconds since 1970 of the last change of the file an image is, None where it is none."""
    if isinstance(image, PaddedImage):
        return modified(image.base)
    return os.fstat(image.fileno()).st_mtime if isinstance(image, FileImage) else None
