"""deploy/run: make the demo tree and the lab, boot the clients, say how it went."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from deploy.demo.checksum import expected_md5
from deploy.demo.tree import DemoTree, build_tree
from deploy.lab.arguments import Arguments
from deploy.lab.client import Client
from deploy.lab.console import Mark
from deploy.lab.errors import LabError
from deploy.lab.initrd import build_client_initrd, initrd_inputs
from deploy.lab.lab import Lab, LabSettings
from deploy.lab.peers import Peers
from deploy.lab.plan import ClientPlan, plan_clients
from deploy.lab.screen import Screen
from deploy.lab.server import BootSettings, Rootwire

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO = REPOSITORY / ".demo"
ROOT_NAMES = {"nbd": "NBD", "aoe": "AoE", "ram": "RAM"}
KEPT_RUNS = 60  # folders of logs and consoles: more than all tests make, which read theirs to their end


def demo_tree(screen: Screen) -> DemoTree:
    """The demo tree at its place in the repository, made as far as needed."""
    return build_tree(DEMO, screen, build_client_initrd, initrd_inputs())


def run(arguments: Arguments, screen: Screen) -> int:
    """Do what deploy/run was asked to; returns its exit status."""
    if os.geteuid() != 0:
        screen.say("run: network namespaces and taps need root: run sudo deploy/run")
        return 2
    try:
        tree = demo_tree(screen)
        with screen.step("checksum"):
            expected = expected_md5(tree.image, arguments.files)
        return asyncio.run(_run_lab(arguments, screen, tree, expected))
    except LabError as failure:
        screen.say(f"run: {failure}", "red")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        screen.say("run: stopped; the clients, the appliance and the lab's namespaces are gone")
        return 130


def new_run_folder(name: str, runs: Path = DEMO / "runs") -> Path:
    """Where a new run's logs and consoles go; folders of old runs beyond the last few are removed."""
    runs.mkdir(parents=True, exist_ok=True)
    ended = [folder for folder in runs.iterdir() if not (folder / "tree").exists()]  # a lab that is up has its tree
    for old in sorted(ended, key=lambda folder: folder.stat().st_mtime)[: -(KEPT_RUNS - 1)]:
        shutil.rmtree(old)
    return runs / name


async def _run_lab(arguments: Arguments, screen: Screen, tree: DemoTree, expected: str) -> int:
    _cancel_on_signals()
    loaders = (arguments.bios_loader, arguments.uefi_loader)
    plans = plan_clients(arguments.clients, arguments.firmware, arguments.root, *loaders)
    settings = LabSettings(loss=arguments.loss, arm=arguments.arm, boot=BootSettings(files=arguments.files))
    folder = new_run_folder(f"{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}")
    lab = Lab(folder, tree, plans, settings, Peers if arguments.server == "peers" else Rootwire)
    async with contextlib.AsyncExitStack() as stack:
        with screen.step("lab and appliance") as show:
            await stack.enter_async_context(lab)
            show(f"namespaces {lab.network.name}-lan, -box, -router; log {_shown(lab.folder / 'rootwire.log')}")
        clients = lab.clients()
        with screen.clients(clients) as on_change:
            await lab.boot_clients(clients, on_change)
        check_files(clients, expected)
        screen.timelines(clients)
        status = _verdict(clients, screen)
        if arguments.keep:
            await _keep(lab, screen)
    return status


def _cancel_on_signals() -> None:
    """End in order when told to: asyncio does so by itself for Ctrl-C only. SIGHUP: the terminal was closed."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  # this is a coroutine's own code
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def check_files(clients: Sequence[Client], expected: str) -> None:
    """Fail the clients whose files had another checksum than the image on the server."""
    for client in clients:
        md5 = client.value(Mark.CHECKSUM, "md5")
        if client.failure is None and md5 != expected:
            client.failure = f"read other bytes than the image holds: md5 {md5}, expected {expected}"


def _verdict(clients: Sequence[Client], screen: Screen) -> int:
    booted = [client for client in clients if client.succeeded]
    kinds = ", ".join(dict.fromkeys(_kind(client.plan) for client in booted))
    seconds = [client.seconds_to(Mark.USERSPACE) or 0.0 for client in booted]
    screen.say("")
    if booted:
        spread = f"{min(seconds):.1f} s" if len(booted) == 1 else f"{min(seconds):.1f} to {max(seconds):.1f} s"
        counts = f"{len(booted)} of {len(clients)} clients booted to userspace"
        screen.say(
            f"{counts} in {spread} ({kinds}), files as on the server",
            "bold green" if len(booted) == len(clients) else "bold",
        )
    for client in clients:
        if not client.succeeded:
            screen.say(
                f"{client.plan.name} ({_kind(client.plan)}) failed: {client.failure}; see {client.log}", "bold red"
            )
    return 0 if len(booted) == len(clients) else 1


def _kind(plan: ClientPlan) -> str:
    return f"{plan.firmware.upper()}+{ROOT_NAMES[plan.root]}"


def _shown(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


async def _keep(lab: Lab, screen: Screen) -> None:
    """Wait for Ctrl-C, which ends a lab that was kept as it should end: with the clients' own status."""
    screen.say(f"The lab stays up until Ctrl-C. To look around: ip netns exec {lab.network.box} ss -lnp")
    try:
        await lab.server.watch()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # this is a coroutine's own code
        task.uncancel()
