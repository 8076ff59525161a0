"""A boot tree whose root is busybox and one script: small enough that a boot is nearly all kernel and client.

The kernel is given to QEMU with the client initramfs, so no firmware and no loader takes part: what the appliance sees
begins with the client's own requests.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.initrd.builder import build_initrd
from deploy.lab.client import Client, qemu_command, run_client
from deploy.lab.lab import Lab
from deploy.lab.network import BOX_ADDRESS

INIT = Path(__file__).with_name("tiny-init")
NAME, VERSION = "tiny.x86_64", "1.0"
IMAGE = f"{NAME}-{VERSION}"
CONFIG = "KIWI/config.52:54:00:77:00:00"  # of the lab's first client
LIMIT = 240.0  # seconds a boot may take on a busy machine; it takes about 15 on an idle one
APPEND = f"console=ttyS0 quiet panic=-1 rootwire.poll=2 kiwiserver={BOX_ADDRESS} kiwiservertype="


@dataclass(frozen=True, slots=True)
class TinyTree:
    """What is served; the configuration is each test's own."""

    root: Path

    @property
    def files(self) -> Sequence[Path]:
        """All that a boot server is given."""
        return [path for path in self.root.rglob("*") if path.is_file()]


@dataclass(frozen=True, slots=True)
class TinyParts:
    """What the trees of a session are made of."""

    kernel: Path
    initrd: Path
    extra: Path
    squashfs: Path
    ext4: Path

    def tree(self, root: Path, config: str, *, image: Path, files: dict[str, bytes] | None = None) -> TinyTree:
        """A tree with this configuration for the first client, `image`, and `files`."""
        for folder in ("boot", "image", "KIWI"):
            (root / folder).mkdir(parents=True)
        os.link(self.extra, root / "boot/initrd.extra")
        os.link(image, root / "image" / IMAGE)
        for name, content in {CONFIG: config.encode(), **(files or {})}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        return TinyTree(root)


def make_parts(folder: Path, kernel: Path, modules: Path, busybox: str) -> TinyParts:
    """Initramfs, extra archive, and the tiny root as squashfs and as ext4, in `folder`."""
    root = folder / "root"
    for name in ("bin", "dev", "etc", "proc", "run", "sys", "sbin"):
        (root / name).mkdir(parents=True)
    shutil.copy(busybox, root / "bin/busybox")
    shutil.copy(INIT, root / "sbin/init")
    (root / "sbin/init").chmod(0o755)
    (root / "bin/sh").symlink_to("busybox")
    squashfs, ext4 = folder / "tiny.squashfs", folder / "tiny.ext4"
    subprocess.run(["mksquashfs", root, squashfs, "-noappend", "-quiet", "-no-progress"], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-d", root, ext4, "8M"], check=True)
    initrd, extra = folder / "initrd", folder / "initrd.extra"
    build_initrd(str(modules), initrd, extra=extra, progress=lambda line: None)
    return TinyParts(kernel, initrd, extra, squashfs, ext4)


async def boot_tiny(lab: Lab, parts: TinyParts, *, attempt: int = 1, servertype: str = "http") -> Client:
    """Switch the lab's one client on, and follow it until it is off."""
    [client] = lab.clients(attempt=attempt)
    direct = ["-kernel", str(parts.kernel), "-initrd", str(parts.initrd), "-append", APPEND + servertype]
    command = [*qemu_command(client.plan, lab.folder), *direct]
    await run_client(client, command, namespace=lab.network.lan, limit=LIMIT, on_change=lambda client: None)
    return client


def told(client: Client) -> list[str]:
    """What the tiny root said of itself."""
    return re.findall(r"^TINY (.*?)\r?$", client.log.read_text(errors="replace"), re.MULTILINE)


def requests(lab: Lab) -> list[str]:
    """The files that were asked for, in order."""
    lines = map(json.loads, (lab.folder / "rootwire.log").read_text().splitlines())
    return [str(line["name"]) for line in lines if line["event"] == "request_finished" and "name" in line]
