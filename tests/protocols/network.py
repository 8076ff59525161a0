"""A network of the test's own: a fresh namespace around this thread, and pairs of virtual cables in it."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000  # linux/sched.h; os.unshare and os.setns came with Python 3.12
libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def fresh_network() -> Iterator[None]:
    """Put this thread into a network namespace of its own; it has no name, and goes with all that is in it."""
    home = os.open(Path("/proc/thread-self/ns/net"), os.O_RDONLY | os.O_CLOEXEC)
    try:
        check(libc.unshare(CLONE_NEWNET))
        yield
    finally:
        check(libc.setns(home, CLONE_NEWNET))
        os.close(home)


def check(result: int) -> None:
    """Raise what errno says when a call of libc failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def ip(*words: str) -> None:
    """Run iproute2's ip."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


def cable(near: str, far: str, mtu: int = 1500) -> None:
    """A pair of virtual interfaces, both up."""
    ip("link", "add", near, "mtu", str(mtu), "type", "veth", "peer", "name", far, "mtu", str(mtu))
    ip("link", "set", near, "up")
    ip("link", "set", far, "up")
