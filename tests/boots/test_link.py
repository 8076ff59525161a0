"""The box's own interface goes down and up while a client runs from it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.demo.tree import DemoTree
from deploy.lab.client import Client
from deploy.lab.console import Mark
from deploy.lab.lab import Lab, LabSettings
from deploy.lab.plan import ClientPlan
from deploy.lab.server import BootSettings
from tests.boots.verdict import assert_booted, describe

pytestmark = [pytest.mark.root, pytest.mark.qemu]

OUTAGE = 3.0  # seconds: the kernel's aoe driver has asked again, several times, before the link is back


async def test_an_aoe_root_outlives_the_boxs_link(
    demo_tree: DemoTree, lab_folder: Callable[[], Path], server_md5: Callable[[int], str]
) -> None:
    """The link goes down as the client begins to read its files; it still reads all of them, rightly."""
    reading = asyncio.Event()

    def on_change(client: Client) -> None:
        if Mark.USERSPACE in client.seen:
            reading.set()

    settings = LabSettings(boot=BootSettings(files=1500))
    async with Lab(lab_folder(), demo_tree, [ClientPlan(0, "uefi", "aoe")], settings) as lab:

        async def pull_the_cable() -> None:
            await reading.wait()
            lab.network.set_link("down")
            await asyncio.sleep(OUTAGE)
            lab.network.set_link("up")

        async with asyncio.TaskGroup() as group:
            cable = group.create_task(pull_the_cable())
            [client] = await lab.boot(on_change)
            assert cable.done(), describe(client)
    assert_booted(client, server_md5(1500))
