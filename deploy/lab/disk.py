"""A slow disk of one file: another file, whose reads take as long as a spinning disk's or a memory card's.

A FUSE file system of one file, served by a process of its own (this module as a program). Unlike a throttle of the
kernel's it is there on every machine, and its pages begin cold. Speaks FUSE 7.31 (linux/fuse.h) as far as reading one
file needs it.

usage: python -m deploy.lab.disk FILE MOUNTPOINT SEEK_SECONDS BYTES_PER_SECOND     (prints a line once it is there)
"""

import ctypes
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from errno import ENOSYS
from pathlib import Path

from deploy.lab.errors import LabError

REQUEST_BYTES = 1 << 20
DETACH = 2  # MNT_DETACH
READAHEAD = 128 << 10  # bytes, as Linux has it for disks
ASYNC_READ = 1  # readahead does not wait for each request before the next
libc = ctypes.CDLL(None, use_errno=True)


class Op(IntEnum):
    """The requests that one file brings."""

    FORGET = 2
    GETATTR = 3
    OPEN = 14
    READ = 15
    STATFS = 17
    RELEASE = 18
    FLUSH = 25
    INIT = 26
    INTERRUPT = 36
    BATCH_FORGET = 42


@contextmanager
def slow_disk(file: Path, place: Path, *, seek: float, rate: float) -> Iterator[None]:
    """`file` at `place` too, an existing file, with `seek` seconds a jump and `rate` bytes a second.

    Raises: LabError when it can't be mounted.
    """
    command = [sys.executable, "-m", "deploy.lab.disk", str(file), str(place), str(seek), str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101  # it was started with a pipe
        if not process.stdout.readline():
            raise LabError("no slow disk without FUSE: load the kernel's module fuse")
        try:
            yield
        finally:
            libc.umount2(bytes(place), DETACH)
            process.terminate()
            process.wait()


class Disk:
    """The file's own side: one head, which does one thing at a time."""

    def __init__(self, device: int, file: int, seek: float, rate: float) -> None:
        self._device, self._file = device, file
        self._seek, self._rate = seek, rate
        self._at = 0
        self._size = os.fstat(file).st_size

    def reply(self, unique: int, data: bytes = b"", error: int = 0) -> None:
        """Answer a request."""
        os.write(self._device, struct.pack("=IiQ", 16 + len(data), -error, unique) + data)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes, once the head is there and they have passed under it."""
        data = os.pread(self._file, length, offset)
        time.sleep((self._seek if offset != self._at else 0.0) + len(data) / self._rate)
        self._at = offset + len(data)
        return data

    def on_request(self, request: bytes) -> None:
        """One request of the kernel's."""
        _, opcode, unique = struct.unpack_from("=IIQ", request)
        size, blocks = self._size, -(-self._size // 512)
        attributes = struct.pack("=QQQ24x12xIIIIIII", 1, size, blocks, 0o100644, 1, 0, 0, 0, 4096, 0)
        match opcode:
            case Op.INIT:
                flags = struct.pack("=IIIIHHIIHHI28x", 7, 31, READAHEAD, ASYNC_READ, 64, 64, 65536, 1, 0, 0, 0)
                self.reply(unique, flags)
            case Op.GETATTR:
                self.reply(unique, struct.pack("=QII", 3600, 0, 0) + attributes)
            case Op.OPEN:
                self.reply(unique, struct.pack("=QII", 1, 0, 0))
            case Op.READ:
                offset, length = struct.unpack_from("=8xQI", request, 40)
                self.reply(unique, self.read(offset, length))
            case Op.STATFS:
                self.reply(unique, struct.pack("=QQQQQIIII24x", 0, 0, 0, 0, 0, 512, 255, 512, 0))
            case Op.RELEASE | Op.FLUSH:
                self.reply(unique)
            case Op.FORGET | Op.INTERRUPT | Op.BATCH_FORGET:
                return
            case _:
                self.reply(unique, error=ENOSYS)


def main(file: str, place: str, seek: str, rate: str) -> None:
    """Mount and serve until the mount is gone."""
    content = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=100000,user_id=0,group_id=0,allow_other".encode()
    if libc.mount(b"slow", place.encode(), b"fuse", 0, options) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), place)
    disk = Disk(device, content, float(seek), float(rate))
    print("ready", flush=True)
    while True:
        try:
            request = os.read(device, REQUEST_BYTES)
        except OSError:  # ENODEV: it was unmounted
            return
        disk.on_request(request)


if __name__ == "__main__":
    main(*sys.argv[1:])
