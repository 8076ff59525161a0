"""KIWI's netboot client as a script, and an appliance's tree, inbox and API on loopback for it to ask."""

import asyncio
import contextlib
import hashlib
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from appliance.config import Config
from appliance.enrolment.api import Registrations
from appliance.enrolment.inbox import Inbox
from appliance.enrolment.members import Enrolments, Members
from appliance.enrolment.uploads import Uploads
from appliance.images.catalog import Catalog
from appliance.images.checksums import Checksums
from appliance.images.memory import Memory
from appliance.kiwi.roots import NOTHING_PRIVATE, Private
from appliance.plan import Plans
from appliance.tree import Tree
from protocols.http.endpoint import HttpServer
from protocols.tftp.endpoint import TftpEvent, TftpServer, TransferStarted

SERVER = "10.11.0.1"
MAC = "52:54:00:A1:B2:C3"
SQUASHFS = b"hsqs" + bytes(36) + (4096).to_bytes(8, "little") + bytes(4048)
IMAGE = "image/edge.x86_64-1.2.0"
SUM = f"{hashlib.md5(SQUASHFS).hexdigest()} 1 4096\n".encode()
F1 = "IMAGE='/dev/ram1;edge.x86_64;1.2.0;10.11.0.1;4096'\nUNIONFS_CONFIG='/dev/ram2,/dev/ram1,overlay'\n"
OWN = f"KIWI/config.{MAC}"
MISS10 = [OWN, "KIWI/config.group", *(f"KIWI/config.{'0A0B0039'[:n]}" for n in range(8, 0, -1))]
REGISTRATION = "NCNAME=till 1\nCRNAME=till 1\nIPADDR=10.11.0.57\nARCHITECTURE=x86_64\n$(reboot)\n"
DEADLINE = 60  # seconds until a client that hangs fails its test


@dataclass
class Client:
    """Curl, asking as KIWI's client does; `asked` is every path, with whether there was something."""

    curl: str
    url: str
    asked: list[tuple[str, bool]]

    async def get(self, path: str) -> bytes | None:
        """A file, or None where there is none or an empty one."""
        # Every character that is none of A-Za-z0-9-_./ in lower-case hex, as KIWI's client writes it.
        written = re.sub("%..", lambda found: found[0].lower(), quote(path, safe="/-_."))
        target = written if self.url.startswith("http") else path
        done = await self.run("-g", "-f", f"{self.url}/{target}")
        content = done.stdout if done.returncode == 0 and done.stdout else None
        self.asked.append((path, content is not None))
        return content

    async def put(self, path: str, content: str) -> None:
        """An upload, whose end the client does not look at."""
        await self.run("-g", "-T", "-", f"{self.url}/{path}", given=content.encode())

    async def look_up(self) -> bytes | None:
        """The final configuration, by the contract's section 1.4."""
        if config := await self.get(OWN):
            return config
        assert await self.get("KIWI/config.group") is None
        for path in [*MISS10[2:], "KIWI/config.default"]:
            if config := await self.get(path):
                return config
        return None

    async def run(self, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Curl with some more words."""
        process = await asyncio.create_subprocess_exec(
            self.curl, "-s", *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        async with asyncio.timeout(DEADLINE):
            out, _ = await process.communicate(given)
        return subprocess.CompletedProcess(words, process.returncode or 0, out)


@dataclass
class Box:
    """An appliance's tree, inbox and API on loopback."""

    root: Path
    socket: Path
    members: Members
    registrations: Registrations
    clients: dict[str, Client]
    port: int  # of TFTP
    events: list[TftpEvent] = field(default_factory=list)

    def started(self, name: str) -> list[int]:
        """The block sizes of the transfers of a file, as agreed."""
        return [event.blksize for event in self.events if isinstance(event, TransferStarted) and event.name == name]


Start = Callable[..., Any]


@contextlib.asynccontextmanager
async def serving(
    folder: Path,
    curl: str,
    *,
    image: bytes | None = SQUASHFS,
    kiwi: object = None,
    private: Callable[[str], Private] = lambda mac: NOTHING_PRIVATE,
    **files: str | bytes,
) -> AsyncIterator[Box]:
    """Serves a tree made of some files (by their paths in KIWI/) and one image, over TFTP and HTTP."""
    root = folder / "srv"
    given = {f"KIWI/{name}": text if isinstance(text, bytes) else text.encode() for name, text in files.items()} | (
        {IMAGE: image} if image else {}
    )
    (root / "KIWI").mkdir(parents=True)
    (root / "conf").mkdir()
    (root / "image").mkdir()
    for name in ("xorg", "xorg.foo"):
        (root / "conf" / name).write_text(name)
    for name, content in given.items():
        (root / name).write_bytes(content)
    catalog = Catalog(root / "image")
    catalog.load()
    config = Config.model_validate({"kiwi": kiwi or {}})
    members = Members(config.kiwi, Inbox(root), Enrolments(root))
    sums = Checksums(catalog, Memory(root))
    tree = Tree(
        root,
        catalog=catalog,
        plans=Plans(config, catalog, server=SERVER, private=private),
        server=SERVER,
        checksums=sums,
        members=members,
    )
    events: list[TftpEvent] = []
    uploads, registrations = Uploads(root), Registrations(members, tree.answers)
    tftp = TftpServer(open_read=tree.open, open_write=uploads.open_write, report=events.append)
    http = HttpServer(
        open_read=tree.open,
        open_write=uploads.open_write,
        report=lambda event: None,
        routes=registrations.routes(),
    )
    await tftp.bind("127.0.0.1", 0)
    await http.bind("127.0.0.1", 0, unix_path=folder / "api.sock")
    urls = {"tftp": f"tftp://127.0.0.1:{tftp.port}", "http": f"http://127.0.0.1:{http.port}"}
    clients = {kind: Client(curl, url, []) for kind, url in urls.items()}
    running = [asyncio.create_task(service.run()) for service in (tftp, http, sums)]
    try:
        yield Box(root, folder / "api.sock", members, registrations, clients, tftp.port, events)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
