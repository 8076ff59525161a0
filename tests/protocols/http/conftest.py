"""A server on loopback over a tree in memory, and a client that says exactly what a test wants said."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from protocols.http.endpoint import HttpServer, RequestFinished, RequestStarted
from storage.errors import StorageError
from storage.image import Image
from storage.upload import Upload

PATIENCE = 20.0  # seconds until a test that hangs fails; nothing waits for it to pass
UPLOAD_LIMIT = 1000  # bytes


@dataclass
class Tree:
    """What the policy callables answer from, and what was reported."""

    folder: Path
    files: dict[str, Image | Exception] = field(default_factory=dict)
    refusal: Exception | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    events: list[RequestStarted | RequestFinished] = field(default_factory=list)
    finished: asyncio.Queue[RequestFinished] = field(default_factory=asyncio.Queue)

    async def open_read(self, name: str, client: str) -> Image:
        """The image, or the exception, kept under a name."""
        self.asked.append((name, client))
        found = self.files.get(name, FileNotFoundError(name))
        if isinstance(found, Exception):
            raise found
        return found

    async def open_write(self, name: str, client: str, size: int | None) -> Upload:
        """A real upload into the test's folder, or the refusal."""
        self.asked.append((name, client))
        if self.refusal is not None:
            raise self.refusal
        if size is not None and size > UPLOAD_LIMIT:
            raise StorageError("announced too much", 27)
        return Upload(self.folder / Path(name).name, limit=UPLOAD_LIMIT)

    def report(self, event: RequestStarted | RequestFinished) -> None:
        """Keep an event."""
        self.events.append(event)
        if isinstance(event, RequestFinished):
            self.finished.put_nowait(event)

    def stored(self) -> list[str]:
        """Everything in the upload folder, hidden files too."""
        return sorted(entry.name for entry in self.folder.iterdir())


@dataclass(frozen=True)
class Reply:
    """An answer as it came over the wire."""

    status: int
    fields: dict[str, str]
    body: bytes


class Caller:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, text: str | bytes) -> None:
        """Say something; line ends in a text are CR LF."""
        self.writer.write(text if isinstance(text, bytes) else text.replace("\n", "\r\n").encode())

    async def reply(self, *, has_body: bool = True) -> Reply:
        """The next answer, whose body is as long as its Content-Length says."""
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            fields = dict(line.split(": ", 1) for line in head[1:-2])
            length = int(fields.get("Content-Length", "0")) if has_body else 0
            return Reply(int(head[0].split()[1]), fields, await self.reader.readexactly(length))

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    async def ask(self, request: str, *, body: bytes = b"", has_body: bool = True) -> Reply:
        """Send a request, given without its Host field and empty line, and take the answer."""
        self.send(request + "\nHost: box\n\n")
        self.send(body)
        return await self.reply(has_body=has_body)

    async def close(self) -> None:
        """Hang up."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class Box:
    """A running server, its tree, and calls to it."""

    def __init__(self, server: HttpServer, tree: Tree, callers: contextlib.AsyncExitStack) -> None:
        self.server = server
        self.tree = tree
        self._callers = callers

    async def call(self) -> Caller:
        """A new connection, closed when the test ends."""
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self.server.port))
        self._callers.push_async_callback(caller.close)
        return caller

    async def ask(self, request: str, *, body: bytes = b"", has_body: bool = True) -> Reply:
        """One request on a connection of its own."""
        return await (await self.call()).ask(request, body=body, has_body=has_body)

    async def finished(self) -> RequestFinished:
        """The next exchange that is over."""
        async with asyncio.timeout(PATIENCE):
            return await self.tree.finished.get()


Serve = Callable[..., contextlib.AbstractAsyncContextManager[Box]]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An empty tree with a folder for uploads."""
    folder = tmp_path / "upload"
    folder.mkdir()
    return Tree(folder)


@pytest.fixture
def serve(tree: Tree) -> Serve:
    """A function that serves the tree while its block runs; it takes HttpServer's options and a `unix_path`."""

    @contextlib.asynccontextmanager
    async def run(unix_path: Path | None = None, **options: Any) -> AsyncIterator[Box]:
        server = HttpServer(open_read=tree.open_read, open_write=tree.open_write, report=tree.report, **options)
        await server.bind("127.0.0.1", 0, unix_path)
        async with contextlib.AsyncExitStack() as callers:
            running = asyncio.create_task(server.run())
            yield Box(server, tree, callers)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    return run


@pytest.fixture
async def box(serve: Serve) -> AsyncIterator[Box]:
    """A server with default limits."""
    async with serve() as running:
        yield running
