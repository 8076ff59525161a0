"""deploy/heat: what rootwire heat's sort file and prefetching are worth, measured on a boot of the lab.

order: boot, write the sort file, pack the same root by it, boot again; both boots in numbers of the image's blocks.
disk: the image on a slow disk and not in memory; boot, forget what was read, boot again with what the first left.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from appliance.heat import BootHeat
from appliance.hotlist import fetch_heat, save_sort_file
from appliance.status import Place, fetch
from deploy.demo.tree import IMAGE_NAME, DemoTree
from deploy.lab.client import Client
from deploy.lab.console import Mark
from deploy.lab.disk import slow_disk
from deploy.lab.errors import LabError
from deploy.lab.lab import POLL_INTERVAL, Lab
from deploy.lab.network import Network
from deploy.lab.plan import plan_clients
from deploy.lab.run import demo_tree, new_run_folder
from deploy.lab.screen import Screen
from deploy.lab.server import Rootwire

SEEK = 0.012  # seconds a jump takes: a laptop's disk
RATE = 20e6  # bytes a second: a memory card, a USB 2 disk
PLANS = plan_clients(1, "bios", "nbd")
PACK = ("-comp", "zstd", "-Xcompression-level", "6", "-noappend", "-quiet", "-no-progress")
TOLD = {"reads": "reads", "jumps": "jumps", "blocks": "blocks of 128 KiB", "bytes": "bytes"}
MARKS = {Mark.ROOT: "root mounted", Mark.USERSPACE: "userspace", Mark.CHECKSUM: "files read"}


async def boot(lab: Lab, attempt: int = 1) -> Client:
    """One boot, which has to go well. Raises: LabError."""
    (client,) = clients = lab.clients(attempt=attempt)
    await lab.boot_clients(clients)
    if not client.succeeded:
        raise LabError(f"the client did not boot: {client.failure}; see {client.log}")
    return client


async def record(folder: Path, tree: DemoTree, sort_file: Path) -> BootHeat:
    """Boot a tree in a lab of its own, write its sort file, and say what was read."""
    lab = Lab(folder, tree, PLANS)
    async with lab:
        await boot(lab)
        assert isinstance(lab.server, Rootwire)  # noqa: S101  # the lab's default
        report = await fetch_heat(Place(lab.server.socket), IMAGE_NAME, None)
    save_sort_file(report, sort_file)
    return report["boots"][-1]


def pack_sorted(tree: DemoTree, sort_file: Path, folder: Path) -> DemoTree:
    """The tree with its root packed in the order of the sort file."""
    packed = DemoTree(folder / "sorted")
    packed.image.parent.mkdir(parents=True)
    packed.kernel.parent.mkdir()
    root = folder / "root"
    subprocess.run(["unsquashfs", "-quiet", "-no-progress", "-dest", root, tree.image], check=True)
    subprocess.run(["mksquashfs", root, packed.image, *PACK, "-sort", sort_file], check=True)
    shutil.rmtree(root)
    for source, target in ((tree.kernel, packed.kernel), (tree.initrd, packed.initrd)):
        os.link(source, target)
    return packed


def measure_order(tree: DemoTree, folder: Path) -> None:
    """Both boots, side by side."""
    folder.mkdir(parents=True)
    before = asyncio.run(record(folder / "before", tree, folder / "sort"))
    packed = pack_sorted(tree, folder / "sort", folder)
    after = asyncio.run(record(folder / "after", packed, folder / "sort.after"))
    print(f"| a boot of {IMAGE_NAME} | as packed | by its sort file | |\n|---|---:|---:|---:|")
    for key, name in TOLD.items():
        first, second = before[key], after[key]  # type: ignore[literal-required]  # keys of TOLD are BootHeat's
        print(f"| {name} | {first} | {second} | {second / first:.2f} |")
    shutil.rmtree(packed.root)


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

    def forget(self) -> None:
        """Have nothing of the image in memory."""
        file = os.open(self.image, os.O_RDONLY)
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
        lab.server.forget()
        first = await boot(lab)
        lab.server.forget()
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
    parser.add_argument("what", choices=("order", "disk"), help="which of the two")
    parser.add_argument("--rounds", type=int, choices=range(1, 21), default=1, metavar="N", help="of disk (default: 1)")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        parser.exit(2, "heat: network namespaces and taps need root; run: sudo deploy/heat\n")
    folder = new_run_folder(f"heat-{os.getpid()}")
    try:
        tree = demo_tree(Screen())
        if arguments.what == "order":
            measure_order(tree, folder)
        else:
            measure_disk(tree, folder, arguments.rounds)
    except LabError as failure:
        parser.exit(1, f"heat: {failure}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
