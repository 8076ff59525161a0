"""How long a machine may stay in each stage, and what to tell a human when it stays longer."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from appliance.timeline.machine import Machine
from appliance.timeline.stage import Stage


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds a stage may last before it is worth a word, and that word."""

    seconds: float
    hint: str


@dataclass(frozen=True, slots=True)
class Overdue:
    """A machine that waits too long: in which stage, since when (seconds), and what to look at."""

    stage: Stage
    seconds: float
    hint: str


# The two last stages are missing on purpose: a machine may run from its root for weeks without a word.
PATIENCE: Mapping[Stage, Patience] = MappingProxyType(
    {
        # We answer within milliseconds, or never.
        Stage.DISCOVERED: Patience(
            5.0, "asked, but got no offer: no boot loader for its architecture, or its configuration excludes it"
        ),
        # Firmware waits about 4 s for further offers before it picks one; a DHCP server may take some seconds more.
        Stage.OFFERED: Patience(
            20.0,
            "offered, but asked for no file: its firmware took another answer, or none. Is there another ProxyDHCP "
            "server? Does the DHCP server set next-server or a boot file (options 66, 67)? Is there a DHCP server?",
        ),
        # Its first request for a file follows at once, or its first on port 4011.
        Stage.LEASED: Patience(
            20.0, "has its address, but asked for no file: its firmware did not take the offer's boot file"
        ),
        # EDK2 asks four times, waiting 1, 2, 3 and 4 s.
        Stage.BOOT_SERVER: Patience(
            20.0, "answered on port 4011, but asked for no file: does a firewall block UDP 4011 or 69?"
        ),
        # Loaders are up within seconds; iPXE's own DHCP takes up to 10 s behind a port with spanning tree.
        Stage.LOADER: Patience(
            30.0,
            "loaded its boot program, but asked for no configuration: the program is for other firmware, "
            "Secure Boot refuses it, or it finds no network of its own",
        ),
        # A menu's usual timeout is 5 to 20 s.
        Stage.CONFIG: Patience(
            30.0, "has its boot configuration, but asked for no kernel: a menu waits for a key, or it names no kernel"
        ),
        # An initrd follows its kernel at once; this counts from the kernel's last byte.
        Stage.KERNEL: Patience(
            30.0,
            "asked for its kernel, but for no initrd: the transfer stalled, or the boot configuration names no initrd",
        ),
        # Unpacking, drivers, a link behind spanning tree (30 s), two rounds of DHCP (40 s).
        Stage.INITRD: Patience(
            90.0,
            "has its initrd, but nothing came from it: look at its console. Too little memory, no driver for its "
            "network card, no DHCP answer, or kiwiserver= points elsewhere",
        ),
        # The aoe driver asks once a minute when it missed our advertisement.
        Stage.CLIENT_CONFIG: Patience(
            90.0,
            "has its client configuration, but opened no root: does the configuration name an export, target or "
            "image that exists here? Does a firewall block TCP 10809?",
        ),
        # Large images, verified at the end; counts from the last bytes known to have moved.
        Stage.ROOT_LOADING: Patience(
            600.0,
            "its RAM image is not complete: too little memory, a checksum that never matches, or a slow line",
        ),
    }
)


def find_overdue(machine: Machine, now: float, factor: float = 1.0) -> Overdue | None:
    """What to say of a machine at unix time `now`; None while it is within patience or has its root.

    Waiting counts from when the stage was reached or bytes last moved in it: a slow transfer is no stall, while
    repeated requests that bring nothing are. `factor` multiplies every patience, for slow lines.
    """
    if machine.boot is None or not machine.boot.steps:
        return None
    step = machine.boot.furthest
    patience = PATIENCE.get(step.stage)
    seconds = now - max(step.at, step.moved)
    if patience is None or seconds <= patience.seconds * factor:
        return None
    return Overdue(step.stage, seconds, patience.hint)
