"""Machines with disks: installed at the first boot, and at the second asked for nothing but their configuration.

The fixtures F8, F9 and F10 of KIWI's contract, with the differences that the client's init lists: sha256 is asked for
as well, and an up-to-date disk costs one request for the image's md5.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.lab.network import BOX_ADDRESS
from deploy.lab.plan import ClientPlan
from tests.boots.tiny import CONFIG, IMAGE, NAME, VERSION, TinyParts, boot_tiny, requests, tiny_lab, told
from tests.boots.verdict import describe

pytestmark = [pytest.mark.root, pytest.mark.qemu]

STATUS = [CONFIG, "boot/initrd.extra", f"image/{IMAGE}.md5"]
INSTALL = [f"image/{IMAGE}.md5", f"image/{IMAGE}.sha256", f"image/{IMAGE}"]


async def test_an_installed_disk_boots_without_an_image_request(
    parts: TinyParts, lab_folder: Callable[[], Path]
) -> None:
    """Partitioned, filled, configured, grown; then found up to date, with what the first boot wrote to it."""
    config = f"""\
DISK='/dev/sda'
PART='16;82;x,64;83;/,x;83;/data'
IMAGE='/dev/sda2;{NAME};{VERSION};{BOX_ADDRESS};4096'
CONF='conf/hosts;/etc/hosts;{BOX_ADDRESS};4096;h1'
"""
    folder = lab_folder()
    tree = parts.tree(folder / "files", config, image=parts.ext4, files={"conf/hosts": b"10.0.0.1 first\n"})
    async with tiny_lab(folder / "lab", tree, [ClientPlan(0, "bios", "ram", disks=1)]) as lab:
        first = await boot_tiny(lab, parts)
        assert requests(lab, first) == [*STATUS, *INSTALL, "conf/hosts"], describe(first)
        second = await boot_tiny(lab, parts, attempt=2)
        assert requests(lab, second) == STATUS, describe(second)
    for client, boots in ((first, 1), (second, 2)):
        assert told(client)[:4] == [
            f"boots={boots}",
            "mount /dev/sda2 / ext4 rw",
            "mount /dev/sda3 /data ext4 rw",
            "swap /dev/sda1",
        ], describe(client)
        assert "hosts 10.0.0.1 first" in told(client)
    size = next(int(line.split()[1]) for line in told(second) if line.startswith("size "))
    assert size > 40  # MiB: the image has 8, its partition 64


async def test_a_mirror_is_assembled_again(parts: TinyParts, lab_folder: Callable[[], Path]) -> None:
    """Both disks partitioned, the parts mirrored; the second boot asks for no image."""
    config = f"""\
DISK='/dev/sda'
RAID='1;/dev/sda;/dev/sdb'
PART='16;82;x,x;83;/'
IMAGE='/dev/md1;{NAME};{VERSION};{BOX_ADDRESS};4096'
"""
    folder = lab_folder()
    tree = parts.tree(folder / "files", config, image=parts.ext4)
    async with tiny_lab(folder / "lab", tree, [ClientPlan(0, "bios", "ram", disks=2)]) as lab:
        first = await boot_tiny(lab, parts)
        assert requests(lab, first) == [*STATUS, *INSTALL], describe(first)
        second = await boot_tiny(lab, parts, attempt=2)
        assert requests(lab, second) == STATUS, describe(second)
    assert told(second)[:3] == ["boots=2", "mount /dev/md1 / ext4 rw", "swap /dev/md0"], describe(second)


async def test_a_read_only_root_on_disk_has_its_overlay_there(parts: TinyParts, lab_folder: Callable[[], Path]) -> None:
    """A squashfs beside a partition for the changes, which holds the kernel for the disk's own loader, too (F9)."""
    config = f"""\
DISK='/dev/sda'
PART='16;82;x,40;83;/,x;83;x'
IMAGE='/dev/sda2;{NAME};{VERSION};{BOX_ADDRESS};4096'
UNIONFS_CONFIG='/dev/sda3,/dev/sda2,overlay'
KIWI_INITRD='/boot/initrd'
KIWI_KERNEL='/boot/linux'
"""
    folder = lab_folder()
    files = {"boot/initrd": bytes(20_000), "boot/linux": bytes(30_000)}
    tree = parts.tree(folder / "files", config, image=parts.squashfs, files=files)
    async with tiny_lab(folder / "lab", tree, [ClientPlan(0, "bios", "ram", disks=1)]) as lab:
        first = await boot_tiny(lab, parts)
        assert requests(lab, first) == [*STATUS, *INSTALL, "boot/initrd", "boot/linux"], describe(first)
        second = await boot_tiny(lab, parts, attempt=2)
        assert requests(lab, second) == STATUS, describe(second)
    mounted = ["mount rootwire / overlay rw", "swap /dev/sda1"]
    kept = ["file /boot/initrd.kiwi 20000", "file /boot/linux.kiwi 30000"]
    for client, boots in ((first, 1), (second, 2)):
        assert told(client)[:5] == [f"boots={boots}", *mounted, *kept], describe(client)
    size = next(int(line.split()[1]) for line in told(second) if line.startswith("size "))
    assert 40 < size < 80  # MiB: the third partition's, not memory's nor the image's
