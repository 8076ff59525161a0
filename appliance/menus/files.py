"""The menu files that loaders ask for by name, in the order in which each looks for its own.

PXELINUX, and U-Boot's pxe command: pxelinux.cfg/ and the machine's UUID, 01-MAC, its address in hexadecimal digits
fewer and fewer, then default (U-Boot has default-ARCH-SOC-BOARD, default-ARCH-SOC and default-ARCH before that,
and boot.scr.uimg before all).
GRUB: grub.cfg-01-MAC and grub.cfg-ADDRESS alike, then grub.cfg, in a folder that each distribution names otherwise.
iPXE: the script that its offer names. A file of the operator's comes first under each of these names.
"""

import re
from collections.abc import Callable

from appliance.menus.grub import render_grub, render_start
from appliance.menus.ipxe import render_ipxe
from appliance.menus.model import Menu
from appliance.menus.pxelinux import render_pxelinux
from appliance.menus.uboot import SCRIPT_NAME, render_uboot
from protocols.ethernet import format_mac, parse_mac

PXELINUX_DEFAULT = "pxelinux.cfg/default"
GRUB_DEFAULT = "grub/grub.cfg"

_MAC = r"((?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2})"
_PXELINUX_MAC = re.compile(rf"pxelinux\.cfg/01-{_MAC}")
_IPXE_SCRIPT = re.compile(rf"boot(?:-{_MAC})?\.ipxe")
_GRUB_START = re.compile(rf"(?:[^/]+/){{0,3}}grub\.cfg(?:-(?:01-)?{_MAC})?")
_GRUB_MENU = re.compile(rf"grub/menu(?:-{_MAC})?\.cfg")
# GRUB asks for lists of its modules beside itself; a build that has all of them inside needs none, but says so on the
# screen for each that is missing (quirks T-5).
_GRUB_LISTS = re.compile(r"(?:[^/]+/){0,3}[a-z0-9_]+-efi/(?:command|crypto|fs|terminal)\.lst")


def ipxe_script_name(mac: str | None) -> str:
    """The name under which the iPXE script of a machine is served; None: of any machine."""
    return f"boot-{mac.replace(':', '-')}.ipxe" if mac else "boot.ipxe"


class MenuFiles:
    """Makes each file when it is asked for."""

    def __init__(
        self,
        *,
        server: str,
        menu: Callable[[str | None], Menu],
        has_own: Callable[[str], bool],
        has_file: Callable[[str], bool],
    ) -> None:
        """`server` is our IPv4 address; `menu` gives a machine's by its MAC, or any machine's when None.

        `has_own(mac)` says whether a machine's menu may be another one than everybody's, `has_file(path)` whether the
        operator put such a file into the tree.
        """
        self._server = server
        self._menu = menu
        self._has_own = has_own
        self._has_file = has_file

    def read(self, path: str) -> bytes | None:
        """What the file at `path`, relative to the tree's root, holds; None when it is none of these."""
        if path == SCRIPT_NAME:
            return render_uboot()
        if path == PXELINUX_DEFAULT:
            return render_pxelinux(self._menu(None))
        if found := _PXELINUX_MAC.fullmatch(path):
            mac = _mac_of(found)
            own = mac is not None and self._has_own(mac) and not self._has_file(PXELINUX_DEFAULT)
            return render_pxelinux(self._menu(mac), name=path) if own else None
        if found := _IPXE_SCRIPT.fullmatch(path):
            return render_ipxe(self._menu(_mac_of(found)), server=self._server, name=path)
        return self._grub(path)

    def _grub(self, path: str) -> bytes | None:
        if found := _GRUB_MENU.fullmatch(path):
            mac = _mac_of(found)
            return render_grub(self._menu(mac), mac=mac)
        if _GRUB_START.fullmatch(path) and not self._has_file(GRUB_DEFAULT):
            return render_start(self._server)
        return b"" if _GRUB_LISTS.fullmatch(path) else None


def _mac_of(found: re.Match[str]) -> str | None:
    return format_mac(parse_mac(found[1])) if found[1] else None
