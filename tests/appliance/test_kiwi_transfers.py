"""What KIWI's client fetches after its configuration: compressed images, from two protocols, again, with loss.

Fixtures F2, F3b and the transfers of F14; the table of all is in test_kiwi_clients.
"""

import asyncio
import gzip
import hashlib
import lzma
import random
import socket
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.appliance.kiwi.scripted import DEADLINE, F1, IMAGE, MAC, OWN, SQUASHFS, SUM, Client, Start, serving

PACK: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "compressed-xz": (".xz", lzma.compress),
    "compressed": (".gz", gzip.compress),
}
RRQ, DATA, ACK, OACK = 1, 3, 4, 6


@pytest.fixture
def start(tmp_path: Path, tool: Callable[[str], str]) -> Start:
    """Serves a tree made of some files (by their paths in KIWI/) and one image, over TFTP and HTTP."""
    return partial(serving, tmp_path, tool("curl"))


async def fetch(*command: str) -> None:
    """Run somebody's TFTP client to its end."""
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
    async with asyncio.timeout(DEADLINE):
        assert await process.wait() == 0


@pytest.mark.parametrize("word", PACK)
async def test_f2_a_compressed_image_alone(start: Start, tool: Callable[[str], str], tmp_path: Path, word: str) -> None:
    """Five fields, of which the sum is that of what it unpacks to; busybox asks with `blksize 8192` and `tsize 0`."""
    suffix, pack = PACK[word]
    image = SQUASHFS + random.Random(2).randbytes(20_000)  # more than one block
    data, local = pack(image), tmp_path / "got"
    text = f"IMAGE='/dev/ram1;edge.x86_64;1.2.0;10.11.0.1;8192;{word}'\n"
    async with start(image=None, **{f"config.{MAC}": text, f"../{IMAGE}{suffix}": data}) as box:
        client = box.clients["tftp"]
        assert await client.look_up() == text.encode()
        told = (await client.get(f"{IMAGE}.md5") or b"").split()
        assert (told[0].decode(), len(told)) == (hashlib.md5(image).hexdigest(), 5)
        sizes = list(map(int, told[1:]))
        assert (sizes[0] * sizes[1], sizes[2] * sizes[3]) == (len(image), len(data))
        path = f"{IMAGE}{suffix}"
        await fetch(tool("busybox"), *f"tftp -g -b 8192 -r {path} -l {local} 127.0.0.1 {box.port}".split())
        assert box.started(path) == [8192]
    assert local.read_bytes() == data
    assert client.asked == [(OWN, True), (f"{IMAGE}.md5", True)]


async def test_f3b_a_configuration_that_turns_to_http(start: Start) -> None:
    """By TFTP it says that the rest is to be had by HTTP: both have the same tree."""
    text = f"{F1}kiwiserver='10.11.0.1'\nkiwiservertype='http'\n"
    async with start(**{f"config.{MAC}": text}) as box:
        tftp, http = box.clients["tftp"], box.clients["http"]
        assert await tftp.look_up() == text.encode()
        assert await http.get(f"{IMAGE}.md5") == SUM
        assert await http.get(IMAGE) == SQUASHFS
    assert tftp.asked == [(OWN, True)]
    assert http.asked == [(f"{IMAGE}.md5", True), (IMAGE, True)]


async def load(client: Client) -> bool:
    """One round of KIWI's loop: the checksum, the image, and whether they fit."""
    told, image = await client.get(f"{IMAGE}.md5"), await client.get(IMAGE)
    return hashlib.md5(image or b"").hexdigest().encode() == (told or b"").split()[0]


@pytest.mark.parametrize("kind", ["tftp", "http"])
async def test_f14_a_corrupt_image_is_loaded_again(start: Start, kind: str) -> None:
    """Checksum and image, each time anew, until the operator has copied what fits."""
    wrong = SUM.replace(SUM[:4], b"0123")
    async with start(**{f"config.{MAC}": F1, f"../{IMAGE}.md5": wrong}) as box:
        client, own = box.clients[kind], box.root / f"{IMAGE}.md5"
        while own.stat().st_ctime_ns <= (box.root / IMAGE).stat().st_ctime_ns:
            own.chmod(0o644)  # it came last, as it has to
        rounds = [await load(client), await load(client)]
        own.write_bytes(SUM)
        assert [*rounds, await load(client)] == [False, False, True]
    assert client.asked == [(f"{IMAGE}.md5", True), (IMAGE, True)] * 3


async def test_f14_multicast_with_an_empty_value(start: Start, tool: Callable[[str], str], tmp_path: Path) -> None:
    """As atftp asks for plain images; nobody else is there to share it with."""
    local = tmp_path / "got"
    words = ("--option", "blksize 65464", "--option", "multicast", "-g", "-r", IMAGE, "-l", str(local))
    async with start() as box:
        await fetch(tool("atftp"), *words, "127.0.0.1", str(box.port))
        assert box.started(IMAGE) == [65464]
    assert local.read_bytes() == SQUASHFS


async def ask(port: int, options: bytes, *, lost: int = 0) -> tuple[bytes, bytes]:
    """A whole image by a client of a few lines, of whose ACKs the first ones are lost: the OACK, and the image."""
    loop, got, oack = asyncio.get_running_loop(), b"", b""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.setblocking(False)
        request = struct.pack("!H", RRQ) + f"{IMAGE}\0octet\0".encode() + options
        await loop.sock_sendto(peer, request, ("127.0.0.1", port))
        while True:
            async with asyncio.timeout(DEADLINE):
                answer, server = await loop.sock_recvfrom(peer, 70_000)
            kind, block = struct.unpack_from("!HH", answer)
            assert kind in (OACK, DATA), answer
            if kind == OACK:
                oack, block = answer[2:], 0
            elif block == len(got) // 512 + 1:  # else it was sent again
                got += answer[4:]
            if lost:
                lost -= 1
                continue
            await loop.sock_sendto(peer, struct.pack("!HH", ACK, block), server)
            if kind == DATA and len(answer) < 4 + 512:
                return oack, got


@pytest.mark.parametrize("size", [b"0", b"7", b"-1", b"", b"many"])
async def test_f14_block_sizes_that_are_none(start: Start, size: bytes) -> None:
    """Are left out of the answer, which is no error: the client has 512 bytes then."""
    async with start() as box:
        oack, got = await ask(box.port, b"blksize\0" + size + b"\0tsize\0000\0")
    assert (oack, got) == (b"tsize\0004096\0", SQUASHFS)


async def test_f14_lost_acks(start: Start) -> None:
    """What is not acknowledged is sent again, the answer to the options as the data, until it is."""
    async with start() as box:
        oack, got = await ask(box.port, b"blksize\000512\0timeout\0001\0", lost=2)
    assert (oack, got) == (b"blksize\000512\0timeout\0001\0", SQUASHFS)
