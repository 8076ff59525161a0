"""Traps of the boot menu: what KIWI's initrds are told on their kernel command line."""

import re
from collections.abc import Callable, Iterator

from appliance.kiwi.finding import Complaint, error, warning
from appliance.menus.model import Choice

MenuTrap = Callable[[Choice, int], Iterator[Complaint]]

RAMDISK_MAX = 1 << 27  # KiB: 128 GiB; beyond it somebody has counted bytes

_AOE_NAME = re.compile(r"\broot=overlay:aoe=(?!e[0-9]+\.[0-9]+\b)(\S+)")
_RAMDISK = re.compile(r"\bramdisk_size=([0-9]{1,20})\b")
_LOUD_BOOTIF = re.compile(r"\bBOOTIF=\S*[A-F]")


def server_guessed(choice: Choice, line: int) -> Iterator[Complaint]:
    """Documentation's dnsmasq example serves no names, and a ProxyDHCP gives no server to a plain DHCP client."""
    told = "kiwiserver=" in choice.append or choice.ipappend & 1
    if choice.initrds and not told and "root=" not in choice.append:
        effect = "KIWI's initrd looks for a host called tftp in the domain, and gives up"
        yield warning(line, effect, "append kiwiserver=ADDRESS, or set IPAPPEND 3")


def tftp_without_atftp(choice: Choice, line: int) -> Iterator[Complaint]:
    """The script calls atftp for every plain fetch; initrds built for SLE 15 and Leap 15 have none."""
    if "kiwiserver=" in choice.append and "kiwiservertype=" not in choice.append:
        effect = "initrds of SLE 15 and Leap 15 have no atftp: they find no configuration"
        yield warning(line, effect, "append kiwiservertype=http")


def aoe_target_is_no_interface(choice: Choice, line: int) -> Iterator[Complaint]:
    """Documentation's word for it, AOEINTERFACE, looks like the name of a network card."""
    for found in _AOE_NAME.finditer(choice.append):
        yield error(line, f"there is no AoE target called {found[1]}: the client waits for ever", "name one, as e0.1")


def ramdisk_size_in_bytes(choice: Choice, line: int) -> Iterator[Complaint]:
    """Documentation says bytes; the kernel counts KiB."""
    for found in _RAMDISK.finditer(choice.append):
        if int(found[1]) > RAMDISK_MAX:
            yield warning(line, f"ramdisk_size={found[1]} counts KiB, not bytes", f"divide it: {int(found[1]) >> 10}")


def bootif_in_capitals(choice: Choice, line: int) -> Iterator[Complaint]:
    """Only the card's side of the comparison is made lower case."""
    if _LOUD_BOOTIF.search(choice.append):
        yield warning(line, "BOOTIF in capitals matches no card: it is ignored", "write it in lower case")


TRAPS: tuple[MenuTrap, ...] = (
    server_guessed,
    tftp_without_atftp,
    aoe_target_is_no_interface,
    ramdisk_size_in_bytes,
    bootif_in_capitals,
)
