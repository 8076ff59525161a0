"""What KIWI builds, imported, boots: a kis tarball, by the kernel and initrd in it, over NBD.

One is put together here of the lab's own Debian, whose initrd dracut made with Debian's kiwi-dracut-overlay. KIWI's own
work is in test_kiwi_set.py.
"""

import hashlib
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.deployment.finding import find_initrds, find_kernels
from appliance.kiwi.sums import checksum_line
from deploy.demo.checksum import expected_md5
from deploy.demo.images import ImageTree
from deploy.lab.client import Client
from deploy.lab.lab import Lab, LabSettings
from deploy.lab.plan import KERNEL_WORDS, ClientPlan
from deploy.lab.server import BootSettings
from storage import squashfs
from storage.image import FileImage
from tests.appliance.test_cli import rootwire
from tests.boots.verdict import assert_booted, describe, stages_of

pytestmark = [pytest.mark.root, pytest.mark.qemu]

FILES = 600
LIMIT = 1200.0  # seconds: these initrds run systemd and udev, emulated, and may share the machine
NAME = "imported.x86_64-12"
STAGES = ["kernel", "initrd", "root connected"]


@dataclass(frozen=True, slots=True)
class ImportedTree:
    """A boot tree into which one set was taken."""

    root: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """All that a boot server is given."""
        return tuple(self.root.glob("image/*"))


def kis_tarball(image: Path, folder: Path) -> Path:
    """The set that KIWI would make of an image that has its kernel and initrd inside."""
    files = squashfs.open(FileImage(image))
    kernel = find_kernels(files)[0]
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    parts = {
        f"{NAME}.initrd": files.open_file(find_initrds(files, kernel)[0]),
        f"{NAME}-{kernel.version}.kernel": files.open_file(kernel.path),
    }
    for name, part in parts.items():
        (folder / name).write_bytes(part.read_at(0, part.size))
    (folder / f"{NAME}.sha256").write_bytes(checksum_line(digest, image.stat().st_size))
    (folder / f"{NAME}.append").write_text("root=UUID=11b7ed3e-4b09-4e36-9cd6-1ba9b5bb4a6c quiet")
    (folder / NAME).symlink_to(image)
    with tarfile.open(folder / f"{NAME}.tar", "w", dereference=True) as tar:
        for name in (*parts, f"{NAME}.sha256", f"{NAME}.append", NAME):
            tar.add(folder / name, name)
    return folder / f"{NAME}.tar"


async def boot(folder: Path, tarball: Path, init: str) -> tuple[Client, Path]:
    """Import a set into an empty tree and boot a machine from it; the machine, and the image that it booted."""
    tree = ImportedTree(folder.with_name(f"{folder.name}-tree"))
    tree.root.mkdir()
    done = rootwire("import", tarball, "--root", tree.root)
    assert done.returncode == 0, done.stderr
    assert "machines boot it over nbd (kiwi-overlay), aoe (kiwi-overlay)" in done.stdout
    plan = ClientPlan(0, "bios", "nbd", "ipxe")
    settings = LabSettings(limit=LIMIT, boot=BootSettings(files=FILES, append=f"{KERNEL_WORDS} init={init}"))
    async with Lab(folder, tree, [plan], settings) as lab:
        [client] = await lab.boot()
    [image] = [path for path in tree.files if path.with_name(f"{path.name}.kernel").exists()]
    return client, image


def assert_by_its_set(client: Client, image: Path) -> None:
    """It read the image's bytes, and loaded what lies beside it; nothing was asked that is not in such a boot."""
    assert_booted(client, expected_md5(image, FILES))
    assert client.story is not None, describe(client)
    assert [stage for stage in stages_of(client) if stage in (*STAGES, "client config")] == STAGES, describe(client)
    details = {step.stage: step.detail for step in client.story.steps}
    assert details["kernel"].startswith(f"image/{image.name}.kernel")
    assert details["initrd"].startswith(f"image/{image.name}.initrd")
    assert details["root connected"] == f"nbd {image.name}"


async def test_a_kis_tarball_of_the_labs_own(
    image_trees: dict[str, ImageTree], lab_folder: Callable[[], Path], tmp_path: Path
) -> None:
    """The words of its .append are heeded, but for the disk that it thinks its root is on."""
    client, image = await boot(lab_folder(), kis_tarball(image_trees["kiwi"].image, tmp_path), "/usr/sbin/init")
    assert image.name == NAME
    assert_by_its_set(client, image)
