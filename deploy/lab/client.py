"""One diskless QEMU client: its command line, its console, and what became of it."""

import asyncio
import shutil
import time
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from deploy.lab.console import Console, Mark, Sighting
from deploy.lab.errors import LabError
from deploy.lab.plan import ClientPlan, Firmware
from deploy.lab.process import start, stop
from deploy.lab.story import Story

OVMF = Path("/usr/share/OVMF")
AAVMF = Path("/usr/share/AAVMF")
CARDS = {"virtio": "virtio-net-pci", "e1000": "e1000", "e1000e": "e1000e"}
READ_SIZE = 65536  # bytes of console taken at once
OFF_LIMIT = 60.0  # seconds from done to off; a kernel that was kept from running may lock up there and never get off
DISK_SIZE = 128 << 20  # bytes of each disk, which takes what is written to it only


@dataclass(frozen=True, slots=True)
class Machine:
    """A kind of machine in QEMU: its program, words that make it so, and its firmware, which BIOS brings itself."""

    program: str
    words: tuple[str, ...] = ()
    code: Path = Path()
    variables: Path | None = None
    queue: int | None = None  # frames that may wait for its card; None: as many as a tap has by itself


X64, ARM64 = "qemu-system-x86_64", "qemu-system-aarch64"
ARM_BOARD = ("-M", "virt", "-cpu", "cortex-a57")
NO_PXE = tuple(word for v in (4, 6) for word in ("-fw_cfg", f"name=opt/org.tianocore/IPv{v}PXESupport,string=n"))
# Variables are kept from whoever runs outside of system management mode: else Secure Boot could be switched off.
GUARDED = ("-M", "q35,smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on")

MACHINES: dict[Firmware, Machine] = {
    "bios": Machine(X64),
    "uefi": Machine(X64, ("-M", "q35"), OVMF / "OVMF_CODE_4M.fd", OVMF / "OVMF_VARS_4M.fd"),
    "uefi-http": Machine(X64, ("-M", "q35", *NO_PXE), OVMF / "OVMF_CODE_4M.fd", OVMF / "OVMF_VARS_4M.fd"),
    "secure": Machine(X64, GUARDED, OVMF / "OVMF_CODE_4M.secboot.fd", OVMF / "OVMF_VARS_4M.ms.fd"),
    "secure-http": Machine(X64, (*GUARDED, *NO_PXE), OVMF / "OVMF_CODE_4M.secboot.fd", OVMF / "OVMF_VARS_4M.ms.fd"),
    # Debian builds it with Secure Boot alone, which is off where the variables hold no keys.
    "ia32": Machine(X64, GUARDED, OVMF / "OVMF32_CODE_4M.secboot.fd", OVMF / "OVMF32_VARS_4M.fd"),
    "arm64": Machine(ARM64, ARM_BOARD, AAVMF / "AAVMF_CODE.fd", AAVMF / "AAVMF_VARS.fd"),
    # Its virtio driver never says that it has room again: once its 32 buffers are full it hears nothing more. So many
    # frames are soon there before it first looks, and a tap keeps them, as no cable would. With eight there is room for
    # as many in front of the tap, where some kernels queue too, and for what comes while it looks.
    "u-boot": Machine(ARM64, (*ARM_BOARD, "-bios", "/usr/lib/u-boot/qemu_arm64/u-boot.bin"), queue=8),
    "arm64-secure": Machine(ARM64, ARM_BOARD, AAVMF / "AAVMF_CODE.ms.fd", AAVMF / "AAVMF_VARS.ms.fd"),
}


@dataclass(slots=True)
class Client:
    """A client of a run and its state: what the screen shows and what the run ends with."""

    plan: ClientPlan
    log: Path
    console: Console = field(default_factory=Console)
    began: float | None = None  # monotonic; None while it waits for its turn
    powered_on: float = 0.0  # unix time of the same moment, which the appliance's times are counted from
    ended: float | None = None
    seen: dict[Mark, tuple[float, Sighting]] = field(default_factory=dict)  # when (unix time) and what
    story: Story | None = None  # what the appliance says of it
    failure: str | None = None
    was_stuck: bool = False  # it was done, but did not get off by itself

    @property
    def seconds(self) -> float:
        """How long it has been on, or was."""
        if self.began is None:
            return 0.0
        return (time.monotonic() if self.ended is None else self.ended) - self.began

    @property
    def succeeded(self) -> bool:
        """Whether it reached userspace, read its files and is off."""
        return self.ended is not None and self.failure is None and Mark.DONE in self.seen

    @property
    def stage(self) -> str:
        """The stage it is in, by its own last mark or else by what the appliance saw."""
        if self.began is None:
            return "waiting for its turn"
        if self.failure is not None:
            return "failed"
        for mark, name in _OWN_STAGES:
            if mark in self.seen:
                return name
        if self.story is not None and self.story.steps:
            return self.story.stage
        return next((name for mark, name in _CONSOLE_STAGES if mark in self.seen), "firmware")

    def value(self, mark: Mark, key: str) -> str | None:
        """A value the console gave with `mark`, or None while that has not been seen."""
        return self.seen[mark][1].values[key] if mark in self.seen else None

    def seconds_to(self, mark: Mark) -> float | None:
        """Seconds from power-on to `mark`."""
        return self.seen[mark][0] - self.powered_on if mark in self.seen else None


