"""Takes the golden captures anew, from machines in QEMU that boot from the appliance, when ROOTWIRE_CAPTURE is 1."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from deploy.demo.tree import DemoTree
from deploy.lab.client import Client
from deploy.lab.lab import Lab
from deploy.lab.plan import ClientPlan
from tests.boots.conftest import demo_tree, lab_folder
from tests.captures.golden import FOLDER, parse_frame, render, write_pcap
from tests.protocols.dhcp.lan import inside

__all__ = ["demo_tree", "lab_folder"]  # pytest finds fixtures by their names here

ETH_P_ALL = 3
KINDS = {
    "ipxe-rom": (ClientPlan(0, "bios", "nbd", "ipxe"), "The iPXE ROM of QEMU's virtio card, on BIOS, given a script"),
    "pxelinux": (
        ClientPlan(0, "bios", "nbd", "pxelinux"),
        "The same ROM, given PXELINUX, which asks TFTP for the rest",
    ),
    "ovmf": (ClientPlan(0, "uefi", "nbd"), "OVMF's PXE, then the loader it was given"),
}
pytestmark = [
    pytest.mark.root,
    pytest.mark.qemu,
    pytest.mark.skipif(os.environ.get("ROOTWIRE_CAPTURE") != "1", reason="ROOTWIRE_CAPTURE=1 takes the captures anew"),
]


@contextmanager
def heard(namespace: str) -> Iterator[list[bytes]]:
    """What passes the box's interface while the block runs, either way, and belongs into a capture."""
    frames: list[bytes] = []
    with inside(namespace):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(ETH_P_ALL))
    tap.bind(("eth0", ETH_P_ALL))

    def keep() -> None:
        frame = tap.recv(65536)
        datagram = parse_frame(frame)
        if datagram is not None and datagram.is_kept:
            frames.append(frame)

    loop = asyncio.get_running_loop()
    loop.add_reader(tap, keep)
    try:
        yield frames
    finally:
        loop.remove_reader(tap)
        tap.close()


@pytest.mark.parametrize("name", KINDS)
async def test_record(name: str, demo_tree: DemoTree, lab_folder: Callable[[], Path]) -> None:
    """Until the kernel is asked for: what comes then is no firmware's."""
    plan, about = KINDS[name]
    at_kernel = asyncio.Event()

    def on_change(client: Client) -> None:
        if client.story is not None and any(step.stage == "kernel" for step in client.story.steps):
            at_kernel.set()

    async with Lab(lab_folder(), demo_tree, [plan]) as lab:
        with heard(lab.network.box) as frames:
            boot = asyncio.create_task(lab.boot(on_change))
            async with asyncio.timeout(lab.settings.limit):
                await at_kernel.wait()
            boot.cancel()
            with suppress(asyncio.CancelledError):
                await boot
    write_pcap(FOLDER / f"{name}.pcap", frames)
    kept = [datagram for frame in frames if (datagram := parse_frame(frame)) is not None]
    (FOLDER / f"{name}.txt").write_text(render(about, kept))
