"""A file whose bytes come when a test says so, or never: what a cold or a broken disk is to native code.

The file is a FUSE file system of one file, served by a process of its own (this module as a program), so that nothing
in the tests' process waits for it with the interpreter's lock in hand. Speaks FUSE 7.31 (linux/fuse.h) as far as one
file needs it; its pages never stay in memory. Needs root.
"""

import ctypes
import os
import select
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from errno import ENOSYS
from pathlib import Path

REQUEST_BYTES = 1 << 20
DIRECT_IO = 1
DETACH = 2  # MNT_DETACH
libc = ctypes.CDLL(None, use_errno=True)


class Op(IntEnum):
    """The requests that one file brings (linux/fuse.h)."""

    FORGET = 2
    GETATTR = 3
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    FLUSH = 25
    INIT = 26
    INTERRUPT = 36
    BATCH_FORGET = 42


class Gate:
    """The file at `path`; `open` lets through what waits, and from then on everything."""

    def __init__(self, path: Path, process: subprocess.Popen[bytes]) -> None:
        self.path = path
        self._process = process

    def open(self) -> None:
        """Have every read and write done: reads bring zeros."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"o")
        self._process.stdin.flush()

    def wait(self) -> None:
        """Until another read, write or flush waits at the gate."""
        assert self._process.stdout is not None
        assert self._process.stdout.read(1) == b"w"


@contextmanager
def gated_file(path: Path, size: int, failure: int = 0) -> Iterator[Gate]:
    """A file of zeros behind a closed gate; with `failure` its reads and writes fail with that errno, at once."""
    path.touch()
    words = [sys.executable, __file__, str(path), str(size), str(failure)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"r"
        gate = Gate(path, process)
        try:
            yield gate
        finally:
            process.terminate()  # what still waits fails, and so lets its threads go
            process.wait()
            check(libc.umount2(bytes(path), DETACH))


def check(result: int) -> None:
    """Raise what errno says when a call of libc failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Server:
    """The file's own side."""

    def __init__(self, device: int, size: int, failure: int) -> None:
        self.device, self.size, self.failure = device, size, failure
        self.is_open = False
        self.held: list[tuple[int, bytes]] = []

    def reply(self, unique: int, data: bytes = b"", error: int = 0) -> None:
        """Answer a request."""
        os.write(self.device, struct.pack("=IiQ", 16 + len(data), -error, unique) + data)

    def hold(self, unique: int, data: bytes) -> None:
        """Answer once the gate is open."""
        if self.failure:
            self.reply(unique, error=self.failure)
        elif self.is_open:
            self.reply(unique, data)
        else:
            self.held.append((unique, data))
            os.write(1, b"w")

    def let_through(self) -> None:
        """Open the gate."""
        self.is_open = True
        for unique, data in self.held:
            self.reply(unique, data)
        self.held = []

    def on_request(self, request: bytes) -> None:
        """One request of the kernel's."""
        _, opcode, unique = struct.unpack_from("=IIQ", request)
        attributes = struct.pack("=QQQ24x12xIIIIIII", 1, self.size, self.size // 512, 0o100644, 1, 0, 0, 0, 512, 0)
        length = struct.unpack_from("=16xI", request, 40)[0] if opcode in (Op.READ, Op.WRITE) else 0
        match opcode:
            case Op.INIT:
                self.reply(unique, struct.pack("=IIIIHHIIHHI28x", 7, 31, 0, 0, 64, 64, 65536, 1, 0, 0, 0))
            case Op.GETATTR:
                self.reply(unique, struct.pack("=QII", 3600, 0, 0) + attributes)
            case Op.OPEN:
                self.reply(unique, struct.pack("=QII", 1, DIRECT_IO, 0))
            case Op.READ:
                self.hold(unique, bytes(length))
            case Op.WRITE:
                self.hold(unique, struct.pack("=II", length, 0))
            case Op.FSYNC:
                self.hold(unique, b"")
            case Op.STATFS:
                self.reply(unique, struct.pack("=QQQQQIIII24x", 0, 0, 0, 0, 0, 512, 255, 512, 0))
            case Op.RELEASE | Op.FLUSH:
                self.reply(unique)
            case Op.FORGET | Op.INTERRUPT | Op.BATCH_FORGET:
                return
            case _:
                self.reply(unique, error=ENOSYS)


def main() -> None:
    """Mount and serve until the kernel or the test ends it."""
    path, size, failure = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    device = os.open(Path("/dev/fuse"), os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=100000,user_id=0,group_id=0".encode()
    check(libc.mount(b"gate", path.encode(), b"fuse", 0, options))
    server = Server(device, size, failure)
    os.write(1, b"r")
    while True:
        ready, _, _ = select.select([device, 0], [], [])
        if device in ready:
            server.on_request(os.read(device, REQUEST_BYTES))
        elif os.read(0, 1):
            server.let_through()
        else:
            return


if __name__ == "__main__":
    main()
