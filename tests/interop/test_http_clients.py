"""HTTP as clients that others wrote speak it: curl, busybox wget, http.client; with the box's own upload policy."""

import asyncio
import contextlib
import hashlib
import http.client
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.enrolment.uploads import Uploads
from protocols.http.endpoint import HttpLimits, HttpServer, RequestFinished, RequestStarted
from storage.image import FileImage, Image

BIG = 5_000_011  # bytes: many chunks, and no multiple of anything
DEADLINE = 60  # seconds until a client that hangs fails its test
KIWI_NAME = "client.52:54:00:A1:B2:C3"
KIWI_TARGET = "upload/client.52%3a54%3a00%3aA1%3aB2%3aC3"  # as KIWI's curl asks, lower-case hex (quirks H-11)


@dataclass
class Box:
    """A server over a folder, and what it reported."""

    root: Path
    server: HttpServer
    events: list[RequestStarted | RequestFinished] = field(default_factory=list)

    def url(self, path: str) -> str:
        """Where a path is served."""
        return f"http://127.0.0.1:{self.server.port}/{path}"

    def requests(self) -> list[tuple[str, str, int]]:
        """Method, name and status of every exchange that is over."""
        return [(e.method, e.name, e.status) for e in self.events if isinstance(e, RequestFinished)]


