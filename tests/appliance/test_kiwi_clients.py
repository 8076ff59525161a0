"""KIWI's netboot client, scripted: what it asks for, in its order, over real TFTP and HTTP, and what it gets.

The fixtures F1 to F14 of the contract as far as they are requests; what is asked is what the appliance has seen.
"""

import asyncio
import contextlib
import hashlib
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from appliance.catalog import Catalog
from appliance.checksums import Checksums
from appliance.config import Config
from appliance.enrolment import enroll
from appliance.errors import OperatorError
from appliance.inbox import Inbox
from appliance.members import Enrolments, Members
from appliance.memory import Memory
from appliance.plan import Plans
from appliance.registrations import Registrations
from appliance.tree import Tree
from appliance.uploads import Uploads
from protocols.http.endpoint import HttpServer
from protocols.tftp.endpoint import TftpServer

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
        target = quote(path, safe="/-_.") if self.url.startswith("http") else path
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


Start = Callable[..., Any]


@pytest.fixture
def start(tmp_path: Path, tool: Callable[[str], str]) -> Start:
    """Serves a tree made of some files (by their paths in KIWI/) and one image, over TFTP and HTTP."""

    @contextlib.asynccontextmanager
    async def serving(*, image: bytes | None = SQUASHFS, kiwi: object = None, **files: str) -> AsyncIterator[Box]:
        root = tmp_path / "srv"
        given = {f"KIWI/{name}": text.encode() for name, text in files.items()} | ({IMAGE: image} if image else {})
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
            plans=Plans(config, catalog, server=SERVER),
            server=SERVER,
            checksums=sums,
            members=members,
        )
        uploads, registrations = Uploads(root), Registrations(members, tree.answers)
        tftp = TftpServer(open_read=tree.open, open_write=uploads.open_write, report=lambda event: None)
        http = HttpServer(
            open_read=tree.open,
            open_write=uploads.open_write,
            report=lambda event: None,
            routes=registrations.routes(),
        )
        await tftp.bind("127.0.0.1", 0)
        await http.bind("127.0.0.1", 0, unix_path=tmp_path / "api.sock")
        urls = {"tftp": f"tftp://127.0.0.1:{tftp.port}", "http": f"http://127.0.0.1:{http.port}"}
        clients = {kind: Client(tool("curl"), url, []) for kind, url in urls.items()}
        running = [asyncio.create_task(service.run()) for service in (tftp, http, sums)]
        yield Box(root, tmp_path / "api.sock", members, registrations, clients)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    return serving


BOTH = pytest.mark.parametrize("kind", ["tftp", "http"])


@BOTH
async def test_f1_and_f3_ramdisk_by_the_default(start: Start, kind: str) -> None:
    """Ten misses, the default configuration, the checksum that was made, the image."""
    async with start(**{"config.default": F1}) as box:
        client = box.clients[kind]
        assert await client.look_up() == F1.encode()
        assert await client.get(f"{IMAGE}.md5") == SUM
        assert await client.get(IMAGE) == SQUASHFS
    assert client.asked == [
        *((path, False) for path in MISS10),
        ("KIWI/config.default", True),
        (f"{IMAGE}.md5", True),
        (IMAGE, True),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "NBDROOT='10.11.0.1;edge.x86_64-1.2.0;/dev/nbd0'\nUNIONFS_CONFIG='tmpfs,nbd,overlay'\n",
        "AOEROOT='/dev/etherd/e0.1'\nUNIONFS_CONFIG='tmpfs,aoe,overlay'\n",
    ],
    ids=["f4", "f6"],
)
async def test_f4_and_f6_remote_roots(start: Start, text: str) -> None:
    """The machine's own configuration is the first and the last thing it asks for."""
    async with start(**{"config.52-54-00-a1-b2-c3": text}) as box:
        client = box.clients["tftp"]
        assert await client.look_up() == text.encode()
    assert client.asked == [(OWN, True)]


async def test_f11_group_and_hardware_map(start: Start) -> None:
    """They are one final configuration, which names the map's file and not the group's."""
    conf = "CONF='conf/xorg;/etc/X11/xorg.conf;10.11.0.1;4096'\n"
    vendor = "VENDOR_CONF='conf/xorg.foo;/etc/X11/xorg.conf;10.11.0.1;4096'\n"
    files = {
        "config.group": f"KIWI_GROUP='pos, office'\npos_KIWI_MAC_LIST='{MAC}'\n",
        "config.pos": f"{F1}{conf}HARDWARE_MAP='foo'\nfoo_HARDWARE_MAP='{MAC}'\n",
        "config.office": F1,
        "hardware_config.foo": vendor,
    }
    async with start(**files) as box:
        client = box.clients["tftp"]
        assert await client.look_up() == (F1 + conf + vendor).encode()
        assert await client.get("conf/xorg.foo") == b"xorg.foo"
    assert client.asked == [(OWN, True), ("conf/xorg.foo", True)]


