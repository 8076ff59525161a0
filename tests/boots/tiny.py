"""A boot tree whose root is busybox and one script: small enough that a boot is nearly all kernel and client.

The kernel is given to QEMU with the client initramfs, so no firmware and no loader takes part: what the appliance sees
begins with the client's own requests.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from appliance.initrd.builder import build_initrd
from deploy.lab.client import Client, qemu_command, run_client
from deploy.lab.lab import Lab, LabSettings
from deploy.lab.network import BOX_ADDRESS
from deploy.lab.plan import KERNEL_WORDS, ClientPlan
from deploy.lab.server import BootSettings, Rootwire
from tests.boots.verdict import describe

INIT = Path(__file__).with_name("tiny-init")
NAME, VERSION = "tiny.x86_64", "1.0"
IMAGE = f"{NAME}-{VERSION}"
CONFIG = "KIWI/config.52:54:00:77:00:00"  # of the lab's first client
LIMIT = 600.0  # seconds a boot may take on a busy machine; it takes about 15 on an idle one
APPEND = f"{KERNEL_WORDS} quiet panic=-1 rootwire.poll=2 kiwiserver={BOX_ADDRESS} kiwiservertype="


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
    root: Path  # what is in both, as a folder

    def tree(self, root: Path, config: str | None, *, image: Path, files: dict[str, bytes] | None = None) -> TinyTree:
        """A tree with this configuration for the first client, if any, `image`, and `files`."""
        for folder in ("boot", "image", "KIWI"):
            (root / folder).mkdir(parents=True)
        os.link(self.extra, root / "boot/initrd.extra")
        os.link(image, root / "image" / IMAGE)
        own = {} if config is None else {CONFIG: config.encode()}
        for name, content in {**own, **(files or {})}.items():
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
    return TinyParts(kernel, initrd, extra, squashfs, ext4, root)


def tiny_lab(folder: Path, tree: TinyTree, plans: Sequence[ClientPlan], boot: BootSettings | None = None) -> Lab:
    """A lab whose appliance logs what is asked for in vain, too."""
    settings = LabSettings(boot=boot or BootSettings())
    return Lab(folder, tree, plans, settings, partial(Rootwire, debug=True))


async def boot_tiny(
    lab: Lab,
    parts: TinyParts,
    *,
    number: int = 0,
    attempt: int = 1,
    servertype: str = "http",
    words: str = "",
    on_change: Callable[[Client], None] = lambda client: None,
) -> Client:
    """Switch one of the lab's clients on, and follow it until it is off; `words` are for its kernel's command line."""
    [client] = lab.clients([lab.plans[number]], attempt=attempt)
    append = f"{APPEND}{servertype} {words}"
    direct = ["-kernel", str(parts.kernel), "-initrd", str(parts.initrd), "-append", append]
    command = [*qemu_command(client.plan, lab.folder), *direct]
    await run_client(client, command, namespace=lab.network.lan, limit=LIMIT, on_change=on_change)
    return client


def told(client: Client) -> list[str]:
    """What the tiny root said of itself."""
    return re.findall(r"^TINY (.*?)\r?$", client.log.read_text(errors="replace"), re.MULTILINE)


def address_of(client: Client) -> str:
    """The address that its initramfs was given."""
    found = re.search(r"rootwire: address (\S+) on", client.log.read_text(errors="replace"))
    assert found is not None, describe(client)
    return found[1]


def events(lab: Lab, client: Client) -> list[dict[str, object]]:
    """What the appliance logged while the client was on, in order."""
    lines = map(json.loads, (lab.folder / "rootwire.log").read_text().splitlines())
    return [line for line in lines if 0 <= _seconds_in(client, line["timestamp"]) <= client.seconds]


def _seconds_in(client: Client, timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp() - client.powered_on


def opened(lab: Lab, client: Client) -> list[str]:
    """The exports that it opened, and the AoE targets whose driver found them, in order."""
    mac, address = client.plan.mac, address_of(client)
    names = (_opened(line, mac, address) for line in events(lab, client))
    return [name for name in names if name is not None]


def _opened(line: dict[str, object], mac: str, address: str) -> str | None:
    match line:
        case {"event": "export_opened", "client": client, "export": str(export)} if client == address:
            return export
        case {"event": "target_identified", "mac": owner, "shelf": shelf, "slot": slot} if owner == mac:
            return f"e{shelf}.{slot}"
    return None


def requests(lab: Lab, client: Client) -> list[str]:
    """The files that it asked for, in order; "!" behind those that were not there, "upload" before those it sent."""
    address = address_of(client)
    lines = [line for line in events(lab, client) if line.get("client") == address]
    return [name for line in lines if (name := _request(line)) is not None]


def _request(line: dict[str, object]) -> str | None:
    match line:
        case {"event": "request_finished", "name": name, "method": "GET", "status": status}:
            return f"{name}{'' if status == 200 else '!'}"
        case {"event": "request_refused", "name": name}:
            return f"{name}!"
        case {"event": "request_finished", "name": name, "method": "PUT"}:
            return f"upload {name}"
        case {"event": "transfer_finished", "name": name, "direction": direction}:
            return f"{name}" if direction == "read" else f"upload {name}"
    return None
