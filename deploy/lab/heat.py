"""deploy/heat: what rootwire heat's sort file and prefetching are worth, measured on boots of the lab; what heat costs.

order: boot a Debian with systemd, write the sort file, pack the same system by it, boot again; what each boot read.
disk: the image on a slow disk and not in memory; boot, forget what was read, boot again with what the first left.
hooks: no boot, but reads over NBD as fast as they go, of an export that is recorded and of one that is not.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

from appliance.client import Place, fetch
from appliance.heat.command import fetch_heat, save_sort_file
from appliance.heat.reads import BootHeat
from deploy import demo
from deploy.demo.images import ImageTree, build_images, pack_system
from deploy.demo.tree import IMAGE_NAME, DemoTree
from deploy.lab import hooks
from deploy.lab.client import Client
from deploy.lab.console import Mark
from deploy.lab.disk import slow_disk
from deploy.lab.errors import LabError
from deploy.lab.lab import POLL_INTERVAL, Lab, LabSettings
from deploy.lab.network import Network
from deploy.lab.plan import KERNEL_WORDS, ClientPlan, plan_clients
from deploy.lab.run import DEMO, demo_tree, new_run_folder
from deploy.lab.screen import Screen
from deploy.lab.server import BootSettings, Rootwire

SEEK = 0.012  # seconds a jump takes: a laptop's disk
RATE = 20e6  # bytes a second: a memory card, a USB 2 disk
PLANS = plan_clients(1, "bios", "nbd")
IMAGES = DEMO / "images"
LIMIT = 900.0  # seconds for systemd to boot, emulated
SYSTEM_NAME = "debian-systemd.x86_64-12"
SERVICE = "usr/sbin/rootwire-demo"
# All of systemd's boot but what would ask for a login; then, as its last service, the demo's init, which powers off.
APPEND = f"{KERNEL_WORDS} quiet init=/usr/lib/systemd/systemd systemd.run=/{SERVICE}"
SYSTEMD = LabSettings(limit=LIMIT, boot=BootSettings(files=0, append=APPEND))
TOLD = {
    "reads": "reads",
    "bytes": "bytes",
    "blocks": "blocks of 128 KiB",
    "stretches": "stretches of such blocks",
    "jumps": "jumps of a disk that reads each byte once",
    "way": "bytes that these jumps pass over",
}
MARKS = {Mark.ROOT: "root mounted", Mark.USERSPACE: "userspace", Mark.CHECKSUM: "files read"}


async def boot(lab: Lab, attempt: int = 1) -> Client:
    """One boot, which has to go well. Raises: LabError."""
    (client,) = clients = lab.clients(attempt=attempt)
    await lab.boot_clients(clients)
    if not client.succeeded:
        raise LabError(f"the client did not boot: {client.failure}; see {client.log}")
    return client


async def record(folder: Path, tree: ImageTree, sort_file: Path) -> BootHeat:
    """Boot an image in a lab of its own, write its sort file, and say what was read."""
    lab = Lab(folder, tree, [ClientPlan(0, "bios", "nbd")], SYSTEMD)
    async with lab:
        await boot(lab)
        assert isinstance(lab.server, Rootwire)  # noqa: S101  # the lab's default
        report = await fetch_heat(Place(lab.server.socket), tree.name, None)
    save_sort_file(report, sort_file)
    return report["boots"][-1]


def debian_system(screen: Screen) -> Path:
    """The Debian that the demo's images are packed from, which has systemd."""
    kernel = demo_tree(screen).root.with_name("kernel")
    build_images(IMAGES, kernel, kernel.with_suffix(".made").read_text(), screen, [])
    return IMAGES / "system"


def pack(system: Path, root: Path, *options: str) -> ImageTree:
    """A tree of nothing but the system's image, which has no initramfs, and the demo's init as a service."""
    tree, service = ImageTree(root, SYSTEM_NAME), system / SERVICE
    tree.image.parent.mkdir(parents=True)
    shutil.copy(Path(demo.__file__).with_name("service"), service)
    try:
        pack_system(system, tree.image, *options)
    finally:
        service.unlink()
    return tree


