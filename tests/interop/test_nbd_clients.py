"""The NBD server against clients that others wrote: libnbd and its tools, qemu-img, nbd-client."""

import asyncio
import errno
import filecmp
import json
import os
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from protocols.nbd.channel import DataPath, Server
from protocols.nbd.endpoint import ExportClosed, ExportOpened, NbdEvent, NbdServer, PumpedPath
from storage.image import FileImage, Image
from tests.protocols.nbd.twin import PlainPath

MIB = 1 << 20
DEADLINE = 60.0  # seconds; only a hang reaches it
DATA = random.Random(10809).randbytes(3 * MIB)
ROOT_SIZE = 8 * MIB + 512  # the file is a byte short of it: the export is padded
Tool = Callable[[str], str]


class Box:
    """A server with a sparse read-only image of an odd size and a writable disk."""

    def __init__(self, folder: Path, path: Callable[[Server], DataPath]) -> None:
        self.folder = folder
        root = folder / "root.squashfs"
        with root.open("wb") as file:
            file.write(DATA)
            file.seek(6 * MIB)
            file.write(DATA[:MIB])
            file.truncate(ROOT_SIZE - 1)
        (folder / "disk.img").write_bytes(bytes(4 * MIB))
        self.images: dict[str, Image] = {
            "root": FileImage(root),
            "disk": FileImage(folder / "disk.img", writable=True),
        }
        self.expected = root.read_bytes() + b"\0"
        self.events: list[NbdEvent] = []
        self.server = NbdServer(find=self.find, names=lambda client: ["disk", "root"], report=self.note, path=path)
        self.emptied = asyncio.Event()  # everyone who came has gone

    def note(self, event: NbdEvent) -> None:
        """Keep an event."""
        self.events.append(event)
        kinds = [type(event) for event in self.events]
        if kinds.count(ExportOpened) == kinds.count(ExportClosed):
            self.emptied.set()
        else:
            self.emptied.clear()

    async def find(self, name: str, client: str) -> Image:
        """The default export is the root."""
        if (name or "root") not in self.images:
            raise FileNotFoundError(name)
        return self.images[name or "root"]

    def uri(self, export: str = "root") -> str:
        """Where clients find an export."""
        return f"nbd://127.0.0.1:{self.server.port}/{export}"

    async def reasons(self) -> set[str]:
        """How connections ended, once they have: the server hears of it a little after the client."""
        await asyncio.wait_for(self.emptied.wait(), DEADLINE)
        return {event.reason for event in self.events if isinstance(event, ExportClosed)}


