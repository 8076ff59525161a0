"""Takes the golden captures anew from machines in QEMU that boot from the appliance; conftest.py says when."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.demo.arm64 import build_arm_tree
from deploy.demo.tree import DemoTree
from deploy.lab.client import Client
from deploy.lab.lab import BootTree, Lab, LabSettings
from deploy.lab.plan import ClientPlan
from deploy.lab.run import DEMO
from tests.boots.conftest import Lines, demo_tree, lab_folder
from tests.boots.tiny import TinyTree
from tests.captures.recorder import captured

__all__ = ["demo_tree", "lab_folder"]  # pytest finds fixtures by their names here

LIMIT = 1200.0  # seconds: firmware that checks signatures emulates much of them
# QEMU has no ROM but iPXE, which is never sent on to another iPXE of itself: its operator's script does that here.
SENT_ON = """\
#!ipxe
iseq ${net0/chip} undionly || chain tftp://10.77.0.2/undionly.kpxe
kernel boot/linux
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A machine whose exchange is kept."""

    plan: ClientPlan
    about: str
    settings: LabSettings = field(default_factory=lambda: LabSettings(limit=LIMIT))
    script: str = ""  # the operator's, for iPXE on this machine


KINDS = {
    "ipxe-rom": Kind(
        ClientPlan(0, "bios", "nbd", "ipxe"), "The iPXE ROM of QEMU's virtio card, on BIOS, given a script"
    ),
    "pxelinux": Kind(
        ClientPlan(0, "bios", "nbd", "pxelinux"),
        "The same ROM, given PXELINUX, which asks TFTP for the rest",
    ),
    "undionly": Kind(
        ClientPlan(0, "bios", "nbd", "ipxe"), "The same ROM, sent on to undionly.kpxe by its script", script=SENT_ON
    ),
    "ovmf": Kind(ClientPlan(0, "uefi", "nbd", uefi_loader="ipxe"), "OVMF's PXE, then the loader it was given"),
    "ovmf-http": Kind(ClientPlan(0, "uefi-http", "nbd"), "OVMF's UEFI HTTP boot, then the loader it was given"),
    "shim": Kind(
        ClientPlan(0, "secure", "nbd", uefi_loader="shim"),
        "OVMF with Secure Boot, given shim, behind which is Debian's GRUB",
        LabSettings(limit=LIMIT, arm="next-server"),
    ),
    "own-dhcp": Kind(
        ClientPlan(0, "uefi", "nbd"),
        "OVMF's PXE, which has its address from us as well, and is given shim",
        LabSettings(limit=LIMIT, arm="own-dhcp"),
    ),
    "arm64": Kind(ClientPlan(0, "arm64", "ram"), "EDK2 on 64-bit ARM, given the GRUB that is linked on the box"),
}
pytestmark = [pytest.mark.root, pytest.mark.qemu]


@pytest.mark.parametrize("name", KINDS)
async def test_record(name: str, demo_tree: DemoTree, lab_folder: Callable[[], Path]) -> None:
    """Until the kernel is asked for: what comes then is no firmware's."""
    kind, folder = KINDS[name], lab_folder()
    at_kernel = asyncio.Event()

    def on_change(client: Client) -> None:
        if client.story is not None and any(step.stage == "kernel" for step in client.story.steps):
            at_kernel.set()

    tree = await asyncio.to_thread(tree_for, kind, demo_tree, folder / "files")
    async with Lab(folder / "lab", tree, [kind.plan], kind.settings) as lab:
        with captured(lab.network.box, name, kind.about):
            boot = asyncio.create_task(lab.boot(on_change))
            async with asyncio.timeout(lab.settings.limit):
                await at_kernel.wait()
            boot.cancel()
            with suppress(asyncio.CancelledError):
                await boot


def tree_for(kind: Kind, demo_tree: DemoTree, folder: Path) -> BootTree:
    """What the machine is served: the demo, or a tree for its processor, or one with its script."""
    folder.mkdir(parents=True)
    if kind.plan.firmware == "arm64":
        return build_arm_tree(DEMO / "arm64", Lines())
    if not kind.script:
        return demo_tree
    (folder / "boot").mkdir()
    os.link(demo_tree.kernel, folder / "boot/linux")
    (folder / "boot-52-54-00-77-00-00.ipxe").write_text(kind.script)
    return TinyTree(folder)
