"""Diskless clients boot to userspace from the appliance, and every byte they read there is the server's."""

from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.demo.tree import DemoTree
from deploy.lab.client import Client
from deploy.lab.console import Mark
from deploy.lab.lab import Lab, LabSettings
from deploy.lab.plan import ClientPlan, plan_clients
from deploy.lab.server import BootSettings
from tests.boots.verdict import Boot, assert_booted, describe, stages_of

pytestmark = [pytest.mark.root, pytest.mark.qemu]

# The stages of each way to boot, all of which the appliance must have seen, in this order. Port 4011 is not among them:
# the offer is complete, so neither firmware has to ask there.
LOADER = ("discovered", "offered", "loader", "config", "kernel", "initrd", "client config", "root connected")
ROM_TO_RAM = (
    *("discovered", "offered", "config", "kernel", "initrd", "client config"),
    *("root loading", "root connected"),
)

WAYS = [
    pytest.param(ClientPlan(0, "bios", "nbd", "pxelinux"), LOADER, id="bios-pxelinux-nbd"),
    pytest.param(ClientPlan(1, "uefi", "aoe"), LOADER, id="uefi-aoe"),
    pytest.param(ClientPlan(2, "bios", "ram"), ROM_TO_RAM, id="bios-ipxe-ram"),
]


@pytest.fixture(scope="module")
def three(boot: Boot) -> list[Client]:
    """One client of each way, booted side by side."""
    return boot([ClientPlan(0, "bios", "nbd", "pxelinux"), ClientPlan(1, "uefi", "aoe"), ClientPlan(2, "bios", "ram")])


@pytest.mark.parametrize(("plan", "stages"), WAYS)
def test_it_boots_and_reads_the_servers_bytes(
    three: list[Client], server_md5: Callable[[int], str], plan: ClientPlan, stages: tuple[str, ...]
) -> None:
    """The checksum over 600 files read from its root is the one computed from the image."""
    assert_booted(three[plan.number], server_md5(600))


@pytest.mark.parametrize(("plan", "stages"), WAYS)
def test_the_timeline_has_its_stages_in_order(three: list[Client], plan: ClientPlan, stages: tuple[str, ...]) -> None:
    """Nothing that a boot goes through is missing or out of place."""
    seen = stages_of(three[plan.number])
    assert [stage for stage in seen if stage in stages] == list(stages), describe(three[plan.number])


@pytest.mark.parametrize(("plan", "stages"), WAYS)
def test_the_timeline_counts_what_was_sent(three: list[Client], plan: ClientPlan, stages: tuple[str, ...]) -> None:
    """Kernel and initramfs alone are more than 15 MB, whatever way they took."""
    story = three[plan.number].story
    assert story is not None
    assert story.sent > 15_000_000


def test_four_clients_at_once(boot: Boot, server_md5: Callable[[int], str]) -> None:
    """Both firmwares and all three roots at the same time, from one process."""
    clients = boot(plan_clients(4, "mixed", "mixed"))
    for client in clients:
        assert_booted(client, server_md5(600))


async def test_they_boot_with_one_packet_in_ten_lost(
    demo_tree: DemoTree, lab_folder: Callable[[], Path], server_md5: Callable[[int], str]
) -> None:
    """Lost each way, whatever the protocol: DHCP, TFTP, HTTP, NBD, AoE, ARP.

    iPXE asks for its boot file twice only. When both exchanges are lost it ends, and OVMF or SeaBIOS after it, before
    there was anything to serve: such a machine, and no other that failed, is switched on once more.
    """
    plans = [ClientPlan(0, "bios", "nbd", "pxelinux"), ClientPlan(1, "uefi", "aoe"), ClientPlan(2, "bios", "ram")]
    settings = LabSettings(loss=10, boot=BootSettings(files=20))
    async with Lab(lab_folder(), demo_tree, plans, settings) as lab:
        clients = await lab.boot()
        stranded = [client.plan for client in clients if Mark.STRANDED in client.seen]
        print(f"\nfirmware that had to be switched on again: {[plan.name for plan in stranded]}")
        again = lab.clients(stranded, attempt=2)
        await lab.boot_clients(again)
    for client in [*(client for client in clients if client.plan not in stranded), *again]:
        assert_booted(client, server_md5(20))
