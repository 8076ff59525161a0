"""Kills the appliance again and again while a machine writes to its disk, and looks whether any flush was taken back.

    python -m tests.interop.crash --kills 200

Each round is a whole appliance (`rootwire serve` but for its command line) in a namespace of its own, with a machine on
the other end of a cable that writes by libnbd, to a disk over a base, flushing and forcing now and then. At some random
moment the appliance gets SIGKILL; the next one is asked for all of the disk. Needs root.
"""

import argparse
import asyncio
import os
import random
import select
import signal
import struct
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nbd

from appliance import logs
from appliance.config import BootSettings, Config
from appliance.serve import serve
from tests.protocols.network import CLONE_NEWNET, cable, check, fresh_network, ip, libc

MAC, EXPORT = "52:54:00:a1:b2:c3", "rw-525400A1B2C3"
BOX, MACHINE = "10.98.0.1", "10.98.0.2"
BLOCKS = 96  # of 4 KiB, written over and over
BLOCK = 4096
WORDS = struct.Struct("<II")  # block, version
NOTE = struct.Struct("<cII")  # what became of it, block, version
BEGUN, FORCED, FLUSHED = b"b", b"u", b"f"  # FLUSHED is of every version up to this one
IN_FLIGHT = 6
LONGEST = 0.25  # seconds of writing before a kill
TOO_LONG = 120.0  # seconds; a hang ends in an error


