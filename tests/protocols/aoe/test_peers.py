"""Next to vblade, the reference target, and asked by aoetools, the reference initiator's own tools."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from protocols.aoe.endpoint import Target
from protocols.aoe.wire import Flag
from storage.image import FileImage
from tests.protocols.aoe.lan import Answer, Initiator, serving
from tests.protocols.network import cable, fresh_network

pytestmark = pytest.mark.root
SECTORS = 3000
Tool = Callable[[str], str]


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    """A namespace with a cable for us and one for the peer."""
    with fresh_network():
        cable("near", "far")
        cable("theirs", "beyond")
        yield


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A file of whole sectors."""
    path = tmp_path / "disk"
    path.write_bytes(bytes(number % 251 for number in range(SECTORS * 512)))
    return path


@asynccontextmanager
async def vblade(program: str, disk: Path) -> AsyncIterator[Initiator]:
    """vblade with the same file on its own cable, read-only, seen to be up by its advertisement."""
    initiator = Initiator("beyond")
    process = await asyncio.create_subprocess_exec(
        program, "-r", "0", "1", "theirs", str(disk), stdout=asyncio.subprocess.DEVNULL
    )
    try:
        initiator.server = (await initiator.receive()).header.source
        yield initiator
    finally:
        initiator.close()
        process.terminate()
        await process.wait()


async def answers(initiator: Initiator) -> dict[str, Answer]:
    """What a target says to each request of the kernel's driver, and to some that fail."""
    return {
        "config": await initiator.config(),
        "identify": await initiator.ata(0xEC),
        "read": await initiator.ata(0x24, 5, 2),
        "read 28": await initiator.ata(0x20, 2999 | 0xE0 << 24, 1),
        "past the end": await initiator.ata(0x24, SECTORS, 1),
        "write": await initiator.ata(0x34, 0, 1, bytes(512)),
        "smart": await initiator.ata(0xB0),
        "too many sectors": await initiator.ata(0x24, 0, 3),
        "unknown": await initiator.ask(77, b""),
    }


def identity(answer: Answer) -> dict[int, int]:
    """The words of IDENTIFY that are not zero."""
    words = struct.unpack("<256H", bytes(answer.ata.data)[:512])
    return {number: word for number, word in enumerate(words) if word}


async def test_answers_are_those_of_vblade(tool: Tool, disk: Path) -> None:
    """Field by field for the same file: headers, configuration, registers and data."""
    async with vblade(tool("vblade"), disk) as peer, serving(Target(0, 1, FileImage(disk), "disk")) as lan:
        theirs, ours = await answers(peer), await answers(lan.initiator)
    for name, answer in ours.items():
        their = theirs[name]
        for field in ("version", "flags", "error", "shelf", "slot", "command"):
            assert getattr(answer.header, field) == getattr(their.header, field), (name, field)
        if name not in ("config", "unknown", "identify"):
            known = answer.ata.command if answer.header.flags == Flag.RESPONSE else None
            assert known in (None, their.ata.command), name
            if known is not None:
                assert (answer.ata.feature, answer.ata.sectors) == (their.ata.feature, their.ata.sectors), name
    for name in ("read", "read 28"):
        assert bytes(ours[name].ata.data) == bytes(theirs[name].ata.data)
        assert ours[name].ata.lba == theirs[name].ata.lba
    config, their_config = ours["config"].config, theirs["config"].config
    assert (config.buffers, config.sectors, config.version, config.command, config.string) == (
        their_config.buffers,
        their_config.sectors,
        their_config.version,
        their_config.command,
        their_config.string,
    )


async def test_identify_says_all_that_vblade_does(tool: Tool, disk: Path) -> None:
    """The same words but for names; and more: geometry, ATA version, FLUSH CACHE EXT, integrity."""
    async with vblade(tool("vblade"), disk) as peer, serving(Target(0, 1, FileImage(disk), "disk")) as lan:
        theirs, ours = identity(await peer.ata(0xEC)), identity(await lan.initiator.ata(0xEC))
    names = {*range(10, 20), *range(23, 47)}
    differing = {number for number in ours.keys() | theirs.keys() if ours.get(number) != theirs.get(number)}
    assert differing - names == {0, 1, 3, 6, 53, 54, 55, 56, 57, 80, 83, 86, 255}
    assert ours[83] == theirs[83] | 0x2000
    assert ours[86] == theirs[86] | 0x2000


async def run(*command: str) -> tuple[int, str]:
    """Exit status and output of a program, with a deadline."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(10):
        output, _ = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace")


async def test_aoeping_identifies_a_target(tool: Tool, disk: Path) -> None:
    """It finds the target by a query, then reads model, serial and size."""
    async with serving(Target(0, 1, FileImage(disk), "disk")):
        status, said = await run(tool("aoeping"), "-I", "-s", "5", "0", "1", "far")
    assert status == 0, said
    assert "rootwire AoE target" in said
    assert "0.1:disk" in said


@pytest.mark.parametrize(
    ("command", "string", "said"),
    [
        ("read", "", "old"),
        ("set", "new", "*badcfg*"),
        ("fset", "new", "new"),
        ("test", "old", "old"),
        ("prefix", "ol", "old"),
    ],
)
async def test_aoecfg_reads_and_sets_the_config_string(
    tool: Tool, disk: Path, command: str, string: str, said: str
) -> None:
    """Each command, on a target whose string is "old"."""
    program = tool("aoecfg")
    async with serving(Target(0, 1, FileImage(disk), "disk")) as lan:
        await lan.initiator.config(4, b"old")
        status, answer = await run(program, "-c", command, "-s", string, "-t", "1", "0", "1", "far")
        assert (status, answer.strip()) == (0, said)
