"""Networks that are not one plain LAN: a DHCP relay, two DHCP servers, one on the box itself, none but ours."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.names import STATE
from deploy.demo.tree import DemoTree
from deploy.lab.client import Client
from deploy.lab.lab import Lab, LabSettings
from deploy.lab.network import Arm
from deploy.lab.plan import ClientPlan
from deploy.lab.server import BootSettings
from tests.boots.verdict import assert_booted, describe, stages_of

pytestmark = [pytest.mark.root, pytest.mark.qemu]

FILES = 20
LIMIT = 600.0  # seconds: tests run two at a time, and OVMF has much to emulate
# iPXE for UEFI, which boots by shim and GRUB else: those take a minute longer, and a test of their own has them.
OWN = (ClientPlan(0, "bios", "nbd"), ClientPlan(0, "uefi", "nbd", uefi_loader="ipxe"))
BootIn = Callable[[Arm, ClientPlan], tuple[Client, str]]


@pytest.fixture
def boot_in(demo_tree: DemoTree, lab_folder: Callable[[], Path]) -> BootIn:
    """A function that boots one client in a network of this kind; what its DHCP server gave goes with it."""

    def boot(arm: Arm, plan: ClientPlan) -> tuple[Client, str]:
        async def run() -> tuple[Client, str]:
            settings = LabSettings(arm=arm, limit=LIMIT, boot=BootSettings(files=FILES))
            async with Lab(lab_folder(), demo_tree, [plan], settings) as lab:
                [client] = await lab.boot()
                ours = arm == "own-dhcp"
                leases = lab.root / STATE / "leases" if ours else lab.folder / "router.leases"
                return client, leases.read_text()

        return asyncio.run(run())

    return boot


def test_behind_a_relay(boot_in: BootIn, server_md5: Callable[[int], str]) -> None:
    """DHCP by way of the relay's address, all else routed; AoE alone cannot come so far (quirks D-2, A-7)."""
    client, leases = boot_in("relay", ClientPlan(0, "bios", "nbd"))
    assert_booted(client, server_md5(FILES))
    assert f"{client.plan.mac} 10.78.0." in leases, describe(client)


def test_two_dhcp_servers(boot_in: BootIn, server_md5: Callable[[int], str]) -> None:
    """Whichever of them firmware takes, it takes our offer beside, and so does the loader after it (quirks D-28)."""
    client, _ = boot_in("two-dhcp", ClientPlan(0, "uefi", "nbd", uefi_loader="ipxe"))
    assert_booted(client, server_md5(FILES))
    assert {"loader", "config", "kernel", "initrd"} <= set(stages_of(client)), describe(client)


def test_dhcp_server_on_the_box(boot_in: BootIn, server_md5: Callable[[int], str]) -> None:
    """It has port 67 and gives the address; the boot is ours, heard by a packet socket beside it (quirks D-22)."""
    client, leases = boot_in("same-host", ClientPlan(0, "bios", "nbd"))
    assert_booted(client, server_md5(FILES))
    assert f"{client.plan.mac} 10.77.0." in leases, describe(client)


@pytest.mark.parametrize("plan", OWN, ids=lambda plan: str(plan.firmware))
def test_our_own_dhcp(boot_in: BootIn, server_md5: Callable[[int], str], plan: ClientPlan) -> None:
    """Nobody else gives addresses: firmware, loader and initramfs get the same one of ours, and boot with it."""
    client, leases = boot_in("own-dhcp", plan)
    assert_booted(client, server_md5(FILES))
    given = [json.loads(line)["address"] for line in leases.splitlines() if plan.mac in line]
    assert set(given) == {"10.77.0.50"}, leases
    assert "leased" in stages_of(client), describe(client)
