"""Files inside images, fetched by clients that others wrote: curl over HTTP and TFTP, tftp-hpa, atftp, busybox."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.config import Config
from appliance.enrolment.uploads import Uploads
from appliance.images.catalog import Catalog
from appliance.plan import Plans
from appliance.tree import Tree
from protocols.http.endpoint import HttpServer
from protocols.tftp.endpoint import TftpServer
from tests.storage.squashfs.trees import make_image

TOO_LONG = 120.0  # seconds; a client that hangs fails its test instead of the whole run
KERNEL = b"".join(b"%08d" % number for number in range(700_001))  # 5.6 MB, compressed in 43 blocks and a fragment
TEXT = b"hello\n"
Tool = Callable[[str], str]


@dataclass
class Box:
    """The ports of both servers, and the client's folder."""

    http: int
    tftp: int
    folder: Path


@pytest.fixture(scope="session")
def image(tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with a kernel, a link to it, and a name that has to be encoded."""
    root = tmp_path_factory.mktemp("fetched") / "root"
    (root / "boot").mkdir(parents=True)
    (root / "boot/vmlinuz-6.1").write_bytes(KERNEL)
    (root / "vmlinuz").symlink_to("/boot/vmlinuz-6.1")
    (root / "gr\u00f6\u00dfe 1%").write_bytes(TEXT)
    return make_image(tool, root, root.parent / "image")


@pytest.fixture
async def box(tmp_path: Path, image: Path) -> AsyncIterator[Box]:
    """A tree with that one image, over HTTP and TFTP."""
    (tmp_path / "image").mkdir()
    (tmp_path / "image/root").hardlink_to(image)
    catalog = Catalog(tmp_path / "image")
    catalog.load()
    tree = Tree(tmp_path, catalog=catalog, plans=Plans(Config(), catalog, server="127.0.0.1"), server="127.0.0.1")
    uploads = Uploads(tmp_path)
    http = HttpServer(open_read=tree.open, open_write=uploads.open_write, report=lambda event: None)
    tftp = TftpServer(open_read=tree.open, open_write=uploads.open_write, report=lambda event: None)
    await http.bind("127.0.0.1", 0)
    await tftp.bind("127.0.0.1", 0)
    running = [asyncio.create_task(server.run()) for server in (http, tftp)]
    yield Box(http.port, tftp.port, tmp_path)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def run(*command: str) -> tuple[int, str]:
    """Exit status and all that a program said."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, stdin=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(TOO_LONG):
        said, _ = await process.communicate()
    return process.returncode or 0, said.decode(errors="replace")


@pytest.mark.parametrize("path", ["boot/vmlinuz-6.1", "vmlinuz"])
async def test_curl_by_http(box: Box, tool: Tool, path: str) -> None:
    """Byte for byte, by name and by link."""
    local = box.folder / "got"
    url = f"http://127.0.0.1:{box.http}/image/root/-/{path}"
    status, said = await run(tool("curl"), "-sSf", "-o", str(local), url)
    assert (status, local.read_bytes() == KERNEL) == (0, True), said


async def test_curl_resumes(box: Box, tool: Tool) -> None:
    """A range that begins and ends within blocks, as of any file."""
    local = box.folder / "got"
    local.write_bytes(KERNEL[:1_234_567])
    url = f"http://127.0.0.1:{box.http}/image/root/-/vmlinuz"
    status, said = await run(tool("curl"), "-sSf", "-C", "-", "-o", str(local), url)
    assert (status, local.read_bytes() == KERNEL) == (0, True), said


async def test_curl_encodes_a_name(box: Box, tool: Tool) -> None:
    """Blanks, letters outside of ASCII, the percent sign itself."""
    url = f"http://127.0.0.1:{box.http}/image/root/-/gr%C3%B6%C3%9Fe%201%25"
    assert await run(tool("curl"), "-sSf", url) == (0, TEXT.decode())


@pytest.mark.parametrize("path", ["", "boot", "none", "vmlinuz/"])
async def test_curl_is_told_what_is_no_file(box: Box, tool: Tool, path: str) -> None:
    """404, whatever it is instead."""
    url = f"http://127.0.0.1:{box.http}/image/root/-/{path}"
    assert await run(tool("curl"), "-s", "-o", "/dev/null", "-w", "%{http_code}", url) == (0, "404")


DOWNLOADS: dict[str, tuple[str, Callable[[int, str], list[str]]]] = {
    "curl": ("curl", lambda port, to: ["-sS", "-o", to, f"tftp://127.0.0.1:{port}/image/root/-/vmlinuz"]),
    "tftp-hpa": (
        "tftp",
        lambda port, to: ["-m", "binary", "127.0.0.1", f"{port}", "-c", "get", "image/root/-/vmlinuz", to],
    ),
    "atftp, window 16": (
        "atftp",
        lambda port, to: [
            *("--option", "blksize 1428", "--option", "windowsize 16", "-g"),
            *("-r", "image/root/-/boot/vmlinuz-6.1", "-l", to, "127.0.0.1", f"{port}"),
        ],
    ),
    "busybox": (
        "busybox",
        lambda port, to: ["tftp", "-g", "-b", "1428", "-r", "/image/root/-/vmlinuz", "-l", to, "127.0.0.1", f"{port}"],
    ),
}


@pytest.mark.parametrize(("program", "command"), DOWNLOADS.values(), ids=DOWNLOADS)
async def test_by_tftp(box: Box, tool: Tool, program: str, command: Callable[[int, str], list[str]]) -> None:
    """The bytes arrive, in blocks and windows."""
    local = box.folder / "got"
    status, said = await run(tool(program), *command(box.tftp, str(local)))
    assert (status, local.read_bytes() == KERNEL) == (0, True), said


async def test_tftp_is_told_what_is_no_file(box: Box, tool: Tool) -> None:
    """The error that loaders look for."""
    status, said = await run(tool("curl"), "-sS", f"tftp://127.0.0.1:{box.tftp}/image/root/-/none")
    assert status != 0
    assert "File not found" in said or "68" in said, said
