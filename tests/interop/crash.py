"""Kills the appliance again and again while a machine writes to its disk, and looks whether any flush was taken back.

    python -m tests.interop.crash --kills 200
    python -m tests.interop.crash --kills 200 --over aoe --blank --power-loss

Each round is a whole appliance (`rootwire serve` but for its command line) in a namespace of its own, with a machine on
the other end of a cable that writes over NBD or AoE, to a disk over a base or a blank one, flushing and forcing now and
then. At some random moment the appliance gets SIGKILL; the next one is asked for all of the disk. With --power-loss
what was written since the last flush is on the disk in part only, sector by sector. --broken has flushes do nothing:
such a run has to fail. Needs root.
"""

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance import logs
from appliance.config import BootSettings, Config
from appliance.serve import serve
from tests.interop.crashbook import (
    BASE_VERSION,
    BEGUN,
    BLOCKS,
    FLUSHED,
    FORCED,
    NOTE,
    Book,
    content,
)
from tests.interop.crashdisks import BOX, MAC, MACHINE, TOO_LONG, AoeDisk, Disk, Gone, NbdDisk, enter
from tests.protocols.network import cable, fresh_network, ip
from tests.ready import is_readable
from tests.storage.powerloss import leave, make_recorder, parse_records

IN_FLIGHT = 6
LONGEST = 0.25  # seconds of writing before a kill
MTU = 9000  # a block is a frame
SIZE = 1 << 20  # bytes of the disk
DISKS: dict[str, type[NbdDisk] | type[AoeDisk]] = {"nbd": NbdDisk, "aoe": AoeDisk}


