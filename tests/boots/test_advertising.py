"""How soon the kernel's aoe driver finds its root: with the appliance's advertisements, and with vblade's none.

The driver is loaded before the link is up, as KIWI's own initrd does it, and nothing asks it to ask again: it
broadcasts its question into a dead link, then waits a minute. Both times are printed; see them with pytest -s.
"""

import asyncio
import re
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from appliance.initrd import cpio
from deploy.demo.tree import DemoTree
from deploy.lab.client import Client, qemu_command, run_client
from deploy.lab.lab import Lab, MakeServer
from deploy.lab.network import Network
from deploy.lab.plan import KERNEL_WORDS, ClientPlan
from deploy.lab.process import start, stop
from deploy.lab.server import Rootwire
from deploy.lab.story import Story
from tests.boots.verdict import describe

pytestmark = [pytest.mark.root, pytest.mark.qemu]

DRIVER_INTERVAL = 60.0  # seconds between the driver's own questions (its aoecmd_cfg timer)
AT_ONCE = 20.0  # seconds; well under that interval, and generous to an emulated machine on a busy one

INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
export PATH=/bin
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
modprobe -a virtio_pci virtio_net
modprobe aoe
echo "AOE-LOADED at=$(cut -d' ' -f1 /proc/uptime)"
ip link set eth0 up
udhcpc -i eth0 -n -q -t 10 -T 1 -s /bin/true
i=0
while [ ! -b /dev/etherd/e0.1 ] && [ $i -lt 1200 ]; do sleep 0.1; i=$((i + 1)); done
[ -b /dev/etherd/e0.1 ] && echo "AOE-FOUND at=$(cut -d' ' -f1 /proc/uptime)"
echo "BOOT-DONE uptime=$(cut -d' ' -f1 /proc/uptime)"
echo o > /proc/sysrq-trigger
while :; do sleep 60; done
"""


class Vblade:
    """Serves the demo's image as e0.1, as people do today; a boot server only in so far as the lab needs one."""

    def __init__(self, network: Network, tree: Path, config: Path, log: Path) -> None:
        self._tree = tree
        self._network = network
        self._log = log
        self._process: Process | None = None

    async def start(self) -> None:
        """See BootServer.start."""
        [image] = (self._tree / "image").iterdir()
        with self._log.open("wb") as log:
            command = ["vblade", "-r", "0", "1", "eth0", str(image)]
            self._process = await start(command, namespace=self._network.box, stdout=log, stderr=log)

    async def stories(self) -> Mapping[str, Story]:
        """It knows nothing of machines."""
        return {}

    async def watch(self) -> None:
        """See BootServer.watch."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """See BootServer.stop."""
        if self._process is not None:
            await stop(self._process)


@pytest.fixture
def initrd(demo_tree: DemoTree, tmp_path: Path) -> Path:
    """The demo's initramfs with this test's init over its own: the kernel unpacks one archive after the other."""
    base = demo_tree.initrd.read_bytes()
    over = b"".join(cpio.build_archive([cpio.file("init", INIT.encode(), executable=True)]))
    path = tmp_path / "initrd"
    path.write_bytes(base + bytes(-len(base) % 4) + over)
    return path


async def seconds_to_find(folder: Path, tree: DemoTree, initrd: Path, make_server: MakeServer) -> float:
    """Seconds from the driver's loading to the block device, in a guest of a lab with this server."""
    plan = ClientPlan(0, "bios", "aoe")
    async with Lab(folder, tree, [plan], make_server=make_server) as lab:
        client = Client(plan, folder / "client.console")
        direct = ["-kernel", str(tree.kernel), "-initrd", str(initrd), "-append", f"{KERNEL_WORDS} quiet"]
        command = [*qemu_command(plan, folder), *direct]
        await run_client(client, command, namespace=lab.network.lan, limit=240, on_change=lambda client: None)
    console = client.log.read_text()
    times = {name: float(at) for name, at in re.findall(r"AOE-(LOADED|FOUND) at=([0-9.]+)", console)}
    assert times.keys() == {"LOADED", "FOUND"}, describe(client)
    return times["FOUND"] - times["LOADED"]


async def test_the_driver_finds_its_root_at_once(
    demo_tree: DemoTree, initrd: Path, lab_folder: Callable[[], Path], tool: Callable[[str], str]
) -> None:
    """The appliance advertises when the kernel shows a sign of life, so nobody waits for the driver's next question."""
    tool("vblade")
    ours, vblades = await asyncio.gather(
        seconds_to_find(lab_folder(), demo_tree, initrd, Rootwire),
        seconds_to_find(lab_folder(), demo_tree, initrd, Vblade),
    )
    print(f"\nfrom modprobe aoe to /dev/etherd/e0.1: rootwire {ours:.1f} s, vblade {vblades:.1f} s")
    assert ours < AT_ONCE
