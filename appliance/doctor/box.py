"""What the doctor examines: the box as it is, gathered once; the checks only judge it."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.host import PROC, Interface, port_holder
from appliance.offers.loaders import SYSTEM
from protocols.dhcp.probe import HeardOffer

OURSELVES = "rootwire ("  # how port_holder names a rootwire that runs
NFT_SECONDS = 10.0  # to list the rules; sets of addresses can be large
EVERYWHERE = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # nft is not in every user's path


@dataclass(frozen=True, slots=True)
class Box:
    """The box, its interface, and what was heard there; `offers` and `rules` are None where we may not look.

    `neighbour` is the program on this box, ourselves aside, that holds port 67, which we `may_share`, as it is set up.
    `gives_addresses`: we are to be the network's DHCP server. `proc` and `system` stand in for /proc and the system's
    root in tests.
    """

    interface: Interface
    address: str
    is_address_named: bool
    interfaces: tuple[Interface, ...]
    root: Path | None
    state: Path | None
    offers: tuple[HeardOffer, ...] | None
    rules: tuple[dict[str, Any], ...] | None
    neighbour: str | None = None
    may_share: bool = True
    gives_addresses: bool = False
    proc: Path = PROC
    system: Path = SYSTEM

    def number(self, name: str) -> int | None:
        """A setting of the kernel below /proc/sys, by its path there; None where this kernel has none."""
        path = self.proc / "sys" / name
        return int(path.read_text()) if path.exists() else None


def find_neighbour() -> str | None:
    """The program on this box that holds port 67, as "name (pid n)"; None for a rootwire that runs, or nobody."""
    holder = port_holder("udp", 67)
    return None if holder is None or holder.startswith(OURSELVES) else holder


def list_rules() -> tuple[dict[str, Any], ...] | None:
    """The kernel's nftables rules, as `nft -j list ruleset` has them; none where nft is not installed.

    None when we may not see them.
    """
    nft = shutil.which("nft", path=EVERYWHERE)
    if nft is None:
        return ()  # who wants rules needs it, and so does Debian's iptables
    done = subprocess.run([nft, "-j", "list", "ruleset"], capture_output=True, timeout=NFT_SECONDS, check=False)
    if done.returncode != 0:
        return None
    return tuple(json.loads(done.stdout)["nftables"]) if done.stdout.strip() else ()
