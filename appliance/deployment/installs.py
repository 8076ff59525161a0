"""Disk images that machines install: menu choices for those of which everything is there that the client asks for.

The client is KIWI's: its initramfs that installs fetches NAME.xz and what is beside it, by the names in beside.py, and
writes over the disk that it finds or is told of. Nothing here is ever the choice of a machine that is not told so.
"""

import os
from pathlib import Path

from appliance.deployment.beside import (
    INITRD_SUFFIX,
    INSTALLER_PREFIX,
    KERNEL_SUFFIX,
    PACKED_DISK_SUFFIX,
    read_words,
)
from appliance.deployment.cmdline import IPAPPEND_BOTH, IPAPPEND_CARD
from appliance.images.catalog import CHECKSUM_SUFFIXES
from appliance.kiwi.names import is_safe_name
from appliance.menus.model import Choice

INSTALLS_MOST = 64  # menus have an end
LABEL = "install-"
# KIWI's client before it was dracut's: it has the name of its image inside, and asks for it in the tree.
LEGACY = "pxe=1"


class Installs:
    """Looks for them in image/; its methods may wait for the disk."""

    def __init__(self, folder: Path, *, server: str) -> None:
        """`folder` is image/, `server` our IPv4 address."""
        self._folder = folder
        self._server = server

    def names(self) -> list[str]:
        """What can be installed, in name order."""
        if not self._folder.is_dir():
            return []
        files = {entry.name for entry in os.scandir(self._folder)}
        installers = (
            name.removeprefix(INSTALLER_PREFIX).removesuffix(INITRD_SUFFIX)
            for name in files
            if name.startswith(INSTALLER_PREFIX) and name.endswith(INITRD_SUFFIX)
        )
        return sorted(name for name in installers if is_safe_name(name) and _is_complete(name, files))[:INSTALLS_MOST]

    def choices(self, append: str) -> list[Choice]:
        """A choice for each, with `append` added to its words."""
        return [self._choice(name, append) for name in self.names()]

    def label(self, name: str) -> str:
        """The label of what installs `name`."""
        return f"{LABEL}{name}"

    def _choice(self, name: str, append: str) -> Choice:
        own = read_words(self._folder, name)
        if LEGACY in own.split():
            words, ipappend = f"kiwiserver={self._server} kiwiservertype=http", IPAPPEND_BOTH
        else:
            url = f"http://{self._server}/image/{name}{PACKED_DISK_SUFFIX}"
            words, ipappend = f"rd.kiwi.install.pxe rd.kiwi.install.image={url} ip=dhcp rd.neednet=1", IPAPPEND_CARD
        return Choice(
            self.label(name),
            f"Install {name} (writes over a disk)",
            f"image/{name}{KERNEL_SUFFIX}",
            (f"image/{INSTALLER_PREFIX}{name}{INITRD_SUFFIX}",),
            " ".join(part for part in (words, own, append) if part),
            ipappend,
        )


def _is_complete(name: str, files: set[str]) -> bool:
    has_sum = any(f"{name}{suffix}" in files for suffix in CHECKSUM_SUFFIXES)
    return has_sum and {f"{name}{KERNEL_SUFFIX}", f"{name}{PACKED_DISK_SUFFIX}"} <= files
