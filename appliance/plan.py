"""What each machine boots: settings for all, settings of its own, and what is in the tree, made into one answer."""

from dataclasses import dataclass

from appliance.catalog import Catalog, Entry
from appliance.config import BiosLoader, BootSettings, Config, MachineSettings, Root
from appliance.errors import OperatorError
from appliance.kiwi import client_config
from appliance.menu import IPAPPEND_BOTH, Choice, Menu

KERNEL_PATH = "boot/linux"  # KIWI's names; the menu refers to them
INITRD_PATH = "boot/initrd"
LABEL = "rootwire"


@dataclass(frozen=True, slots=True)
class BootPlan:
    """One machine's boot: how it reaches its root, which image that is, and what is added to its command line."""

    root: Root
    image: str | None
    append: str
    bios_loader: BiosLoader


class Plans:
    """The plan of every machine, from the configuration and the catalogue."""

    def __init__(self, config: Config, catalog: Catalog, *, server: str) -> None:
        """`server` is our IPv4 address: what clients are told to load from and connect to."""
        self._boot = config.boot
        self._machines = config.machines
        self._catalog = catalog
        self._server = server

    def check(self) -> None:
        """Raises: OperatorError when a setting names an image that is not there."""
        places: list[tuple[str, BootSettings | MachineSettings]] = [("boot", self._boot)]
        places += [(f'machines."{mac}"', settings) for mac, settings in self._machines.items()]
        for place, settings in places:
            if settings.image is not None and self._catalog.get(settings.image) is None:
                there = ", ".join(entry.name for entry in self._catalog) or "none"
                raise OperatorError(
                    f"[{place}] image = {settings.image!r} is not in image/", f"put it there, or name one of: {there}"
                )

    def for_machine(self, mac: str | None) -> BootPlan:
        """The plan of the machine `mac`, or of any machine without a table of its own when None."""
        own = self._machines.get(mac) if mac else None
        base = self._boot
        return BootPlan(
            root=(own.root if own else None) or base.root,
            image=(own.image if own else None) or base.image or self._first_image(),
            append=base.append if own is None or own.append is None else own.append,
            bios_loader=(own.bios_loader if own else None) or base.bios_loader,
        )

    def has_own(self, mac: str) -> bool:
        """Whether the configuration has a table for this machine."""
        return mac in self._machines

    def entry(self, mac: str | None) -> Entry | None:
        """The image that the machine boots from, or None while image/ holds none."""
        name = self.for_machine(mac).image
        return None if name is None else self._catalog.get(name)

    def kiwi_config(self, mac: str | None) -> bytes | None:
        """The client configuration of a machine (None: KIWI/config.default); None while there is no image."""
        entry = self.entry(mac)
        if entry is None:
            return None
        root = self.for_machine(mac).root
        return client_config(root, server=self._server, image=entry.name, target=entry.target)

    def menu(self, mac: str | None) -> Menu:
        """The generated menu: boot/linux and boot/initrd, told who we are and that HTTP is the way to ask us."""
        words = f"kiwiserver={self._server} kiwiservertype=http {self.for_machine(mac).append}"
        choice = Choice(LABEL, "", KERNEL_PATH, (INITRD_PATH,), words.strip(), IPAPPEND_BOTH)
        return Menu((choice,), default=LABEL)

    def _first_image(self) -> str | None:
        return next((entry.name for entry in self._catalog), None)
