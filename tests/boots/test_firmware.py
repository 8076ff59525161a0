"""Firmware of every kind boots: other cards' ROMs, UEFI by HTTP, Secure Boot, 64-bit ARM.

The router of those that boot by shim names the box as next server, as the README asks for.
"""

import asyncio
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.initrd.cpio import build_archive
from deploy.demo.arm64 import build_arm_tree, system
from deploy.demo.iso import build_iso
from deploy.demo.tree import DemoTree
from deploy.lab.lab import Lab, LabSettings
from deploy.lab.plan import ARM_KERNEL_WORDS, KERNEL_WORDS, ClientPlan
from deploy.lab.run import DEMO
from deploy.lab.server import BootSettings
from tests.boots.conftest import Lines
from tests.boots.tiny import TinyTree
from tests.boots.verdict import assert_booted, describe, stages_of

pytestmark = [pytest.mark.root, pytest.mark.qemu]

FILES = 20
LIMIT = 1200.0  # seconds on a machine busy with other things; firmware that checks signatures emulates much of them
HTTP = ClientPlan(0, "uefi-http", "nbd")
CARDS = (ClientPlan(0, "bios", "ram", card="e1000"), ClientPlan(1, "bios", "ram", card="e1000e"))
SIGNATURES = 4  # index of the certificates among a program's data directories (PE format: Optional Header)


async def test_uefi_http(demo_tree: DemoTree, lab_folder: Callable[[], Path], server_md5: Callable[[int], str]) -> None:
    """UEFI that has no PXE is offered a URL; what it loads is iPXE, which is then given its script."""
    async with Lab(lab_folder(), demo_tree, [HTTP], LabSettings(limit=LIMIT, boot=BootSettings(files=FILES))) as lab:
        [client] = await lab.boot()
    assert_booted(client, server_md5(FILES))
    assert client.story is not None
    offered = [step.detail for step in client.story.steps if step.stage == "offered"]
    assert offered[0] == "http://10.77.0.2/snponly.efi"
    assert "config" in stages_of(client), describe(client)


async def test_an_iso_over_http(demo_tree: DemoTree, lab_folder: Callable[[], Path]) -> None:
    """Firmware makes a disk of it in its memory, and checks what is on that as it would on any other."""
    folder = lab_folder()
    images = folder / "files/image"
    images.mkdir(parents=True)
    build_iso(images / "demo.iso", demo_tree.kernel, whole_system(), KERNEL_WORDS)
    settings = LabSettings(limit=LIMIT, boot=BootSettings(more=('image = "demo.iso"',)))
    plan = ClientPlan(0, "secure-http", "ram")
    async with Lab(folder / "lab", TinyTree(folder / "files"), [plan], settings) as lab:
        [client] = await lab.boot()
    assert client.succeeded, describe(client)
    assert client.story is not None
    offered = [step.detail for step in client.story.steps if step.stage == "offered"]
    assert offered == ["http://10.77.0.2/image/demo.iso"]
    assert "Secure boot enabled" in client.log.read_text(errors="replace")


def whole_system() -> bytes:
    """An initramfs that needs no root."""
    return b"".join(build_archive(system(Path("/bin/busybox").read_bytes())))


def small_tree(root: Path, kernel: Path) -> TinyTree:
    """A kernel, and an initramfs that is a whole system."""
    boot = root / "boot"
    boot.mkdir(parents=True)
    os.link(kernel, boot / "linux")
    (boot / "initrd").write_bytes(whole_system())
    return TinyTree(root)


async def test_roms_of_other_cards(demo_tree: DemoTree, lab_folder: Callable[[], Path]) -> None:
    """They load kernel and initramfs, which is the whole system: Debian's kernel for clouds drives neither card."""
    folder = lab_folder()
    tree = small_tree(folder / "files", demo_tree.kernel)
    async with Lab(folder / "lab", tree, CARDS, LabSettings(limit=LIMIT)) as lab:
        clients = await lab.boot()
    for client in clients:
        assert client.succeeded, describe(client)
        stages = ("discovered", "offered", "config", "kernel", "initrd")
        assert [stage for stage in stages_of(client) if stage in stages] == list(stages), describe(client)


def secure_settings() -> LabSettings:
    """The kernel says on the console what it makes of Secure Boot, unless it is quiet."""
    return LabSettings(limit=LIMIT, arm="next-server", boot=BootSettings(files=FILES, append=KERNEL_WORDS))


PLAN = ClientPlan(0, "secure", "nbd")  # shim comes by itself: the DHCP server names the box


