"""Takes the golden captures anew from machines in QEMU that boot from the appliance; conftest.py says when."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from deploy.demo.tree import DemoTree
from deploy.lab.client import Client
from deploy.lab.lab import Lab
from deploy.lab.plan import ClientPlan
from tests.boots.conftest import demo_tree, lab_folder
from tests.captures.recorder import captured

__all__ = ["demo_tree", "lab_folder"]  # pytest finds fixtures by their names here

KINDS = {
    "ipxe-rom": (ClientPlan(0, "bios", "nbd", "ipxe"), "The iPXE ROM of QEMU's virtio card, on BIOS, given a script"),
    "pxelinux": (
        ClientPlan(0, "bios", "nbd", "pxelinux"),
        "The same ROM, given PXELINUX, which asks TFTP for the rest",
    ),
    "ovmf": (ClientPlan(0, "uefi", "nbd", uefi_loader="ipxe"), "OVMF's PXE, then the loader it was given"),
}
pytestmark = [pytest.mark.root, pytest.mark.qemu]


@pytest.mark.parametrize("name", KINDS)
async def test_record(name: str, demo_tree: DemoTree, lab_folder: Callable[[], Path]) -> None:
    """Until the kernel is asked for: what comes then is no firmware's."""
    plan, about = KINDS[name]
    at_kernel = asyncio.Event()

    def on_change(client: Client) -> None:
        if client.story is not None and any(step.stage == "kernel" for step in client.story.steps):
            at_kernel.set()

    async with Lab(lab_folder(), demo_tree, [plan]) as lab:
        with captured(lab.network.box, name, about):
            boot = asyncio.create_task(lab.boot(on_change))
            async with asyncio.timeout(lab.settings.limit):
                await at_kernel.wait()
            boot.cancel()
            with suppress(asyncio.CancelledError):
                await boot
