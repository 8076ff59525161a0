"""Which clients a run boots: number, firmware and root of each."""

import itertools
from dataclasses import dataclass
from typing import Literal, get_args

# *-http boots by HTTP alone; secure is UEFI with Microsoft's keys, which runs nothing that they don't vouch for.
Firmware = Literal["bios", "uefi", "uefi-http", "secure", "secure-http", "ia32", "arm64", "arm64-secure", "u-boot"]
Root = Literal["nbd", "aoe", "ram"]
BiosLoader = Literal["auto", "pxelinux", "ipxe"]
UefiLoader = Literal["auto", "shim", "ipxe", "grub"]
Card = Literal["virtio", "e1000", "e1000e"]

MAC_PREFIX = "52:54:00:77:00"  # QEMU's own locally used prefix, then 77:00 for this lab
FIRMWARES: tuple[Firmware, ...] = get_args(Firmware)
MIXED: tuple[Firmware, ...] = ("bios", "uefi")  # what "mixed" means: the others are asked for by name
ROOTS: tuple[Root, ...] = get_args(Root)
CARDS: tuple[Card, ...] = get_args(Card)

# On the command line of an emulated machine's kernel. A busy host does not run it for moments, which it would take for
# a broken timer, as PCs have them, and end its boot; or for a lockup, and write so into what is read on its console.
_UNWATCHED = "nowatchdog rcupdate.rcu_cpu_stall_suppress=1"
KERNEL_WORDS = f"console=ttyS0 no_timer_check {_UNWATCHED}"
ARM_KERNEL_WORDS = f"console=ttyAMA0 {_UNWATCHED}"

# Memory per client: OVMF and a root unpacked into RAM both want more than a BIOS guest.
MEMORY_MIB = 1024
BIOS_MEMORY_MIB = 768  # without the firmware of the others, which takes some
RESERVED_MIB = 512  # left to the appliance and to whatever else runs
QEMU_MIB = 192  # what QEMU itself takes beside the guest's memory: translated code, OVMF's flash


@dataclass(frozen=True, slots=True)
class ClientPlan:
    """One client of the lab: `number` names its tap and its MAC."""

    number: int
    firmware: Firmware
    root: Root
    bios_loader: BiosLoader = "auto"  # what a BIOS client is given to load; UEFI ones take no notice
    uefi_loader: UefiLoader = "auto"  # and what a UEFI client is given
    card: Card = "virtio"  # the demo's kernel, Debian's for clouds, drives no other: those are for the firmware alone
    disks: int = 0  # how many disks it has; a BIOS client's are /dev/sda, /dev/sdb, ...
    memory: int | None = None  # MiB, where it is to have another amount than its firmware wants

    @property
    def name(self) -> str:
        """What the screen and the log files call it."""
        return f"client-{self.number:02d}"

    @property
    def mac(self) -> str:
        """Its hardware address, lower case with colons."""
        return f"{MAC_PREFIX}:{self.number:02x}"

    @property
    def tap(self) -> str:
        """The interface on the lab's bridge it is plugged into."""
        return f"tap{self.number}"

    @property
    def memory_mib(self) -> int:
        """Its memory, in MiB."""
        return self.memory or (BIOS_MEMORY_MIB if self.firmware == "bios" else MEMORY_MIB)


def plan_clients(
    count: int,
    firmware: str,
    root: str,
    bios_loader: BiosLoader = "auto",
    uefi_loader: UefiLoader = "auto",
) -> list[ClientPlan]:
    """`count` clients; where `firmware` or `root` is "mixed" they take turns, so that six clients cover each pair."""
    firmwares = itertools.cycle(MIXED if firmware == "mixed" else [f for f in FIRMWARES if f == firmware])
    roots = itertools.cycle(ROOTS if root == "mixed" else [r for r in ROOTS if r == root])
    turns = zip(range(count), firmwares, roots, strict=False)
    return [ClientPlan(number, kind, root, bios_loader, uefi_loader) for number, kind, root in turns]


def bearable(plans: list[ClientPlan], *, cores: int, available_mib: int) -> int:
    """How many of `plans` to run at once: two per core (at least four), and no more than memory bears."""
    largest = max(plan.memory_mib for plan in plans)
    return max(1, min(len(plans), max(4, 2 * cores), (available_mib - RESERVED_MIB) // (largest + QEMU_MIB)))