# Latest first. The first table outranks the appliance's view; the second stands in where there is none.
_OWN_STAGES = ((Mark.CHECKSUM, "done"), (Mark.USERSPACE, "userspace"), (Mark.ROOT, "root mounted"))
_CONSOLE_STAGES = ((Mark.KERNEL, "kernel"), (Mark.LOADER, "loader"))

# What no client recovers from: it would only wait, then reboot.
_HOPELESS = {
    Mark.STRANDED: "its firmware found nothing to boot",
    Mark.REFUSED: "Secure Boot refused its kernel",
    Mark.PANIC: "its kernel panicked",
    Mark.GAVE_UP: "its initramfs gave up",
}


def qemu_command(plan: ClientPlan, folder: Path) -> list[str]:
    """QEMU's command line for `plan`; `folder` receives a UEFI client's own copy of OVMF's variables, and disks.

    A disk that is there already is used as it is: the client's next boot finds what this one leaves.

    Raises: LabError when the firmware is not installed.
    """
    machine = MACHINES[plan.firmware]
    command = [
        *(machine.program, "-name", plan.name, "-accel", "tcg,thread=single", "-m", str(plan.memory_mib)),
        *("-nographic", "-monitor", "none", "-serial", "stdio", "-no-reboot"),
        *("-netdev", f"tap,id=n0,ifname={plan.tap},script=no,downscript=no"),
        *(word for disk in make_disks(plan, folder) for word in ("-drive", f"file={disk},format=raw,if=ide")),
        *machine.words,
    ]
    network = f"{CARDS[plan.card]},netdev=n0,mac={plan.mac},bootindex=1"
    if machine.variables is None:
        return [*command, "-device", network]  # the card's own ROM is iPXE
    if not machine.code.is_file():
        raise LabError(f"{machine.code} is missing: run sudo deploy/setup")
    variables = folder / f"{plan.name}.vars"
    shutil.copy(machine.variables, variables)
    return [
        *(*command, "-device", "virtio-rng-pci"),  # its network stack wants random numbers
        *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={machine.code}"),
        *("-drive", f"if=pflash,unit=1,format=raw,file={variables}"),
        *("-device", f"{network},romfile="),  # without the iPXE ROM, so that its own PXE boots
    ]


def make_disks(plan: ClientPlan, folder: Path) -> list[Path]:
    """The files that are the client's disks, in `folder`; blank ones for those that aren't there yet."""
    disks = [folder / f"{plan.name}.disk{number}" for number in range(plan.disks)]
    for disk in disks:
        with disk.open("ab") as file:
            file.truncate(DISK_SIZE)
    return disks


async def run_client(
    client: Client, command: list[str], *, namespace: str | None, limit: float, on_change: Callable[[Client], None]
) -> None:
    """Power the client on and follow its console until it powers off; `client` says how that went.

    A client that takes longer than `limit` seconds, or panics, is switched off and has failed; one that was done and
    does not get off is switched off, too. Cancelled, this cuts its power: it is killed, whatever it was doing.
    """
    client.began, client.powered_on = time.monotonic(), time.time()
    on_change(client)
    process = await start(command, namespace=namespace, stdout=PIPE, stderr=STDOUT)
    try:
        async with asyncio.timeout(limit) as patience:
            await _follow(client, process, patience, on_change)
            if client.failure is None:
                await process.wait()
    except asyncio.CancelledError:
        process.kill()
        raise
    except TimeoutError:
        client.was_stuck = Mark.DONE in client.seen
        if not client.was_stuck:
            client.failure = f"did not finish within {limit:.0f} s"
    finally:
        await stop(process)
        client.ended = time.monotonic()
    if client.failure is None and Mark.DONE not in client.seen:
        client.failure = f"went off before it was done (QEMU's status {process.returncode})"
    on_change(client)


async def _follow(
    client: Client, process: Process, patience: asyncio.Timeout, on_change: Callable[[Client], None]
) -> None:
    assert process.stdout is not None  # noqa: S101  # it was started with a pipe
    with client.log.open("wb", buffering=0) as log:
        while data := await process.stdout.read(READ_SIZE):
            log.write(data)
            for sighting in client.console.feed(data):
                client.seen[sighting.mark] = (time.time(), sighting)
                if sighting.mark is Mark.DONE:
                    patience.reschedule(asyncio.get_running_loop().time() + OFF_LIMIT)
                on_change(client)
            for mark, words in _HOPELESS.items():
                if mark in client.seen:
                    client.failure = f"{words}: {client.value(mark, 'why')}"
                    return
