"""What all boots share: the demo tree, the sums of its files, and labs to boot in."""

import asyncio
import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from deploy.demo.checksum import expected_md5
from deploy.demo.images import ImageTree, build_images
from deploy.demo.tree import DemoTree, build_tree
from deploy.lab.client import Client
from deploy.lab.initrd import build_client_initrd, initrd_inputs
from deploy.lab.lab import Lab, LabSettings
from deploy.lab.plan import ClientPlan
from deploy.lab.run import DEMO, new_run_folder
from deploy.lab.server import BootSettings
from tests.boots.tiny import TinyParts, make_parts
from tests.boots.verdict import Boot

TOOLS = (
    "ip",
    "nft",
    "dnsmasq",
    "qemu-system-x86_64",
    "mmdebstrap",
    "mksquashfs",
    "unsquashfs",
    "nbd-client",
    "setpriv",
)

KIWI_SETS = "kiwi/*.tar.xz"  # made by deploy/kiwi/build, which takes too long for every run of the tests
collect_ignore = [] if any(DEMO.glob(KIWI_SETS)) else ["test_kiwi_set.py"]

_numbers = itertools.count()


class Lines:
    """Shows the building of the tree as lines, for pytest -s and for the report of a failure."""

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """See deploy.demo.tree.Steps."""
        print(f"{name} ...")
        yield lambda detail: print(f"{name}: {detail}")


def _require_root_and_tools() -> None:
    """As the fixture `tool` does, which lives for one test only: what is missing fails CI, and skips elsewhere."""
    missing = [name for name in TOOLS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    if os.geteuid() != 0:
        missing.append("root")
    if not missing:
        return
    message = f"boots need {', '.join(missing)}: run sudo deploy/test"
    if os.environ.get("REQUIRE_INTEROP") == "1":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def demo_tree() -> DemoTree:
    """The demo tree, the one of deploy/run: made here if it is not there yet."""
    _require_root_and_tools()
    return build_tree(DEMO, Lines(), build_client_initrd, initrd_inputs())


@pytest.fixture(scope="session")
def parts(demo_tree: DemoTree) -> Iterator[TinyParts]:
    """The tiny root, initramfs and extra archive, beside the labs' folders: trees are made of links to them.

    Not among those folders: the oldest of them go when there are many, and these are needed to the end.
    """
    busybox = shutil.which("busybox")
    assert busybox is not None
    with tempfile.TemporaryDirectory(prefix="parts-", dir=DEMO) as folder:
        yield make_parts(Path(folder), demo_tree.kernel, DEMO / "kernel", busybox)


@pytest.fixture(scope="session")
def image_trees(demo_tree: DemoTree) -> dict[str, ImageTree]:
    """Trees with one image each that boots by itself, by the kind of its initrd; they have the demo's kernel."""
    return build_images(DEMO / "images", DEMO / "kernel", (DEMO / "kernel.made").read_text(), Lines())


@pytest.fixture(scope="session")
def lab_folder() -> Callable[[], Path]:
    """A function that names a new folder for a lab: kept beside the tree, so that a failed boot can be looked at."""
    return lambda: new_run_folder(f"test-{os.getpid()}-{next(_numbers)}")


@pytest.fixture(scope="session")
def server_md5(demo_tree: DemoTree) -> Callable[[int], str]:
    """The checksum over the first N files of the image, computed on the server."""
    sums: dict[int, str] = {}

    def compute(files: int) -> str:
        if files not in sums:
            sums[files] = expected_md5(demo_tree.image, files)
        return sums[files]

    return compute


@pytest.fixture(scope="session")
def boot(demo_tree: DemoTree, lab_folder: Callable[[], Path]) -> Boot:
    """A function that boots clients side by side in a lab of their own and returns them when all are off."""

    def boot_all(plans: Sequence[ClientPlan], *, files: int = 600) -> list[Client]:
        settings = LabSettings(boot=BootSettings(files=files))

        async def run() -> list[Client]:
            async with Lab(lab_folder(), demo_tree, plans, settings) as lab:
                return await lab.boot()

        return asyncio.run(run())

    return boot_all
