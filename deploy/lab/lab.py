"""A running lab: the LAN, the plain DHCP server, the boot server, and the clients booted in it."""

import asyncio
import os
import shutil
from asyncio.subprocess import Process
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from deploy.lab.client import MACHINES, Client, qemu_command, run_client
from deploy.lab.errors import LabError
from deploy.lab.network import Arm, Network
from deploy.lab.plan import ClientPlan, bearable
from deploy.lab.process import start, stop
from deploy.lab.routers import router_commands
from deploy.lab.server import BootServer, BootSettings, Rootwire, write_config

POLL_INTERVAL = 0.5  # seconds between looks at the appliance's timeline
BOOT_LIMIT = 300.0  # seconds a client gets: ten times what it takes alone on an idle machine
LOSSY_BOOT_LIMIT = 900.0  # seconds with packet loss: every lost answer costs firmware a time-out of its own

OnChange = Callable[[Client], None]
MakeServer = Callable[[Network, Path, Path, Path], BootServer]  # network, tree, configuration, log


class BootTree(Protocol):
    """What is served: files below a root, which the lab links into a tree of its own."""

    @property
    def root(self) -> Path:
        """The folder that the files' places are counted from."""
        ...

    @property
    def files(self) -> Sequence[Path]:
        """The files, below `root`."""
        ...


@dataclass(frozen=True, slots=True)
class LabSettings:
    """How a lab is set up, beside its clients."""

    loss: int = 0  # per cent of packets lost, each way
    limit: float = BOOT_LIMIT  # seconds each client gets; with loss it gets LOSSY_BOOT_LIMIT
    arm: Arm = "plain"
    boot: BootSettings = field(default_factory=BootSettings)


def available_mib() -> int:
    """Memory that can be had without swapping, in MiB."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) // 1024


@contextmanager
def one_failure() -> Iterator[None]:
    """Turn a task group's LabErrors into the first of them: it has a line for the user, the group has none."""
    try:
        yield
    except* LabError as group:
        failure: BaseException = group
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
        raise failure from None


def link_tree(tree: BootTree, root: Path) -> None:
    """A tree of this lab's own, of hard links: what clients upload, or a test adds, stays out of the others."""
    for source in tree.files:
        target = root / source.relative_to(tree.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)


class Lab:
    """One lab for the clients in `plans`, up inside `async with`; nothing of it is left afterwards but its folder."""

    def __init__(
        self,
        folder: Path,
        tree: BootTree,
        plans: Sequence[ClientPlan],
        settings: LabSettings | None = None,
        make_server: MakeServer = Rootwire,
    ) -> None:
        """`folder` is new and on the same file system as `tree`; logs and consoles are written there."""
        self.folder = folder
        self.plans = list(plans)
        self.settings = settings or LabSettings()
        self.network = Network(max(plan.number for plan in plans) + 1, loss=self.settings.loss, arm=self.settings.arm)
        self.root = folder / "tree"
        self.server = make_server(self.network, self.root, folder / "rootwire.toml", folder / "rootwire.log")
        self._tree = tree
        self._routers: list[Process] = []
        self._stack = ExitStack()

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True)
        link_tree(self._tree, self.root)
        gives_addresses = self.settings.arm == "own-dhcp"
        write_config(self.folder / "rootwire.toml", self.plans, self.settings.boot, gives_addresses=gives_addresses)
        self._stack.enter_context(self.network)
        try:
            for namespace, command in router_commands(self.network, self.folder):
                self._routers.append(await start(command, namespace=namespace))
            await self.server.start()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    def clients(self, plans: Sequence[ClientPlan] | None = None, *, attempt: int = 1) -> list[Client]:
        """Clients that are still off, for `plans` or all of the lab's; each attempt has consoles of its own."""
        suffix = f".{attempt}" if attempt > 1 else ""
        return [
            Client(plan, self.folder / f"{plan.name}{suffix}.console")
            for plan in (self.plans if plans is None else plans)
        ]

    async def boot(self, on_change: OnChange = lambda client: None) -> list[Client]:
        """Boot every client, as many at once as this machine bears, and return them when all have ended.

        Raises: LabError when the appliance ends meanwhile.
        """
        clients = self.clients()
        await self.boot_clients(clients, on_change)
        return clients

    async def boot_clients(self, clients: Sequence[Client], on_change: OnChange = lambda client: None) -> None:
        """Like boot, with clients the caller has already in hand."""
        limit = LOSSY_BOOT_LIMIT if self.settings.loss else self.settings.limit
        turns = asyncio.Semaphore(bearable(self.plans, cores=os.cpu_count() or 1, available_mib=available_mib()))

        async def take_turn(client: Client) -> None:
            command = qemu_command(client.plan, self.folder)
            queue = MACHINES[client.plan.firmware].queue
            if queue is not None:
                self.network.set_queue(client.plan.tap, queue)
            async with turns:
                await run_client(client, command, namespace=self.network.lan, limit=limit, on_change=on_change)

        with one_failure():
            async with asyncio.TaskGroup() as group:
                watchers = [group.create_task(self.server.watch()), group.create_task(self._follow(clients, on_change))]
                await asyncio.gather(*(take_turn(client) for client in clients))
                for watcher in watchers:
                    watcher.cancel()
        await self._refresh(clients, on_change)

    async def _follow(self, clients: Sequence[Client], on_change: OnChange) -> None:
        while True:
            await self._refresh(clients, on_change)
            await asyncio.sleep(POLL_INTERVAL)

    async def _refresh(self, clients: Sequence[Client], on_change: OnChange) -> None:
        """Take what the appliance knows of each client that is on."""
        stories = await self.server.stories()
        for client in clients:
            story = stories.get(client.plan.mac)
            if story is not None and story != client.story and client.began is not None:
                client.story = story
                on_change(client)

    async def _close(self) -> None:
        """Stop what runs, by pid, then take the network away from under nobody."""
        try:
            await self.server.stop()
            for router in self._routers:
                await stop(router)
        finally:
            self._stack.close()
        for leftover in self.folder.glob("*.vars"):
            leftover.unlink()
        shutil.rmtree(self.root)
