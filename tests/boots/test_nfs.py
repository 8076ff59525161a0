"""Machines with their root on an NFS server: shared and read-only below an overlay, or a folder of their own.

The fixtures F7 and F7b of KIWI's contract, served by NFS-Ganesha beside the appliance.
"""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.lab.client import Client
from deploy.lab.network import BOX_ADDRESS
from deploy.lab.plan import ClientPlan
from deploy.lab.server import BootSettings
from tests.boots.nfs import Access, serve_nfs
from tests.boots.tiny import TinyParts, boot_tiny, requests, tiny_lab, told
from tests.boots.verdict import describe

pytestmark = [pytest.mark.root, pytest.mark.qemu]

PLANS = [ClientPlan(0, "bios", "ram", memory=256), ClientPlan(1, "bios", "ram", memory=256)]
SETTINGS = BootSettings(machines=False)


async def test_a_shared_root_and_one_of_its_own(parts: TinyParts, lab_folder: Callable[[], Path]) -> None:
    """What the one writes stays in its memory, what the other writes is on the server."""
    folder = lab_folder()
    shared, own = folder / "shared", folder / "own"
    for path in (shared, own):
        shutil.copytree(parts.root, path, symlinks=True)
    configs = [
        f"NFSROOT='{BOX_ADDRESS};{shared}'\nUNIONFS_CONFIG='tmpfs,nfs,overlay'\n",
        f"NFSROOT='{BOX_ADDRESS};{own}'\n",
    ]
    names = [f"KIWI/config.{plan.mac.upper()}" for plan in PLANS]
    files = {name: text.encode() for name, text in zip(names, configs, strict=True)}
    tree = parts.tree(folder / "files", None, image=parts.squashfs, files=files)
    exports: dict[Path, Access] = {shared: "RO", own: "RW"}
    async with (
        tiny_lab(folder / "lab", tree, PLANS, SETTINGS) as lab,
        serve_nfs(lab.folder, lab.network.box, exports),
    ):
        clients = await asyncio.gather(*(boot_tiny(lab, parts, number=plan.number) for plan in PLANS))
        for client, name in zip(clients, names, strict=True):
            assert requests(lab, client) == [name, "boot/initrd.extra"], describe(client)
    assert_root(clients[0], "mount rootwire / overlay rw")
    assert_root(clients[1], f"mount {BOX_ADDRESS}:{own} / nfs rw")
    assert not (shared / "boots").exists()
    assert (own / "boots").read_text() == "1\n"


def assert_root(client: Client, mounted: str) -> None:
    """It ran to its end from that root."""
    assert client.succeeded, describe(client)
    assert told(client)[:2] == ["boots=1", mounted], describe(client)