def fill(root: Path) -> None:
    """A small tree."""
    for folder in ("boot", "image", "KIWI"):
        (root / folder).mkdir()
    (root / "boot" / "linux").write_bytes(b"kernel")
    (root / "image" / "big").write_bytes((b"%07d\n" * (BIG // 8 + 1) % tuple(range(BIG // 8 + 1)))[:BIG])
    (root / "KIWI" / "config.52:54:00:A1:B2:C3").write_bytes(b"IMAGE='x'\n")


@contextlib.asynccontextmanager
async def serving(root: Path, limits: HttpLimits | None = None) -> AsyncIterator[Box]:
    """A server of the folder on loopback."""

    async def open_read(name: str, client: str) -> Image:
        return FileImage(root / name)

    events: list[RequestStarted | RequestFinished] = []
    server = HttpServer(
        open_read=open_read, open_write=Uploads(root).open_write, report=events.append, limits=limits or HttpLimits()
    )
    await server.bind("127.0.0.1", 0)
    running = asyncio.create_task(server.run())
    yield Box(root, server, events)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    """A server of a small tree."""
    root = tmp_path / "root"
    root.mkdir()
    fill(root)
    async with serving(root) as running:
        yield running


Run = Callable[..., Awaitable[subprocess.CompletedProcess[str]]]


@pytest.fixture
def run(tool: Callable[[str], str]) -> Run:
    """A function that runs an outside program while the server goes on, and gives its output."""

    async def start(*words: str) -> subprocess.CompletedProcess[str]:
        process = await asyncio.create_subprocess_exec(
            tool(words[0]), *words[1:], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        async with asyncio.timeout(DEADLINE):
            out, complaints = await process.communicate()
        return subprocess.CompletedProcess(words, process.returncode or 0, out.decode("latin-1"), complaints.decode())

    return start


def digest(path: Path) -> str:
    """The checksum of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def test_curl_gets(box: Box, run: Run, tmp_path: Path) -> None:
    """A big file, byte for byte."""
    done = await run("curl", "-sSf", "-o", str(tmp_path / "got"), box.url("image/big"))
    assert done.returncode == 0, done.stderr
    assert digest(tmp_path / "got") == digest(box.root / "image" / "big")


async def test_curl_heads_and_gets_on_one_connection(box: Box, run: Run) -> None:
    """curl says itself that it reused the connection (quirks H-1)."""
    url = box.url("boot/linux")
    done = await run("curl", "-sSv", "-I", url, "--next", "-sSv", url, "--next", "-sSv", url)
    assert "Content-Length: 6" in done.stdout
    assert done.stdout.endswith("kernelkernel")
    assert done.stderr.count("Connected to") == 1
    assert [method for method, _, _ in box.requests()] == ["HEAD", "GET", "GET"]


@pytest.mark.parametrize(
    ("asked", "first", "stop"), [("0-99", 0, 100), ("4999000-", 4999000, BIG), ("-7", BIG - 7, BIG)]
)
async def test_curl_ranges(box: Box, run: Run, tmp_path: Path, asked: str, first: int, stop: int) -> None:
    """Closed, open and suffix."""
    await run("curl", "-sSf", "-r", asked, "-o", str(tmp_path / "got"), box.url("image/big"))
    assert (tmp_path / "got").read_bytes() == (box.root / "image" / "big").read_bytes()[first:stop]


async def test_curl_resumes(box: Box, run: Run, tmp_path: Path) -> None:
    """The rest is appended to what was there."""
    whole = (box.root / "image" / "big").read_bytes()
    (tmp_path / "got").write_bytes(whole[:1_234_567])
    done = await run("curl", "-sSf", "-C", "-", "-o", str(tmp_path / "got"), box.url("image/big"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "got").read_bytes() == whole
    assert box.requests() == [("GET", "image/big", 206)]


async def test_curl_resumes_what_is_complete(box: Box, run: Run, tmp_path: Path) -> None:
    """Nothing is left to fetch: 416, which curl takes as done or as an error, but never as bytes."""
    whole = (box.root / "boot" / "linux").read_bytes()
    (tmp_path / "got").write_bytes(whole)
    await run("curl", "-sS", "-f", "-C", "-", "-o", str(tmp_path / "got"), box.url("boot/linux"))
    assert (tmp_path / "got").read_bytes() == whole


async def test_curl_by_http_1_0(box: Box, run: Run) -> None:
    """What GRUB and U-Boot speak (quirks H-8)."""
    done = await run("curl", "-sSf", "--http1.0", box.url("boot/linux"))
    assert done.stdout == "kernel"


async def test_curl_without_host(box: Box, run: Run) -> None:
    """Neither is the field demanded."""
    done = await run("curl", "-sSf", "-H", "Host:", box.url("boot/linux"))
    assert done.stdout == "kernel"


async def test_curl_doubled_slashes(box: Box, run: Run) -> None:
    """No redirect: curl is not told to follow one (quirks H-5)."""
    done = await run("curl", "-sSf", "--path-as-is", box.url("/boot//linux"))
    assert done.stdout == "kernel"


async def test_curl_only_if_changed(box: Box, run: Run, tmp_path: Path) -> None:
    """A mirror that asks again gets 304."""
    for _ in range(2):
        kept = str(tmp_path / "etag")
        await run(
            "curl",
            "-sSf",
            "--etag-save",
            kept,
            "--etag-compare",
            kept,
            "-o",
            str(tmp_path / "got"),
            box.url("boot/linux"),
        )
    await run("curl", "-sSf", "-z", str(box.root / "boot" / "linux"), box.url("boot/linux"))
    assert [status for _, _, status in box.requests()] == [200, 304, 304]


async def test_curl_compressed_gets_plain_bytes(box: Box, run: Run) -> None:
    """Even who can decode gets the file as it is."""
    done = await run("curl", "-sSf", "--compressed", "-i", box.url("boot/linux"))
    assert "Content-Encoding" not in done.stdout
    assert done.stdout.endswith("kernel")


async def test_kiwi_looks_for_its_configuration(box: Box, run: Run) -> None:
    """As KIWI's client does: curl -f, colons encoded in lower case; a miss fails, and says nothing (KIWI 1.4)."""
    miss = await run("curl", "-sf", box.url("KIWI/config.group"))
    hit = await run("curl", "-sSf", box.url("KIWI/config.52%3a54%3a00%3aA1%3aB2%3aC3"))
    assert (miss.returncode, miss.stdout) == (22, "")
    assert hit.stdout == "IMAGE='x'\n"


async def test_kiwi_registers(box: Box, run: Run, tmp_path: Path) -> None:
    """curl -T, which expects 100-continue (KIWI 1.5): created, then replaced by the same machine."""
    (tmp_path / "hwtype").write_text("NCNAME=undefined\nIPADDR=10.11.0.57\n")
    for said in (" 201 ", " 204 "):
        done = await run(
            "curl", "-sSf", "-i", "-H", "Expect: 100-continue", "-T", str(tmp_path / "hwtype"), box.url(KIWI_TARGET)
        )
        assert done.stdout.startswith("HTTP/1.1 100 Continue")
        assert said in done.stdout
    assert (box.root / "upload" / KIWI_NAME).read_text() == "NCNAME=undefined\nIPADDR=10.11.0.57\n"


async def test_curl_uploads_what_it_reads_from_a_pipe(box: Box, run: Run) -> None:
    """Chunked, since no length is known."""
    done = await run("sh", "-c", f"echo report | $(command -v curl) -sSf -T - {box.url('upload/report.txt')}")
    assert done.returncode == 0, done.stderr
    assert (box.root / "upload" / "report.txt").read_text() == "report\n"


@pytest.mark.parametrize(("target", "size", "status"), [("boot/linux", 10, 403), (KIWI_TARGET, (64 << 10) + 1, 413)])
async def test_curl_uploads_what_is_refused(
    box: Box, run: Run, tmp_path: Path, target: str, size: int, status: int
) -> None:
    """Outside upload/ or too large: curl sees the status, and nothing changed."""
    (tmp_path / "file").write_bytes(bytes(size))
    done = await run(
        "curl", "-sS", "-w", "%{http_code}", "-o", "/dev/null", "-T", str(tmp_path / "file"), box.url(target)
    )
    assert done.stdout == str(status)
    assert (box.root / "boot" / "linux").read_bytes() == b"kernel"
    assert not (box.root / "upload").exists()


async def test_curl_comes_again_after_503(tmp_path: Path, tool: Callable[[str], str]) -> None:
    """--retry honours Retry-After: turned away while another holds the only place, served when it has gone (I-6)."""
    fill(tmp_path)
    async with serving(tmp_path, HttpLimits(connections=1, retry_after=1)) as box, asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection("127.0.0.1", box.server.port)
        writer.write(b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        words = (tool("curl"), "-sSfv", "--retry", "20", box.url("boot/linux"))
        curl = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert curl.stderr is not None
        await curl.stderr.readuntil(b"503 Service Unavailable")
        writer.close()
        out, _ = await curl.communicate()
    assert (curl.returncode, out) == (0, b"kernel")


async def test_many_curls_at_once(box: Box, run: Run, tmp_path: Path) -> None:
    """curl -Z: parallel connections, every file whole."""
    words = [word for n in range(20) for word in ("-o", str(tmp_path / f"got{n}"), box.url("image/big"))]
    done = await run("curl", "-sSf", "-Z", "--parallel-immediate", "--parallel-max", "20", *words)
    assert done.returncode == 0, done.stderr
    assert {digest(tmp_path / f"got{n}") for n in range(20)} == {digest(box.root / "image" / "big")}


async def test_busybox_wget(box: Box, run: Run, tmp_path: Path) -> None:
    """What small initramfs images have."""
    done = await run("busybox", "wget", "-q", "-O", str(tmp_path / "got"), box.url("image/big"))
    assert done.returncode == 0, done.stderr
    assert digest(tmp_path / "got") == digest(box.root / "image" / "big")


async def test_busybox_wget_resumes(box: Box, run: Run, tmp_path: Path) -> None:
    """Its -c asks for a range as well."""
    whole = (box.root / "image" / "big").read_bytes()
    (tmp_path / "got").write_bytes(whole[:1000])
    await run("busybox", "wget", "-q", "-c", "-O", str(tmp_path / "got"), box.url("image/big"))
    assert (tmp_path / "got").read_bytes() == whole


async def test_busybox_wget_misses(box: Box, run: Run, tmp_path: Path) -> None:
    """A 404 is a failure for it."""
    done = await run("busybox", "wget", "-q", "-O", str(tmp_path / "got"), box.url("none"))
    assert done.returncode == 1
    assert "404" in done.stderr


def converse(port: int) -> list[tuple[int, bytes]]:
    """HEAD, a miss, a GET and a range on one connection of http.client, which fails on any byte out of place."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    replies = []
    for method, target, fields in (
        ("HEAD", "/boot/linux", {}),
        ("GET", "/none", {}),
        ("GET", "/boot/linux", {}),
        ("GET", "/boot/linux", {"Range": "bytes=1-2"}),
        ("DELETE", "/boot/linux", {}),
    ):
        connection.request(method, target, headers=fields)
        reply = connection.getresponse()
        replies.append((reply.status, reply.read()))
    connection.close()
    return replies


async def test_http_client(box: Box) -> None:
    """Python's own, keep-alive over answers of every kind."""
    replies = await asyncio.to_thread(converse, box.server.port)
    assert replies == [
        (200, b""),
        (404, b"not found\n"),
        (200, b"kernel"),
        (206, b"er"),
        (405, b"method not allowed\n"),
    ]
