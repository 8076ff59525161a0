"""Takes golden captures, where the variable ROOTWIRE_CAPTURE is 1; elsewhere it does nothing."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.captures.golden import FOLDER, Datagram, cut, parse_frame, render, write_pcap
from tests.protocols.dhcp.lan import inside

VARIABLE = "ROOTWIRE_CAPTURE"
ETH_P_ALL = 3


@contextmanager
def captured(namespace: str, name: str, about: str) -> Iterator[None]:
    """Keep, as capture `name`, what passes eth0 of a namespace either way while the block runs and belongs into one."""
    if os.environ.get(VARIABLE) != "1":
        yield
        return
    with heard(namespace) as frames:
        yield
    write_pcap(FOLDER / f"{name}.pcap", frames)
    kept = [datagram for frame in frames if (datagram := parse_frame(cut(frame))) is not None]
    (FOLDER / f"{name}.txt").write_text(render(about, kept))


@contextmanager
def heard(namespace: str) -> Iterator[list[bytes]]:
    """What passes the box's interface while the block runs, either way, and belongs into a capture."""
    frames: list[bytes] = []
    told: set[Datagram] = set()  # what TCP sends again is not said again
    with inside(namespace):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(ETH_P_ALL))
    tap.bind(("eth0", ETH_P_ALL))

    def keep() -> None:
        frame = tap.recv(65536)
        datagram = parse_frame(frame)
        if datagram is None or not datagram.is_kept or (datagram.is_tcp and datagram in told):
            return
        told.add(datagram)
        frames.append(frame)

    loop = asyncio.get_running_loop()
    loop.add_reader(tap, keep)
    try:
        yield frames
    finally:
        loop.remove_reader(tap)
        tap.close()