def measure_order(system: Path, folder: Path) -> None:
    """Both boots, side by side."""
    sort_file = folder / "sort"
    plain = pack(system, folder / "as-it-comes")
    before = asyncio.run(record(folder / "before", plain, sort_file))
    packed = pack(system, folder / "sorted", "-sort", str(sort_file))
    after = asyncio.run(record(folder / "after", packed, folder / "sort.after"))
    print(f"| a boot of {SYSTEM_NAME} | as packed | by its sort file | |\n|---|---:|---:|---:|")
    for key, name in TOLD.items():
        first, second = before[key], after[key]  # type: ignore[literal-required]  # keys of TOLD are BootHeat's
        print(f"| {name} | {first:,} | {second:,} | {second / first:.2f} |")
    for tree in (plain, packed):
        shutil.rmtree(tree.root)


class OnSlowDisk(Rootwire):
    """The appliance, its image on a slow disk."""

    def __init__(self, network: Network, tree: Path, config: Path, log: Path) -> None:
        super().__init__(network, tree, config, log)
        self.image = tree / "image" / IMAGE_NAME
        self._disk = ExitStack()

    async def start(self) -> None:
        """See BootServer.start."""
        fast = self.image.parents[2] / "fast"
        os.link(self.image, fast)
        self._disk.enter_context(slow_disk(fast, self.image, seek=SEEK, rate=RATE))
        await super().start()

    async def stop(self) -> None:
        """See BootServer.stop."""
        try:
            await super().stop()
        finally:
            self._disk.close()


def forget(image: Path) -> None:
    """Have nothing of an image in memory, but what somebody has mapped."""
    file = os.open(image, os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


async def hashed(socket: Path) -> None:
    """Wait until the appliance has made the images' checksums, for which it reads all of them."""
    while True:
        images = json.loads(await fetch(Place(socket), "api/images"))
        if all(image["sha256"] for image in images):
            return
        await asyncio.sleep(POLL_INTERVAL)


async def boot_twice(folder: Path, tree: DemoTree) -> tuple[Client, Client]:
    """A boot of which nothing is known, and one after it, both from a disk of which nothing is in memory."""
    lab = Lab(folder, tree, PLANS, make_server=OnSlowDisk)
    async with lab:
        assert isinstance(lab.server, OnSlowDisk)  # noqa: S101  # just made
        await hashed(lab.server.socket)
        forget(lab.server.image)
        first = await boot(lab)
        forget(lab.server.image)
        return first, await boot(lab, attempt=2)


def measure_disk(tree: DemoTree, folder: Path, rounds: int) -> None:
    """Medians of several rounds."""
    for file in (tree.kernel, tree.initrd):
        file.read_bytes()  # in memory for both: they are not what is measured
    folder.mkdir(parents=True)
    pairs = [asyncio.run(boot_twice(folder / str(number), tree)) for number in range(rounds)]
    print(f"| seconds from power-on, median of {rounds} | cold | prefetched | |\n|---|---:|---:|---:|")
    for mark, name in MARKS.items():
        cold, warm = (statistics.median(pair[which].seconds_to(mark) or 0.0 for pair in pairs) for which in (0, 1))
        print(f"| {name} | {cold:.1f} | {warm:.1f} | {warm / cold:.2f} |")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="deploy/heat", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("what", choices=("order", "disk", "hooks"), help="which of them")
    rounds = "of disk and hooks (default: 1)"
    parser.add_argument("--rounds", type=int, choices=range(1, 21), default=1, metavar="N", help=rounds)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        parser.exit(2, "heat: network namespaces and taps need root; run: sudo deploy/heat\n")
    folder = new_run_folder(f"heat-{os.getpid()}")
    try:
        if arguments.what == "hooks":
            hooks.report(arguments.rounds)
        elif arguments.what == "order":
            measure_order(debian_system(Screen()), folder)
        else:
            measure_disk(demo_tree(Screen()), folder, arguments.rounds)
    except LabError as failure:
        parser.exit(1, f"heat: {failure}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
