"""The same clients booted by what people use today: dnsmasq (ProxyDHCP and TFTP), nbd-server, vblade.

For `deploy/run --server peers`: the yardstick that the appliance is held against, with the very kernel, initramfs and
image that it serves. What the appliance makes up has to be written by hand here: menu, script, client configurations.
"""

import asyncio
import hashlib
import shutil
from asyncio.subprocess import Process
from collections.abc import Mapping
from pathlib import Path

from appliance.config import Config, load_config
from appliance.kiwi.compiler import compile_config
from appliance.kiwi.roots import root_config
from appliance.kiwi.sums import checksum_line
from appliance.offers.loaders import LOADER_FILES, SYSTEM
from deploy.lab.errors import LabError
from deploy.lab.network import BOX_ADDRESS, Network
from deploy.lab.packages import unpack_packages
from deploy.lab.process import start, stop
from deploy.lab.story import Story

LOADERS = ("pxelinux.0", "ldlinux.c32", "snponly.efi")
SCRIPT = "lab.ipxe"
TARGET = "e0.1"


class Peers:
    """dnsmasq, nbd-server and vblade in the box, configured for the clients of the lab's rootwire.toml."""

    def __init__(self, network: Network, tree: Path, config: Path, log: Path) -> None:
        self._network = network
        self._tree = tree
        self._config = config
        self._log = log
        self._processes: list[Process] = []

    async def start(self) -> None:
        """See BootServer.start."""
        config = load_config(self._config)
        [image] = (self._tree / "image").iterdir()
        await asyncio.to_thread(self._write_tree, config, image)
        nbd_server = await asyncio.to_thread(unpack_nbd_server, self._log.parent)
        nbd_config = self._log.with_name("nbd-server.conf")
        nbd_config.write_text(
            f"[generic]\n user = root\n group = root\n[{image.name}]\n exportname = {image}\n readonly = true\n"
        )
        for command in (
            self._dnsmasq(),
            [str(nbd_server), "-d", "-C", str(nbd_config)],
            ["vblade", "-r", *TARGET.removeprefix("e").split("."), "eth0", str(image)],
        ):
            with self._log.open("ab") as log:
                self._processes.append(await start(command, namespace=self._network.box, stdout=log, stderr=log))

    async def stories(self) -> Mapping[str, Story]:
        """See BootServer.stories: they know nothing of machines."""
        return {}

    async def watch(self) -> None:
        """See BootServer.watch."""
        ended = [asyncio.create_task(process.wait()) for process in self._processes]
        try:
            await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in ended:
                task.cancel()
        raise LabError(f"one of the peers ended by itself; their log is {self._log}")

    async def stop(self) -> None:
        """See BootServer.stop."""
        for process in self._processes:
            await stop(process)

    def _dnsmasq(self) -> list[str]:
        return [
            *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--bind-interfaces"),
            *("--interface=eth0", f"--dhcp-range={BOX_ADDRESS.rsplit('.', 1)[0]}.0,proxy"),
            *("--dhcp-userclass=set:ipxe,iPXE", "--pxe-service=tag:!ipxe,x86-64_EFI,boot,snponly.efi"),
            *("--pxe-service=x86PC,boot,pxelinux", f"--dhcp-boot=tag:ipxe,{SCRIPT}"),
            *("--enable-tftp", f"--tftp-root={self._tree}", "--pid-file=", "--user=root", "--group=root"),
            f"--log-facility={self._log.with_name('dnsmasq.log')}",
        ]

    def _write_tree(self, config: Config, image: Path) -> None:
        for name in LOADERS:
            file = LOADER_FILES[name]
            shutil.copy(SYSTEM / file.folder / name, self._tree / name)
        words = f"{config.boot.append} kiwiserver={BOX_ADDRESS} kiwiservertype=tftp"
        (self._tree / "pxelinux.cfg").mkdir()
        (self._tree / "pxelinux.cfg/default").write_text(
            f"DEFAULT lab\nLABEL lab\n  kernel boot/linux\n  append initrd=boot/initrd {words}\n  ipappend 3\n"
        )
        base = f"tftp://{BOX_ADDRESS}"
        (self._tree / SCRIPT).write_text(
            f"#!ipxe\nkernel {base}/boot/linux initrd=initrd {words}\ninitrd --name initrd {base}/boot/initrd\nboot\n"
        )
        (self._tree / "KIWI").mkdir()
        for mac, settings in config.machines.items():
            text = compile_config(root_config(settings.root or "nbd", image=image.name, target=TARGET), BOX_ADDRESS)
            (self._tree / "KIWI" / f"config.{mac.upper()}").write_bytes(text)
        with image.open("rb") as content:
            digest = hashlib.file_digest(content, "md5").hexdigest()
        image.with_name(f"{image.name}.md5").write_bytes(checksum_line(digest, image.stat().st_size))


def unpack_nbd_server(folder: Path) -> Path:
    """nbd-server out of Debian's package. Raises: LabError."""
    place = folder / "nbd-server"
    unpack_packages(place, "nbd-server")
    return place / "bin/nbd-server"