async def test_secure_boot(
    demo_tree: DemoTree, lab_folder: Callable[[], Path], server_md5: Callable[[int], str]
) -> None:
    """Shim, GRUB and kernel are each checked by the one before, and the kernel locks itself down."""
    async with Lab(lab_folder(), demo_tree, [PLAN], secure_settings()) as lab:
        [client] = await lab.boot()
    assert_booted(client, server_md5(FILES))
    told = client.log.read_text(errors="replace")
    assert "Secure boot enabled" in told
    assert "Kernel is locked down from EFI Secure Boot" in told


async def test_an_unsigned_kernel_is_refused(demo_tree: DemoTree, lab_folder: Callable[[], Path]) -> None:
    """The very kernel that boots with its signature does not without."""
    folder = lab_folder()
    boot = folder / "files/boot"
    boot.mkdir(parents=True)
    (boot / "linux").write_bytes(without_signature(demo_tree.kernel.read_bytes()))
    os.link(demo_tree.initrd, boot / "initrd")
    async with Lab(folder / "lab", TinyTree(folder / "files"), [PLAN], secure_settings()) as lab:
        [client] = await lab.boot()
    assert client.failure == "Secure Boot refused its kernel: bad shim signature", describe(client)
    assert "Linux version" not in client.log.read_text(errors="replace")


def without_signature(program: bytes) -> bytes:
    """A PE program whose headers name no certificates any more, and which ends where they began."""
    [header] = struct.unpack_from("<I", program, 0x3C)
    entry = header + 24 + 112 + 8 * SIGNATURES  # behind the COFF header and PE32+'s fixed fields
    at, size = struct.unpack_from("<II", program, entry)
    assert at + size == len(program)
    return program[:entry] + bytes(8) + program[entry + 8 : at]


async def test_arm64_uefi(demo_tree: DemoTree, lab_folder: Callable[[], Path]) -> None:
    """A GRUB that was linked on this box finds it beside a DHCP server that knows nothing of it."""
    tree = await asyncio.to_thread(build_arm_tree, DEMO / "arm64", Lines())
    settings = LabSettings(limit=LIMIT, boot=BootSettings(append=ARM_KERNEL_WORDS))
    async with Lab(lab_folder(), tree, [ClientPlan(0, "arm64", "ram")], settings) as lab:
        [client] = await lab.boot()
    assert client.succeeded, describe(client)
    stages = ("discovered", "offered", "loader", "config", "kernel", "initrd")
    assert [stage for stage in stages_of(client) if stage in stages] == list(stages), describe(client)
    assert "ARM64 aarch64" in client.log.read_text(errors="replace")


async def test_arm64_secure_boot(demo_tree: DemoTree, lab_folder: Callable[[], Path]) -> None:
    """Shim and GRUB for that processor, checked by Microsoft's keys in its variables; then the kernel is."""
    tree = await asyncio.to_thread(build_arm_tree, DEMO / "arm64", Lines())
    settings = LabSettings(limit=LIMIT, arm="next-server", boot=BootSettings(append=ARM_KERNEL_WORDS))
    plan = ClientPlan(0, "arm64-secure", "ram", uefi_loader="shim")
    async with Lab(lab_folder(), tree, [plan], settings) as lab:
        [client] = await lab.boot()
    assert client.succeeded, describe(client)
    assert "UEFI Secure Boot is enabled" in client.log.read_text(errors="replace")


async def test_ia32_uefi(demo_tree: DemoTree, lab_folder: Callable[[], Path]) -> None:
    """A tablet's 32-bit firmware starts a 64-bit kernel, by a GRUB that was linked on this box."""
    folder = lab_folder()
    tree = small_tree(folder / "files", demo_tree.kernel)
    settings = LabSettings(limit=LIMIT, boot=BootSettings(append=KERNEL_WORDS))
    async with Lab(folder / "lab", tree, [ClientPlan(0, "ia32", "ram")], settings) as lab:
        [client] = await lab.boot()
    assert client.succeeded, describe(client)
    assert client.story is not None
    assert client.story.steps[0].detail.startswith("PXEClient:Arch:00006")


async def test_u_boot(demo_tree: DemoTree, lab_folder: Callable[[], Path]) -> None:
    """It knows no ProxyDHCP: the DHCP server names the box. Its network card has an address of U-Boot's own."""
    tree = await asyncio.to_thread(build_arm_tree, DEMO / "arm64", Lines())
    settings = LabSettings(limit=LIMIT, arm="next-server", boot=BootSettings(append=ARM_KERNEL_WORDS))
    async with Lab(lab_folder(), tree, [ClientPlan(0, "u-boot", "ram")], settings) as lab:
        [client] = await lab.boot()
        log = (lab.folder / "rootwire.log").read_text()
    assert client.succeeded, describe(client)
    asked = ("boot.scr.uimg", "pxelinux.cfg/default", "boot/initrd", "boot/linux")
    places = [log.index(f'"name": "{name}"') for name in asked]
    assert places == sorted(places)
