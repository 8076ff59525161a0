"""The command line of deploy/run. Standard library only: it is checked before anything is installed."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn, get_args

from deploy.lab.network import Arm

MAX_CLIENTS = 200  # what the lab's DHCP server has addresses for
MAX_LOSS = 50  # per cent, each way; past it TCP makes no headway and no boot ends

FIRMWARES = ("bios", "uefi", "uefi-http", "secure", "secure-http")
ROOTS = ("nbd", "aoe", "ram")
UEFI_LOADERS = ("auto", "shim", "ipxe", "grub")
MIXED = "mixed"

EXAMPLES = """\
examples:
  sudo deploy/run                                       one BIOS client with root over NBD, one UEFI client over AoE
  sudo deploy/run --clients 6                           every firmware with every root, side by side
  sudo deploy/run --clients 1 --firmware uefi --root ram
  sudo deploy/run --clients 1 --secure-boot --arm next-server
  sudo deploy/run --loss 10                             one packet in ten lost, each way
  sudo deploy/run --server peers                        the same two, booted by dnsmasq, nbd-server and vblade
  sudo deploy/run --arm relay --root nbd                clients in another network, behind a DHCP relay
  sudo deploy/run --clients 1 --keep                    leave the lab and the appliance up afterwards, until Ctrl-C

The demo tree, the logs and the clients' consoles are kept in .demo/ at the repository root.
"""


@dataclass(frozen=True, slots=True)
class Arguments:
    """What was asked for on the command line."""

    clients: int
    firmware: str
    root: str
    loss: int
    files: int
    bios_loader: Literal["auto", "pxelinux", "ipxe"]
    uefi_loader: Literal["auto", "shim", "ipxe", "grub"]
    server: Literal["rootwire", "peers"]
    arm: Arm
    keep: bool


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line and status 2, where argparse would print its usage as well."""
        self.exit(2, f"run: {message}; see deploy/run --help\n")


def _number(low: int, high: int) -> "type[int]":
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {low} to {high}")
        return int(text)

    return parse  # type: ignore[return-value]  # argparse only calls it


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="deploy/run",
        description="Boot diskless QEMU clients from the appliance, on a LAN made of network namespaces.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--clients", type=_number(1, MAX_CLIENTS), default=2, metavar="N", help="how many clients (default: 2)")
    add(
        "--firmware",
        choices=(*FIRMWARES, MIXED),
        default=MIXED,
        help="(default: mixed: bios and uefi in turn)",
    )
    add("--secure-boot", dest="firmware", action="store_const", const="secure", help="the same as --firmware secure")
    add("--root", choices=(*ROOTS, MIXED), default=MIXED, help="how they get their root (default: mixed, in turn)")
    add("--loss", type=_number(0, MAX_LOSS), default=0, metavar="PERCENT", help="lose packets, each way (default: 0)")
    add("--files", type=_number(1, 100_000), default=600, metavar="N", help="files each client reads (default: 600)")
    add(
        "--bios-loader",
        choices=("auto", "pxelinux", "ipxe"),
        default="auto",
        help="what BIOS clients load (default: auto)",
    )
    add("--uefi-loader", choices=UEFI_LOADERS, default="auto", help="what UEFI clients load (default: auto)")
    add(
        "--server",
        choices=("rootwire", "peers"),
        default="rootwire",
        help="who serves: rootwire, or dnsmasq, nbd-server and vblade to compare it with (default: rootwire)",
    )
    add(
        "--arm",
        choices=get_args(Arm),
        default="plain",
        help="the network: plain, clients behind a DHCP relay and router, two DHCP servers, one that names the box, "
        "one on the box itself, the box on a tagged VLAN, or no DHCP server but the box (default: plain)",
    )
    add("--keep", action="store_true", help="leave lab and appliance up afterwards, until Ctrl-C")
    return parser


def parse_arguments(words: Sequence[str]) -> Arguments:
    """The arguments in `words`; prints one line and exits 2 when one is wrong, 0 after --help."""
    return Arguments(**vars(_parser().parse_args(words)))


if __name__ == "__main__":
    parse_arguments(sys.argv[1:])