def content(block: int, version: int) -> bytes:
    """What a block holds; version 0 is the base's."""
    return WORDS.pack(block, version) * (BLOCK // WORDS.size)


def child(work: Callable[[], None]) -> int:
    """Do something in a process of its own."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    except nbd.Error:  # the appliance was killed: what this is about
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def connect(namespace: Path) -> nbd.NBD:
    """The machine's connection to its disk; its process enters the machine's network for good."""
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    check(libc.setns(descriptor, CLONE_NEWNET))
    handle = nbd.NBD()
    handle.set_export_name(EXPORT)
    handle.connect_tcp(BOX, "10809")
    return handle


def write(handle: nbd.NBD, notes: int, rng: random.Random, version: int) -> None:
    """Write until the connection ends: numbered versions, some at once, some forced, now and then a flush."""
    while True:
        begun = [
            (block, version + n + 1) for n, block in enumerate(rng.sample(range(BLOCKS), rng.randint(1, IN_FLIGHT)))
        ]
        version += len(begun)
        os.write(notes, b"".join(NOTE.pack(BEGUN, *one) for one in begun))
        way = rng.choice([BEGUN, FORCED, FLUSHED])
        flags = nbd.CMD_FLAG_FUA if way == FORCED else 0
        cookies = [handle.aio_pwrite(buffer(*one), one[0] * BLOCK, flags=flags) for one in begun]
        for cookie in cookies:
            while not handle.aio_command_completed(cookie):
                handle.poll(-1)
        if way == FORCED:
            os.write(notes, b"".join(NOTE.pack(FORCED, *one) for one in begun))
        if way == FLUSHED:
            handle.flush()
            os.write(notes, NOTE.pack(FLUSHED, 0, version))


def buffer(block: int, version: int) -> nbd.Buffer:
    """What is to be written, as libnbd takes it."""
    return nbd.Buffer.from_bytearray(bytearray(content(block, version)))


class Book:
    """What may be on the disk: of each block the version that was kept last, and those begun since."""

    def __init__(self) -> None:
        self.version = self.kept = 0
        self._begun: list[list[int]] = [[0] for _ in range(BLOCKS)]

    def note(self, kind: bytes, block: int, version: int) -> None:
        """Hear from the machine."""
        if kind == BEGUN:
            self._begun[block].append(version)
            self.version = version
            return
        self.kept += 1
        for number in [block] if kind == FORCED else range(BLOCKS):
            known = self._begun[number]
            last = max([known[0], *(one for one in known if one <= version)])
            self._begun[number] = [one for one in known if one >= last]

    def check(self, disk: bytes) -> None:
        """Raise AssertionError for the first block that is none of those; what never got there, never will."""
        for block, allowed in enumerate(self._begun):
            found = disk[block * BLOCK :][:BLOCK]
            version = WORDS.unpack_from(found)[1]
            if version not in allowed or found != content(block, version):
                raise AssertionError(f"block {block} begins with version {version}, and is none of {allowed}")
            self._begun[block] = sorted({allowed[0], version})


class Ring:
    """Appliance and machine on a cable."""

    def __init__(self, folder: Path, namespace: Path, rng: random.Random) -> None:
        self._namespace, self._rng = namespace, rng
        (folder / "image").mkdir()
        (folder / "image/base").write_bytes(b"".join(content(block, 0) for block in range(BLOCKS)))
        boot = BootSettings.model_validate(
            {"image": "base", "raw_images": ["base"], "write": "keep", "write_base": "base", "write_size": "1MiB"}
        )
        self._config = Config(interface="near", address=BOX, root=folder, socket=folder / "api.sock", boot=boot)
        self.book = Book()

    def start(self) -> tuple[int, int]:
        """A new appliance that serves; its process, and its log to be read."""
        reader, writer = os.pipe()

        def run() -> None:
            os.dup2(writer, 2)
            logs.configure(debug=False)
            asyncio.run(serve(self._config))

        pid = child(run)
        os.close(writer)
        said = b""
        while b"appliance_started" not in said:
            ready, _, _ = select.select([reader], [], [], TOO_LONG)
            part = os.read(reader, 65536) if ready else b""
            if not part:
                raise AssertionError(f"the appliance does not start: {said.decode()}")
            said += part
        return pid, reader

    def verify(self) -> None:
        """Ask for all of it."""
        reader, writer = os.pipe()

        def read() -> None:
            handle = connect(self._namespace)
            with os.fdopen(writer, "wb") as out:
                out.write(handle.pread(BLOCKS * BLOCK, 0))

        pid = child(read)
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            disk = file.read()
        os.waitpid(pid, 0)
        self.book.check(disk)

    def write_and_kill(self, appliance: int) -> None:
        """Have the machine write, kill the appliance, and take down what the machine saw of it."""
        reader, writer = os.pipe()
        seed = self._rng.random()
        pid = child(lambda: write(connect(self._namespace), writer, random.Random(seed), self.book.version))
        os.close(writer)
        end = time.monotonic() + self._rng.uniform(0, LONGEST)
        said = b""
        while (left := end - time.monotonic()) > 0:
            if select.select([reader], [], [], left)[0]:
                said += os.read(reader, 65536)
        os.kill(appliance, signal.SIGKILL)
        os.waitpid(appliance, 0)
        with os.fdopen(reader, "rb") as file:
            said += file.read()
        os.waitpid(pid, 0)
        for kind, block, version in NOTE.iter_unpack(said):
            self.book.note(kind, block, version)


@contextmanager
def machine_network(name: str) -> Iterator[Path]:
    """A network with one machine in it, on a cable to an interface called near."""
    with fresh_network():
        ip("netns", "add", name)
        try:
            cable("near", "far")
            ip("link", "set", "far", "address", MAC)
            ip("link", "set", "far", "netns", name)
            ip("addr", "add", f"{BOX}/24", "dev", "near")
            ip("-n", name, "addr", "add", f"{MACHINE}/24", "dev", "far")
            ip("-n", name, "link", "set", "far", "up")
            yield Path("/run/netns") / name
        finally:
            ip("netns", "del", name)


def main() -> None:
    """Kill so many times; exit with a traceback when a flush was taken back."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, machine_network(f"crash-{os.getpid()}") as namespace:
        ring = Ring(Path(folder), namespace, random.Random(options.seed))
        for _ in range(options.kills):
            appliance, log = ring.start()
            ring.verify()
            ring.write_and_kill(appliance)
            os.close(log)
        appliance, log = ring.start()
        ring.verify()
        os.kill(appliance, signal.SIGKILL)
        os.waitpid(appliance, 0)
    book = ring.book
    print(f"{options.kills} kills, {book.version} writes, {book.kept} flushes and forced writes, none lost")
    if not book.kept:
        raise AssertionError("nothing was ever flushed: this proves nothing")


if __name__ == "__main__":
    main()