def child(work: Callable[[], None]) -> int:
    """Do something in a process of its own."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    except Gone:
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def write(disk: Disk, notes: int, rng: random.Random, version: int) -> None:
    """Write until the appliance is gone: numbered versions, some at once, some forced, now and then a flush."""
    while True:
        begun = [
            (block, version + n + 1) for n, block in enumerate(rng.sample(range(BLOCKS), rng.randint(1, IN_FLIGHT)))
        ]
        version += len(begun)
        os.write(notes, b"".join(NOTE.pack(BEGUN, *one) for one in begun))
        way = rng.choice([BEGUN, FORCED, FLUSHED] if disk.forces else [BEGUN, FLUSHED])
        disk.write(begun, forced=way == FORCED)
        if way == FORCED:
            os.write(notes, b"".join(NOTE.pack(FORCED, *one) for one in begun))
        if way == FLUSHED:
            disk.flush()
            os.write(notes, NOTE.pack(FLUSHED, 0, version))


class Ring:
    """Appliance and machine on a cable."""

    def __init__(self, folder: Path, namespace: Path, options: argparse.Namespace) -> None:
        self._namespace = namespace
        self._rng = random.Random(options.seed)
        self._make_disk = DISKS[options.over]
        self._power_loss = options.power_loss
        self._broken = options.broken
        (folder / "image").mkdir()
        (folder / "image/base").write_bytes(b"".join(content(block, BASE_VERSION) for block in range(BLOCKS)))
        told = {"image": "base", "raw_images": ["base"], "root": options.over, "write": "keep", "write_size": SIZE}
        boot = BootSettings.model_validate(told if options.blank else {**told, "write_base": "base"})
        state = folder / "state"
        self._config = Config(
            interface="near", address=BOX, root=folder, state=state, socket=folder / "api.sock", boot=boot
        )
        machine = state / "exports" / MAC.replace(":", "").upper()
        self._file = machine / ("write" if options.blank else "write.cow")
        self._records = folder / "records"
        self.book = Book(0 if options.blank else BASE_VERSION)

    def start(self) -> tuple[int, int]:
        """A new appliance that serves; its process, and its log to be read."""
        reader, writer = os.pipe()

        def run() -> None:
            os.dup2(writer, 2)
            os.environ.update(RECORD_OF=str(self._file), RECORD_TO=str(self._records))
            if self._broken:
                os.environ["RECORD_LIES"] = str(SIZE)  # where the map begins
            logs.configure(debug=False)
            asyncio.run(serve(self._config))

        pid = child(run)
        os.close(writer)
        said = b""
        while b"appliance_started" not in said:
            ready = is_readable(reader, TOO_LONG)
            part = os.read(reader, 65536) if ready else b""
            if not part:
                raise AssertionError(f"the appliance does not start: {said.decode()}")
            said += part
        return pid, reader

    def verify(self) -> None:
        """Ask for all of it."""
        reader, writer = os.pipe()
        stop, stopper = os.pipe()

        def read() -> None:
            enter(self._namespace)
            with os.fdopen(writer, "wb") as out:
                out.write(self._make_disk(stop).read())

        pid = child(read)
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            disk = file.read()
        os.waitpid(pid, 0)
        os.close(stop)
        os.close(stopper)
        self.book.check(disk)

    def write_and_kill(self, appliance: int) -> None:
        """Have the machine write, kill the appliance, and take down what the machine saw of it."""
        before = self._file.read_bytes()
        self._records.write_bytes(b"")  # not unlinked: the appliance may have it open
        reader, writer = os.pipe()
        stop, stopper = os.pipe()
        seed = self._rng.random()

        def run() -> None:
            os.close(stopper)
            enter(self._namespace)
            write(self._make_disk(stop), writer, random.Random(seed), self.book.version)

        pid = child(run)
        os.close(writer)
        os.close(stop)
        said = os.read(reader, 65536)  # it is connected, and begins
        end = time.monotonic() + self._rng.uniform(0, LONGEST)
        while (left := end - time.monotonic()) > 0:
            if is_readable(reader, left):
                said += os.read(reader, 65536)
        kill(appliance)
        os.close(stopper)
        with os.fdopen(reader, "rb") as file:
            said += file.read()
        os.waitpid(pid, 0)
        for kind, block, version in NOTE.iter_unpack(said):
            self.book.note(kind, block, version)
        if self._power_loss:
            records = list(parse_records(self._records.read_bytes()))
            self._file.write_bytes(leave(before, records, self._rng))


def kill(process: int) -> None:
    """With SIGKILL, to its end."""
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


@contextmanager
def machine_network(name: str) -> Iterator[Path]:
    """A network with one machine in it, on a cable to an interface called near."""
    with fresh_network():
        ip("netns", "add", name)
        try:
            cable("near", "far", MTU)
            ip("link", "set", "far", "address", MAC)
            ip("link", "set", "far", "netns", name)
            ip("addr", "add", f"{BOX}/24", "dev", "near")
            ip("-n", name, "addr", "add", f"{MACHINE}/24", "dev", "far")
            ip("-n", name, "link", "set", "far", "up")
            yield Path("/run/netns") / name
        finally:
            ip("netns", "del", name)


def run(options: argparse.Namespace, folder: Path) -> None:
    """Kill so many times. Raises: AssertionError when a flush was taken back."""
    with machine_network(f"crash-{os.getpid()}") as namespace:
        ring = Ring(folder, namespace, options)
        for _ in range(options.kills):
            appliance, log = ring.start()
            try:
                ring.verify()
            except BaseException:
                kill(appliance)
                raise
            ring.write_and_kill(appliance)
            os.close(log)
        appliance, _log = ring.start()
        try:
            ring.verify()
        finally:
            kill(appliance)
    book = ring.book
    print(f"{options.kills} kills, {book.writes} writes, {book.kept} flushes and forced writes, none lost")
    if not book.kept:
        raise AssertionError("nothing was ever flushed: this proves nothing")


def main() -> int:
    """Do as the command line says; exit with a traceback when a flush was taken back."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--over", choices=sorted(DISKS), default="nbd", help="how the machine writes")
    parser.add_argument("--blank", action="store_true", help="its disk has no image below it")
    parser.add_argument("--power-loss", action="store_true", help="what was not flushed may be lost, in part")
    parser.add_argument("--broken", action="store_true", help="have flushes do nothing, to see that it is noticed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if (options.power_loss or options.broken) and "LD_PRELOAD" not in os.environ:
            own = os.environ | {"LD_PRELOAD": str(make_recorder(Path(folder)))}
            again = [sys.executable, "-m", "tests.interop.crash", *sys.argv[1:]]
            return subprocess.run(again, env=own, check=False).returncode
        run(options, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
