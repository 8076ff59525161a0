"""The boot server in the lab's box: the appliance itself, started as an operator would start it."""

import asyncio
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import aiohttp

from deploy.lab.errors import LabError
from deploy.lab.network import ROUTER_ADDRESS, Network
from deploy.lab.plan import KERNEL_WORDS, ClientPlan
from deploy.lab.process import start, stop
from deploy.lab.story import Story, fetch_stories

ROOTWIRE = Path(sys.executable).with_name("rootwire")  # of the same .venv
START_LIMIT = 120.0  # seconds from starting the appliance to its first answer, on a machine busy with other things
RECORDED_SECONDS = 600.0  # of a boot: emulated machines take longer than those that the appliance's default is for
ASK_INTERVAL = 0.1  # seconds between attempts to reach it while it starts


class BootServer(Protocol):
    """What serves the clients: started in the box, asked how they do, stopped."""

    async def start(self) -> None:
        """Serve; returns once it answers. Raises: LabError when it does not come up."""
        ...

    async def stories(self) -> Mapping[str, Story]:
        """What it knows of each machine, by MAC."""
        ...

    async def watch(self) -> None:
        """Wait while it serves. Raises: LabError when it ended by itself."""
        ...

    async def stop(self) -> None:
        """End it."""
        ...


@dataclass(frozen=True, slots=True)
class BootSettings:
    """What the appliance is configured with, beside each client's root."""

    files: int = 600  # how many files a client reads from its root
    append: str = f"{KERNEL_WORDS} quiet"
    more: tuple[str, ...] = ()  # lines of [boot]
    machines: bool = True  # whether each client has a table of its own
    tables: str = ""  # the configuration's other tables


OWN_DHCP = f"""
[dhcp]
pool = "10.77.0.50-10.77.0.250"
router = "{ROUTER_ADDRESS}"
lease_time = "1h"
"""


def write_config(path: Path, plans: Sequence[ClientPlan], settings: BootSettings, *, gives_addresses: bool) -> None:
    """The appliance's configuration for these clients, as an operator would write it."""
    lines = [
        "[boot]",
        f'append = "{settings.append} demo.files={settings.files}"',
        *settings.more,
        "",
        "[limits.heat]",
        f"seconds = {RECORDED_SECONDS}",
    ]
    for plan in plans if settings.machines else ():
        lines += [
            "",
            f'[machines."{plan.mac}"]  # {plan.name}',
            f'root = "{plan.root}"',
            f'bios_loader = "{plan.bios_loader}"',
            f'uefi_loader = "{plan.uefi_loader}"',
        ]
    path.write_text("\n".join([*lines, settings.tables, OWN_DHCP if gives_addresses else ""]) + "\n")


class Rootwire:
    """`rootwire serve` in the box, its log in the run's folder, its API on a socket of its own."""

    def __init__(self, network: Network, tree: Path, config: Path, log: Path, *, debug: bool = False) -> None:
        """`debug` has the log tell what clients asked for and did not get, too."""
        self._debug = debug
        self._network = network
        self._tree = tree
        self._config = config
        self._log = log
        # Not in the run's folder: a socket's path has room for 107 bytes only.
        self._socket = Path("/run") / network.name / "api.sock"
        self._process: Process | None = None

    @property
    def socket(self) -> Path:
        """Its API's socket."""
        return self._socket

    async def start(self) -> None:
        """See BootServer.start."""
        self._socket.parent.mkdir(exist_ok=True)  # left behind by one that was killed
        command = [
            *(str(ROOTWIRE), "serve", "--interface", self._network.interface, "--root", str(self._tree)),
            *("--config", str(self._config), "--socket", str(self._socket)),
            *(["--debug"] if self._debug else []),
        ]
        with self._log.open("ab") as log:  # it may be started again
            self._process = await start(command, namespace=self._network.box, stdout=log, stderr=log)
        answering = asyncio.create_task(self._answering())
        ended = asyncio.create_task(self._process.wait())
        try:
            done, _ = await asyncio.wait({answering, ended}, timeout=START_LIMIT, return_when=asyncio.FIRST_COMPLETED)
        finally:
            answering.cancel()
            ended.cancel()
        if answering not in done:
            raise LabError(f"the appliance did not start: {self._last_words()}; its log is {self._log}")
        answering.result()

    async def stories(self) -> Mapping[str, Story]:
        """See BootServer.stories."""
        return await fetch_stories(self._socket)

    async def watch(self) -> None:
        """See BootServer.watch."""
        assert self._process is not None  # noqa: S101  # only a started server is watched
        status = await self._process.wait()
        raise LabError(f"the appliance ended with status {status}: {self._last_words()}; its log is {self._log}")

    async def stop(self) -> None:
        """See BootServer.stop."""
        if self._process is not None:
            await stop(self._process)
        self._socket.unlink(missing_ok=True)
        self._socket.parent.rmdir()

    async def kill(self) -> None:
        """End it as a crash would: nothing that it has begun is finished."""
        assert self._process is not None  # noqa: S101  # only a started server is killed
        self._process.kill()
        await self._process.wait()

    async def _answering(self) -> None:
        """Ask until it answers: the socket is there only once everything is bound."""
        while True:
            try:
                await self.stories()
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(ASK_INTERVAL)
            else:
                return

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"
