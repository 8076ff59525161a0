"""A live medium dropped into an empty tree boots, by its distribution's own initramfs: Debian's, with live-boot.

Other distributions' media are in tests/interop/test_media_clients.py, where what their initramfs asks for is scripted.
"""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.deployment.finding import find_initrds, find_kernels
from deploy.demo.checksum import expected_md5
from deploy.demo.images import ImageTree
from deploy.lab.lab import Lab, LabSettings
from deploy.lab.plan import KERNEL_WORDS, ClientPlan
from deploy.lab.server import BootSettings
from storage import squashfs
from storage.image import FileImage
from tests.boots.verdict import assert_booted, describe

pytestmark = [pytest.mark.root, pytest.mark.qemu]

FILES = 20
LIMIT = 1200.0  # seconds: its initramfs runs udev, emulated, and may share the machine
NAME = "debian-live.iso"
KERNEL, INITRD = "live/vmlinuz", "live/initrd.img"


@dataclass(frozen=True, slots=True)
class MediumTree:
    """A boot tree that holds one medium and nothing else."""

    root: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """All that a boot server is given."""
        return (self.root / "image" / NAME,)


def make_medium(image: Path, folder: Path, xorriso: str) -> MediumTree:
    """A live medium as Debian's are laid out, of an image that has its kernel and initramfs inside."""
    files = squashfs.open(FileImage(image))
    kernel = find_kernels(files)[0]
    live = folder / "medium/live"
    live.mkdir(parents=True)
    for name, path in ((KERNEL, kernel.path), (INITRD, find_initrds(files, kernel)[0])):
        part = files.open_file(path)
        (live.parent / name).write_bytes(part.read_at(0, part.size))
    (live / "filesystem.squashfs").symlink_to(image)
    tree = MediumTree(folder / "tree")
    (tree.root / "image").mkdir(parents=True)
    options = ["-as", "mkisofs", "-quiet", "-R", "-J", "-follow-links", "-o"]
    subprocess.run([xorriso, *options, str(tree.files[0]), str(live.parent)], check=True, capture_output=True)
    return tree


async def test_a_debian_live_medium(
    image_trees: dict[str, ImageTree], lab_folder: Callable[[], Path], tmp_path: Path, tool: Callable[[str], str]
) -> None:
    """Kernel, initramfs and root are fetched from inside it."""
    image = image_trees["live-boot"].image
    tree = make_medium(image, tmp_path, tool("xorriso"))
    boot = BootSettings(files=FILES, append=f"{KERNEL_WORDS} quiet init=/usr/sbin/init", more=(f'image = "{NAME}"',))
    plan = ClientPlan(0, "bios", "ram", "ipxe")
    async with Lab(lab_folder(), tree, [plan], LabSettings(limit=LIMIT, boot=boot)) as lab:
        [client] = await lab.boot()
    assert_booted(client, expected_md5(image, FILES))
    assert client.story is not None, describe(client)
    details = {step.stage: step.detail for step in client.story.steps}
    assert details["kernel"].startswith(f"image/{NAME}/-/{KERNEL}")
    assert details["initrd"].startswith(f"image/{NAME}/-/{INITRD}")
    assert details["root loading"] == f"image/{NAME}/-/live/filesystem.squashfs"
    assert details["root connected"] == f"http {NAME}"