@pytest.fixture(params=[PumpedPath, PlainPath], ids=["pump", "plain"])
async def box(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Box]:
    """A running server: its native pump, and the pump's twin."""
    made = Box(tmp_path, request.param)
    await made.server.bind("127.0.0.1", 0)
    running = asyncio.create_task(made.server.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert made.server.counts["malformed"] == 0


async def run(*command: str) -> str:
    """A program's output; it must end well."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), DEADLINE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def test_nbdinfo_lists_exports(box: Box, tool: Tool) -> None:
    """Both of them, with what they can do."""
    found = json.loads(await run(tool("nbdinfo"), "--list", "--json", box.uri("")))
    exports = {export["export-name"]: export for export in found["exports"]}
    assert set(exports) == {"root", "disk"}
    assert exports["root"]["is_read_only"]
    assert exports["root"]["can_multi_conn"]
    assert exports["root"]["export-size"] == ROOT_SIZE
    assert not exports["disk"]["is_read_only"]
    assert exports["disk"]["can_fua"]
    assert exports["disk"]["can_zero"]
    assert exports["disk"]["can_trim"]


async def test_nbdinfo_tells_of_one_export(box: Box, tool: Tool) -> None:
    """Structured replies, block sizes, the allocation context."""
    # Its guess at the content comes from another program, file, and may be no text.
    found = json.loads(await run(tool("nbdinfo"), "--json", "--no-content", box.uri()))
    assert (found["protocol"], found["structured"]) == ("newstyle-fixed", True)
    (export,) = found["exports"]
    assert export["contexts"] == ["base:allocation"]
    assert [export[f"block_size_{which}"] for which in ("minimum", "preferred", "maximum")] == [512, 4096, 32 * MIB]


async def test_nbdinfo_maps_holes(box: Box, tool: Tool) -> None:
    """The sparse file's runs, to the padded end."""
    runs = json.loads(await run(tool("nbdinfo"), "--map", "--json", box.uri()))
    expected = [(0, 3 * MIB, 0), (3 * MIB, 3 * MIB, 3), (6 * MIB, MIB, 0), (7 * MIB, ROOT_SIZE - 7 * MIB, 3)]
    assert [(run["offset"], run["length"], run["type"]) for run in runs] == expected


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--connections=4", "--threads=2", "--requests=64"],
        ["--request-size=4096"],
        ["--request-size=33554432"],
        ["--synchronous"],
        ["--no-extents"],
    ],
    ids=" ".join,
)
async def test_nbdcopy_copies_the_image(box: Box, tool: Tool, tmp_path: Path, options: list[str]) -> None:
    """Byte for byte, in small and the largest requests, over one connection and several."""
    await run(tool("nbdcopy"), *options, box.uri(), str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == box.expected
    assert await box.reasons() == {"disconnected"}


async def test_nbdcopy_writes_a_disk(box: Box, tool: Tool, tmp_path: Path) -> None:
    """Several connections, zeroes, and a flush; then what is on disk."""
    (tmp_path / "new").write_bytes(DATA + bytes(MIB))
    await run(tool("nbdcopy"), "--connections=4", "--flush", str(tmp_path / "new"), box.uri("disk"))
    assert filecmp.cmp(tmp_path / "new", tmp_path / "disk.img", shallow=False)


async def test_qemu_img_knows_the_image(box: Box, tool: Tool) -> None:
    """Its size and that it is raw."""
    found = json.loads(await run(tool("qemu-img"), "info", "--output=json", "-f", "raw", box.uri()))
    assert (found["format"], found["virtual-size"]) == ("raw", ROOT_SIZE)


async def test_qemu_img_maps_holes(box: Box, tool: Tool) -> None:
    """By block status; qemu rejects a server whose runs break the protocol."""
    runs = json.loads(await run(tool("qemu-img"), "map", "--output=json", "-f", "raw", box.uri()))
    data = [(run["start"], run["length"]) for run in runs if run["data"]]
    assert data == [(0, 3 * MIB), (6 * MIB, MIB)]


async def test_qemu_img_converts_and_compares(box: Box, tool: Tool, tmp_path: Path) -> None:
    """A copy over the wire equals the export, compared over the wire."""
    copy = str(tmp_path / "copy")
    await run(tool("qemu-img"), "convert", "-f", "raw", "-O", "raw", box.uri(), copy)
    assert (tmp_path / "copy").read_bytes() == box.expected
    assert "identical" in await run(tool("qemu-img"), "compare", "-f", "raw", "-F", "raw", copy, box.uri())


async def test_qemu_img_writes_a_disk(box: Box, tool: Tool, tmp_path: Path) -> None:
    """Data and zeroes."""
    (tmp_path / "new").write_bytes(DATA + bytes(MIB))
    await run(tool("qemu-img"), "convert", "-n", "-f", "raw", "-O", "raw", str(tmp_path / "new"), box.uri("disk"))
    assert filecmp.cmp(tmp_path / "new", tmp_path / "disk.img", shallow=False)


async def test_nbd_client_lists_exports(box: Box, tool: Tool) -> None:
    """The tool that every boot uses, as far as it goes without its kernel module."""
    listed = await run(tool("nbd-client"), "-l", "127.0.0.1", str(box.server.port))
    assert listed.splitlines()[-2:] == ["disk", "root"]


@pytest.fixture
def nbd() -> Any:
    """libnbd's Python binding, or a skip (CI: a failure) naming it."""
    try:
        import nbd as binding
    except ImportError:
        message = "this test needs python3-libnbd: run sudo deploy/setup"
        if os.environ.get("REQUIRE_INTEROP") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return binding


async def with_libnbd(
    nbd: Any, box: Box, work: Callable[[Any], None], *, export: str = "root", structured: bool = True
) -> None:
    """Do `work` on a thread with a connected handle that sends even what breaks the protocol's rules."""

    def connected() -> None:
        handle = nbd.NBD()
        handle.set_request_structured_replies(structured)
        handle.add_meta_context("base:allocation")
        handle.set_strict_mode(0)
        handle.connect_uri(box.uri(export))
        assert handle.get_structured_replies_negotiated() == structured
        work(handle)
        handle.shutdown()

    await asyncio.wait_for(asyncio.to_thread(connected), DEADLINE)


@pytest.mark.parametrize("structured", [False, True])
async def test_libnbd_reads(nbd: Any, box: Box, structured: bool) -> None:
    """Data, holes, the padded end, and nothing."""

    def work(handle: Any) -> None:
        assert handle.pread(2 * MIB, 2 * MIB) == box.expected[2 * MIB : 4 * MIB]
        assert handle.pread(ROOT_SIZE, 0) == box.expected
        assert handle.pread(512, ROOT_SIZE - 512) == box.expected[-512:]

    await with_libnbd(nbd, box, work, structured=structured)


@pytest.mark.parametrize("structured", [False, True])
async def test_libnbd_sees_errors_and_goes_on(nbd: Any, box: Box, structured: bool) -> None:
    """Each refused request by its errno, on one connection that lives."""

    def work(handle: Any) -> None:
        refused: list[tuple[int, Callable[[], Any]]] = [
            (errno.EPERM, lambda: handle.pwrite(b"x" * 512, 0)),
            (errno.EPERM, lambda: handle.zero(512, 0)),
            (errno.EPERM, lambda: handle.trim(512, 0)),
            (errno.EINVAL, lambda: handle.pread(512, 1)),
            (errno.EINVAL, lambda: handle.pread(511, 0)),
            (errno.EINVAL, lambda: handle.pread(33 * MIB, 0)),
            (errno.EINVAL, lambda: handle.pread(512, ROOT_SIZE)),
        ]
        for number, attempt in refused:
            with pytest.raises(nbd.Error) as caught:
                attempt()
            assert caught.value.errnum == number
            assert handle.pread(512, 0) == box.expected[:512]

    await with_libnbd(nbd, box, work, structured=structured)
    assert await box.reasons() == {"disconnected"}


async def test_libnbd_writes(nbd: Any, box: Box) -> None:
    """Write with FUA, zero, flush, cache, trim; past the end there is no space; what is on disk."""

    def work(handle: Any) -> None:
        handle.pwrite(DATA[:MIB], MIB, nbd.CMD_FLAG_FUA)
        handle.zero(4096, MIB, nbd.CMD_FLAG_NO_HOLE)
        handle.flush()
        handle.cache(4 * MIB, 0)
        assert handle.pread(8192, MIB) == bytes(4096) + DATA[4096:8192]
        refused: list[tuple[int, Callable[[], Any]]] = [
            (errno.ENOSPC, lambda: handle.pwrite(b"x" * 512, 4 * MIB)),
            (errno.EINVAL, lambda: handle.pwrite(b"x" * 33 * MIB, 0)),
        ]
        for number, attempt in refused:
            with pytest.raises(nbd.Error) as caught:
                attempt()
            assert caught.value.errnum == number
        handle.trim(64 * 1024, MIB + 64 * 1024, nbd.CMD_FLAG_FUA)

    await with_libnbd(nbd, box, work, export="disk")
    written = bytes(MIB + 4096) + DATA[4096 : 64 * 1024] + bytes(64 * 1024) + DATA[128 * 1024 : MIB] + bytes(2 * MIB)
    assert (box.folder / "disk.img").read_bytes() == written


async def test_libnbd_block_status(nbd: Any, box: Box) -> None:
    """All runs, and one alone."""

    def work(handle: Any) -> None:
        seen: list[list[int]] = []
        handle.block_status(ROOT_SIZE, 0, lambda context, offset, runs, error: seen.append(runs))
        handle.block_status(MIB, 3 * MIB, lambda *told: seen.append(told[2]), nbd.CMD_FLAG_REQ_ONE)
        assert seen == [[3 * MIB, 0, 3 * MIB, 3, MIB, 0, ROOT_SIZE - 7 * MIB, 3], [MIB, 3]]

    await with_libnbd(nbd, box, work)


async def test_libnbd_structured_chunks(nbd: Any, box: Box) -> None:
    """Holes come as holes, unless DF forbids it."""

    def work(handle: Any) -> None:
        seen: list[tuple[int, int, int]] = []
        note = lambda data, offset, kind, error: seen.append((len(data), offset, kind))  # noqa: E731
        handle.pread_structured(2 * MIB, 2 * MIB, note)
        assert seen == [(MIB, 2 * MIB, nbd.READ_DATA), (MIB, 3 * MIB, nbd.READ_HOLE)]
        seen.clear()
        handle.pread_structured(2 * MIB, 2 * MIB, note, nbd.CMD_FLAG_DF)
        assert seen == [(2 * MIB, 2 * MIB, nbd.READ_DATA)]

    await with_libnbd(nbd, box, work)


@pytest.mark.parametrize("structured", [False, True])
async def test_libnbd_with_many_in_flight(nbd: Any, box: Box, structured: bool) -> None:
    """300 reads of mixed sizes, far over both bounds, answered in any order; each has its own bytes."""
    dice = random.Random(4)
    ranges = [(dice.choice([512, 4096, 65536, 2 * MIB]), dice.randrange(12 * 1024) * 512) for _ in range(300)]

    def work(handle: Any) -> None:
        reads = []
        for length, offset in ranges:
            buffer = nbd.Buffer(length)
            reads.append((length, offset, buffer, handle.aio_pread(buffer, offset)))
        while handle.aio_in_flight() > 0:
            if (cookie := handle.aio_peek_command_completed()) > 0:
                assert handle.aio_command_completed(cookie)
            else:
                handle.poll(-1)
        for length, offset, buffer, _ in reads:
            assert buffer.to_bytearray() == box.expected[offset : offset + length]

    await with_libnbd(nbd, box, work, structured=structured)


async def test_libnbd_asks_for_information(nbd: Any, box: Box) -> None:
    """Names, descriptions, contexts; an unknown export first, and GO after all that."""

    def work() -> None:
        handle = nbd.NBD()
        handle.set_opt_mode(True)
        handle.set_full_info(True)
        handle.connect_tcp("127.0.0.1", str(box.server.port))
        names: list[str] = []
        assert handle.opt_list(lambda name, description: names.append(name)) == 2
        assert names == ["disk", "root"]
        handle.set_export_name("nothing")
        with pytest.raises(nbd.Error) as caught:
            handle.opt_info()
        assert caught.value.errnum == errno.ENOENT
        handle.set_export_name("root")
        contexts: list[str] = []
        handle.opt_list_meta_context(contexts.append)
        assert contexts == ["base:allocation"]
        handle.opt_info()
        assert handle.get_canonical_export_name() == "root"
        assert handle.get_export_description() == f"{ROOT_SIZE} bytes, read-only"
        handle.opt_go()
        assert handle.pread(512, 0) == box.expected[:512]
        handle.shutdown()

    await asyncio.wait_for(asyncio.to_thread(work), DEADLINE)


@pytest.mark.parametrize("flags", [0, 1, 2, 3])
async def test_libnbd_with_old_handshakes(nbd: Any, box: Box, flags: int) -> None:
    """Plain newstyle by EXPORT_NAME and fixed newstyle, with the 124 zeroes and without."""

    def work() -> None:
        handle = nbd.NBD()
        handle.set_handshake_flags(flags)
        handle.connect_uri(box.uri())
        assert handle.get_size() == ROOT_SIZE
        assert handle.pread(4096, 0) == box.expected[:4096]
        handle.shutdown()

    await asyncio.wait_for(asyncio.to_thread(work), DEADLINE)


async def test_a_client_that_knows_no_block_sizes_reads_any_range(nbd: Any, box: Box) -> None:
    """Without having asked for them it agreed to none."""

    def work() -> None:
        handle = nbd.NBD()
        handle.set_request_block_size(False)
        handle.connect_uri(box.uri())
        assert handle.pread(3, 5) == box.expected[5:8]
        handle.shutdown()

    await asyncio.wait_for(asyncio.to_thread(work), DEADLINE)
