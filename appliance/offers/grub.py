"""GRUB linked for this box: from Debian's modules, with our address built in.

Debian's own builds take their server from the answer of the DHCP server that gave the address, and never from a
ProxyDHCP's: beside a DHCP server that does not name us they ask somebody else for their configuration, for minutes
(quirks G-1, G-3). One that is linked here asks us. It is signed by nobody, so Secure Boot does not let it run.
"""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from appliance.menus.files import GRUB_DEFAULT
from appliance.offers.loaders import LINKED, MKIMAGE, SYSTEM, LinkedGrub, find_loader_file, find_modules

MODULES = (
    *("efinet", "tftp", "http", "net", "normal", "configfile", "linux", "boot", "echo", "test", "true", "sleep"),
    *("reboot", "halt", "minicmd", "ls", "cat", "regexp", "chain", "part_gpt", "part_msdos", "fat", "ext2", "gzio"),
)
LINK_SECONDS = 60.0  # it takes a fraction of one

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Linker:
    """Finds loaders, and links those that are to be linked when they are first asked for."""

    folder: Path  # where they are kept
    server: str  # our IPv4 address
    root: Path = SYSTEM

    def find(self, name: str) -> Path | None:
        """The file of a loader, as find_loader_file has it, or one that was linked; None when that is not possible."""
        grub = LINKED.get(name)
        if grub is None:
            return find_loader_file(name, self.root)
        modules = find_modules(grub, self.root)
        if modules is None:
            return None
        age = (modules / "kernel.img").stat().st_mtime_ns  # a security update brings other modules
        made = self.folder / f"{self.server}-{age:x}-{name}"
        if not made.is_file():
            try:
                self._link(grub, modules, made)
            except (OSError, subprocess.SubprocessError) as failure:
                log.error("grub_link_failed", loader=name, cause=str(failure), remedy=f"apt install {MKIMAGE.package}")
                return None
        return made

    def _link(self, grub: LinkedGrub, modules: Path, made: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._start() as start:
            new = made.with_name(f"{made.name}.{os.getpid()}.new")
            command = [str(self.root / MKIMAGE.path), "-O", grub.platform, "-d", str(modules), "-p", "/grub"]
            command += ["-c", str(start), "-o", str(new), *MODULES]
            subprocess.run(command, check=True, capture_output=True, timeout=LINK_SECONDS)
            new.replace(made)
        log.info("grub_linked", loader=grub.name, bytes=made.stat().st_size)

    @contextlib.contextmanager
    def _start(self) -> Iterator[Path]:
        """The commands that it runs first, by a parser that knows neither quotes nor conditions."""
        lines = f"set root=tftp,{self.server}\nset prefix=(tftp,{self.server})/grub\n"
        with tempfile.NamedTemporaryFile("w", suffix=".cfg", dir=self.folder) as file:
            file.write(f"{lines}normal (tftp,{self.server})/{GRUB_DEFAULT}\n")
            file.flush()
            yield Path(file.name)
