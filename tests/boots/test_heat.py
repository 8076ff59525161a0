"""What a boot over AoE reads is named by file, outlives the appliance, and is in memory before the next one asks."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from appliance.client import Place, fetch
from appliance.heat.command import fetch_heat
from deploy.demo.tree import FILE_LIST, IMAGE_NAME, DemoTree
from deploy.lab.heat import forget, hashed
from deploy.lab.lab import Lab, LabSettings
from deploy.lab.plan import ClientPlan
from deploy.lab.server import BootSettings, Rootwire
from storage import squashfs
from storage.image import FileImage
from tests.boots.verdict import assert_booted

pytestmark = [pytest.mark.root, pytest.mark.qemu]

FILES = 20
PLAN = ClientPlan(0, "bios", "aoe")


def files_read(image: Path) -> Sequence[str]:
    """What the demo's init reads of its root."""
    listed = squashfs.open(FileImage(image)).open_file(f"/{FILE_LIST}")
    return listed.read_at(0, listed.size).decode().replace("\n/", "\n").removeprefix("/").splitlines()[:FILES]


async def named(server: Rootwire) -> set[str]:
    """The files that the client's boots read."""
    report = await fetch_heat(Place(server.socket), IMAGE_NAME, PLAN.mac)
    return {name for part in report["ranges"] for name in part["names"]}


async def test_what_an_aoe_boot_reads_is_there_for_the_next(
    demo_tree: DemoTree, lab_folder: Callable[[], Path], server_md5: Callable[[int], str]
) -> None:
    """Although the appliance is ended while the first boot is still being recorded: an AoE client never hangs up."""
    async with Lab(lab_folder(), demo_tree, [PLAN], LabSettings(boot=BootSettings(files=FILES))) as lab:
        assert isinstance(lab.server, Rootwire)
        [first] = await lab.boot()
        assert_booted(first, server_md5(FILES))
        assert await named(lab.server) >= set(files_read(demo_tree.image))
        await hashed(lab.server.socket)
        await lab.server.stop()
        forget(demo_tree.image)
        await lab.server.start()
        [second] = again = lab.clients(attempt=2)
        await lab.boot_clients(again)
        assert_booted(second, server_md5(FILES))
        counted = json.loads(await fetch(Place(lab.server.socket), "api/counters"))["prefetch"]
        assert counted["replays"] >= 1
        assert counted["bytes"] > FILES * 1000, "nothing of it was brought in, although it was forgotten"
