"""One image file is the whole deployment: a squashfs dropped into an empty tree boots.

The images are Debian's: one with an initrd by its dracut with livenet, one by its initramfs-tools with live-boot, one
that holds none. Each client has a lab, and a tree, to itself; they boot side by side. Of the appliance's configuration
they need their root, the console and their init.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.demo.checksum import expected_md5
from deploy.demo.images import ImageTree
from deploy.lab.client import Client
from deploy.lab.lab import Lab, LabSettings
from deploy.lab.plan import KERNEL_WORDS, ClientPlan
from deploy.lab.server import BootSettings
from tests.boots.verdict import assert_booted, describe, stages_of

pytestmark = [pytest.mark.root, pytest.mark.qemu]

FILES = 600
LIMIT = 1200.0  # seconds: these initrds run systemd and udev, emulated, and share the machine with each other
# The demo's init in place of systemd, which dracut's initrds would prefer: it reads the files and powers off.
APPEND = f"{KERNEL_WORDS} quiet init=/usr/sbin/init"


@dataclass(frozen=True, slots=True)
class Way:
    """A client, the kind of its image, and the stages that the appliance must see, in order, beside DHCP's.

    `kernel`, `initrd` and `root` are details of their stages; {image} stands for the image's name.
    """

    kind: str
    plan: ClientPlan
    root: str
    stages: tuple[str, ...]
    initrd: str


INSIDE = "image/{image}/-/boot/initrd.img-"
RAM = ("config", "kernel", "initrd", "root loading", "root connected")
OWN = ("config", "kernel", "initrd", "client config", "root connected")

CONNECTED = ("config", "kernel", "initrd", "root connected")

WAYS = {
    "kiwi-overlay-nbd": Way("kiwi", ClientPlan(0, "bios", "nbd", "pxelinux"), "nbd {image}", CONNECTED, INSIDE),
    "kiwi-overlay-aoe": Way("kiwi", ClientPlan(0, "uefi", "aoe"), "aoe e0.1", CONNECTED, INSIDE),
    "livenet": Way("livenet", ClientPlan(0, "bios", "ram", "ipxe"), "ram {image}", RAM, INSIDE),
    "live-boot": Way("live-boot", ClientPlan(0, "bios", "ram", "pxelinux"), "ram {image}.squashfs", RAM, INSIDE),
    "own": Way("bare", ClientPlan(0, "bios", "nbd", "ipxe"), "nbd {image}", OWN, "initrd/{image}"),
}


async def boot(folder: Path, tree: ImageTree, way: Way) -> Client:
    """A client in a lab of its own, whose tree holds the image and nothing else."""
    settings = LabSettings(limit=LIMIT, boot=BootSettings(files=FILES, append=APPEND))
    async with Lab(folder, tree, [way.plan], settings) as lab:
        [client] = await lab.boot()
        return client


@pytest.fixture(scope="module")
def dropped(image_trees: dict[str, ImageTree], lab_folder: Callable[[], Path]) -> dict[str, Client]:
    """A client of each way, all booted side by side."""

    async def run() -> list[Client]:
        return await asyncio.gather(*(boot(lab_folder(), image_trees[way.kind], way) for way in WAYS.values()))

    return dict(zip(WAYS, asyncio.run(run()), strict=True))


@pytest.mark.parametrize("name", WAYS)
def test_it_boots_and_reads_the_images_bytes(
    dropped: dict[str, Client], image_trees: dict[str, ImageTree], name: str
) -> None:
    """The checksum over 600 files read from its root is the one computed from the image."""
    assert_booted(dropped[name], expected_md5(image_trees[WAYS[name].kind].image, FILES))


@pytest.mark.parametrize("name", WAYS)
def test_the_timeline_has_its_stages_in_order(dropped: dict[str, Client], name: str) -> None:
    """Nothing that such a boot goes through is missing or out of place."""
    stages = ("discovered", "offered", *WAYS[name].stages)
    assert [stage for stage in stages_of(dropped[name]) if stage in stages] == list(stages), describe(dropped[name])


@pytest.mark.parametrize("name", WAYS)
def test_all_of_it_came_from_the_one_file(
    dropped: dict[str, Client], image_trees: dict[str, ImageTree], name: str
) -> None:
    """Kernel and initrd are files inside the image, or made from it, and the root is the image."""
    way, image = WAYS[name], image_trees[WAYS[name].kind].name
    story = dropped[name].story
    assert story is not None, describe(dropped[name])
    details = {step.stage: step.detail for step in story.steps}
    assert details["kernel"].startswith(f"image/{image}/-/boot/vmlinuz-")
    assert details["initrd"].startswith(way.initrd.format(image=image))
    assert details["root connected"] == way.root.format(image=image)