@BOTH
async def test_f12_registration_is_answered(start: Start, kind: str) -> None:
    """Eleven misses, an upload; once it is enrolled, the next look-up finds its configuration at once."""
    group = {"client": {"nbdroot": {"export": "edge.x86_64-1.2.0"}, "unionfs_config": "tmpfs,nbd,overlay"}}
    async with start(kiwi={"unknown": "register", "groups": {"pos": group}}) as box:
        client = box.clients[kind]
        assert await client.look_up() is None
        assert client.asked == [(path, False) for path in (*MISS10, "KIWI/config.default")]
        await client.put(f"upload/client.{MAC}", REGISTRATION)
        (waiting,) = box.registrations.reports()
        assert (waiting["mac"], waiting["alias"], waiting["waiting"]) == (MAC.lower(), "till 1", True)
        await enroll(MAC, "pos", box.socket)
        found = await client.look_up()
        assert found == b"NBDROOT='10.11.0.1;edge.x86_64-1.2.0;/dev/nbd0'\nUNIONFS_CONFIG='tmpfs,nbd,overlay'\n"
        assert [(one["group"], one["waiting"]) for one in box.registrations.reports()] == [("pos", False)]
        assert Enrolments(box.root)[MAC.lower()] == "pos"  # as after a restart


@pytest.mark.parametrize("rule", [{"prefixes": ["52-54-00"]}, {"architectures": ["x86_64"]}])
async def test_f12_rules_answer_by_themselves(start: Start, rule: dict[str, object]) -> None:
    """By the first digits of the MAC, or by what the machine says it is; from a group of the tree here."""
    async with start(kiwi={"unknown": "register", "groups": {"pos": rule}}, **{"config.pos": F1}) as box:
        await box.clients["http"].put(f"upload/client.{MAC}", REGISTRATION)
        assert await box.clients["tftp"].look_up() == F1.encode()


async def test_a_machine_of_its_own_table(start: Start) -> None:
    """Typed in KIWI's own words; private exports are one machine's."""
    root = "10.11.0.1;edge.x86_64-1.2.0;/dev/nbd0;swap-525400A1B2C3;/dev/nbd1;rw-525400A1B2C3;/dev/nbd2"
    async with start(kiwi={"machines": {MAC: {"client": {"NBDROOT": root}}}}) as box:
        assert await box.clients["http"].look_up() == f"NBDROOT='{root}'\n".encode()


async def test_a_table_with_an_error_is_not_served(start: Start) -> None:
    """Nor is anything else in its place: an image that there is not."""
    client = {"IMAGE": "/dev/ram1;none;1"}
    async with start(kiwi={"machines": {MAC: {"client": client}}}) as box:
        assert await box.clients["http"].get(OWN) is None


async def test_f12_nobody_enrols_over_the_network(start: Start) -> None:
    """Nor into a group that there is not, which is said."""
    async with start(kiwi={"unknown": "register", "groups": {"pos": {}}}) as box:
        http = box.clients["http"]
        await http.run("-X", "POST", f"{http.url}/api/registrations/{MAC}?group=pos")
        assert list(box.members.enrolled) == []
        with pytest.raises(OperatorError, match="no group tills"):
            await enroll(MAC, "tills", box.socket)


async def test_f13_subnet(start: Start) -> None:
    """Six misses, then the four digits of a network of 65,536 addresses."""
    async with start(**{"config.0A0B": F1}) as box:
        client = box.clients["tftp"]
        assert await client.look_up() == F1.encode()
    assert client.asked == [*((path, False) for path in MISS10[:6]), ("KIWI/config.0A0B", True)]


@pytest.mark.parametrize("spelling", ["52.54.00.A1.B2.C3", "52-54-00-a1-b2-c3", "525400a1b2c3", MAC.lower(), MAC])
async def test_f14_every_spelling_of_a_mac(start: Start, spelling: str) -> None:
    """Asked in any, written in another."""
    async with start(**{"config.52.54.00.A1.B2.C3": F1}) as box:
        assert await box.clients["tftp"].get(f"KIWI/config.{spelling}") == F1.encode()
        assert await box.clients["http"].get(f"KIWI/config.{spelling}") == F1.encode()


async def test_f14_an_empty_default_is_missing(start: Start) -> None:
    """Nothing is found, and so it registers."""
    async with start(**{"config.default": ""}) as box:
        assert await box.clients["http"].look_up() is None
