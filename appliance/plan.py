"""What each machine boots: settings for all, settings of its own, and what is in the tree, made into one answer."""

from collections.abc import Callable
from dataclasses import dataclass

from appliance.config import BiosLoader, BootSettings, Config, MachineSettings, Root, UefiLoader
from appliance.deployment.choices import ROOTS, Choices
from appliance.deployment.installs import Installs
from appliance.deployment.survey import Deployment
from appliance.errors import OperatorError
from appliance.images.catalog import Catalog, Entry
from appliance.kiwi.compiler import compile_config
from appliance.kiwi.roots import NOTHING_PRIVATE, Private, root_config
from appliance.menus.model import IPAPPEND_BOTH, Choice, Menu
from appliance.menus.settings import LOCAL, LOCAL_LABEL, MenuSettings, arrange

KERNEL_PATH = "boot/linux"  # KIWI's names; the menu refers to them
INITRD_PATH = "boot/initrd"
LABEL = "rootwire"
ISO_SUFFIX = ".iso"
MENU_SECONDS = 5.0  # where there is something that only a person chooses


@dataclass(frozen=True, slots=True)
class BootPlan:
    """One machine's boot: how it reaches its root, which image that is, and what is added to its command line."""

    root: Root
    image: str | None
    append: str
    bios_loader: BiosLoader
    uefi_loader: UefiLoader


class Plans:
    """The plan of every machine, from the configuration and the catalogue."""

    def __init__(
        self,
        config: Config,
        catalog: Catalog,
        *,
        server: str,
        choices: Choices | None = None,
        installs: Installs | None = None,
        private: Callable[[str], Private] = lambda mac: NOTHING_PRIVATE,
        group_of: Callable[[str], str | None] = lambda mac: None,
    ) -> None:
        """`server` is our IPv4 address: what clients are told to load from and connect to.

        Without `choices` no image boots by itself: the kernel is boot/linux. `installs` are what machines may install,
        `private` gives a machine's own exports, `group_of` names its group.
        """
        self._boot = config.boot
        self._machines = config.machines
        self._catalog = catalog
        self._server = server
        self._choices = choices
        self._installs = installs
        self.private = private
        self._menu = config.menu
        self._group_of = group_of

    def check(self) -> None:
        """Raises: OperatorError when a setting names an image that is not there."""
        places: list[tuple[str, BootSettings | MachineSettings]] = [("boot", self._boot)]
        places += [(f'machines."{mac}"', settings) for mac, settings in self._machines.items()]
        for place, settings in places:
            for key, name in (("image", settings.image), ("write_base", settings.write_base)):
                if name is not None and self._catalog.get(name) is None:
                    there = ", ".join(entry.name for entry in self._catalog) or "none"
                    raise OperatorError(
                        f"[{place}] {key} = {name!r} is not in image/", f"put it there, or name one of: {there}"
                    )
            if settings.uefi_loader == "iso":
                self._check_medium(place, settings.image or self._boot.image)
        complete = self._installs.names() if self._installs else []
        for mac, own in self._machines.items():
            if own.install is not None and own.install not in complete:
                raise OperatorError(
                    f'[machines."{mac}"] install = {own.install!r} is nothing that image/ has all files of',
                    f"take it in by rootwire import, or name one of: {', '.join(complete) or 'none'}",
                )

        for place, menu in self._menu_tables().items():
            if menu.default not in (None, LOCAL_LABEL, LABEL) and self._catalog.get(menu.default) is None:
                raise OperatorError(
                    f"[{place}] default = {menu.default!r} is no choice of any menu",
                    f"name an image in image/, or one of: {LOCAL_LABEL}, {LABEL}",
                )

    def _check_medium(self, place: str, image: str | None) -> None:
        """For all machines no image need be named: each may have one in a table of its own."""
        entry = self._catalog.get(image) if image else None
        if (image or place != "boot") and (entry is None or not is_firmwares(entry)):
            raise OperatorError(
                f'[{place}] uefi_loader = "iso", but its image is {image or "whichever comes first, which is no ISO"}',
                f'name an ISO whose name ends in {ISO_SUFFIX} by image = "..."',
            )

    def _menu_tables(self) -> dict[str, MenuSettings]:
        own = {f'machines."{mac}".menu': machine.menu for mac, machine in self._machines.items() if machine.menu}
        return {**self._menu.all_tables(), **own}

    def for_machine(self, mac: str | None) -> BootPlan:
        """The plan of the machine `mac`, or of any machine without a table of its own when None."""
        own = self._machines.get(mac) if mac else None
        base = self._boot
        image = (own.image if own else None) or base.image or self._first_image()
        return BootPlan(
            root=(own.root if own else None) or self._root(image),
            image=image,
            append=base.append if own is None or own.append is None else own.append,
            bios_loader=(own.bios_loader if own else None) or base.bios_loader,
            uefi_loader=(own.uefi_loader if own else None) or base.uefi_loader,
        )

    def has_own(self, mac: str) -> bool:
        """Whether the configuration has a table for this machine."""
        return mac in self._machines

    def has_own_menu(self, mac: str) -> bool:
        """Whether its menu may be another one than that of any machine."""
        return mac in self._machines or (bool(self._menu.groups) and self._group_of(mac) in self._menu.groups)

    def _arranged(self, menu: Menu, mac: str | None) -> Menu:
        own = self._machines.get(mac) if mac else None
        group = self._group_of(mac) if mac and self._menu.groups else None
        return arrange(menu, self._menu.settle(self.for_machine(mac).image, group, own.menu if own else None))

    def entry(self, mac: str | None) -> Entry | None:
        """The image that the machine boots from, or None while image/ holds none."""
        name = self.for_machine(mac).image
        return None if name is None else self._catalog.get(name)

    def is_stuck(self, entry: Entry) -> bool:
        """Whether an image was looked into, and no way was found in which a loader could boot it."""
        return self._choices is not None and self._choices.is_stuck(entry)

    def kiwi_config(self, mac: str | None) -> bytes | None:
        """The client configuration of a machine (None: KIWI/config.default); None while there is no image."""
        entry = self.entry(mac)
        if entry is None:
            return None
        root = self.for_machine(mac).root
        private = self.private(mac) if mac else NOTHING_PRIVATE
        return compile_config(root_config(root, image=entry.name, target=entry.target, private=private), self._server)

    def menu(self, mac: str | None) -> Menu:
        """The generated menu: boot/linux and boot/initrd, told who we are and that HTTP is the way to ask us."""
        words = f"kiwiserver={self._server} kiwiservertype=http {self.for_machine(mac).append}"
        choice = Choice(LABEL, "", KERNEL_PATH, (INITRD_PATH,), words.strip(), IPAPPEND_BOTH)
        return self._with_installs(mac, (choice,), default=LABEL)

    def image_menu(self, mac: str | None) -> Menu:
        """The menu where images boot by themselves: the machine's image, then others whose command line names them.

        Without an image that machines boot of themselves they go on to their disks, unless a person chooses. While
        there is nothing to boot it has a notice, which says what is waited for or what is missing.
        """
        entry, plan = self.entry(mac), self.for_machine(mac)
        if self._choices is None:
            return Menu((), notice="there is no kernel in boot/linux")
        chosen = LOCAL if entry is None else self._choices.choice(entry, plan.root, plan.append)
        if isinstance(chosen, str):
            return Menu((), notice=chosen)
        rest = [(other, self._root(other.name)) for other in self._catalog if other is not entry]
        offered = [
            self._choices.choice(other, root, plan.append) for other, root in rest if self._is_named(other, root)
        ]
        menu = self._with_installs(mac, (chosen, *_bootable(offered)), default=chosen.label)
        if menu.choices == (LOCAL,):
            return Menu((), notice="there is no image in image/ and no kernel in boot/linux")
        return menu

    def repertoire(self) -> Menu:
        """Every choice of every image by every root: what any machine may be given to load."""
        if self._choices is None:
            return Menu(())
        images = _bootable([self._choices.choice(e, root, "") for e in self._catalog for root in ROOTS])
        return Menu((*images, *(self._installs.choices("") if self._installs else ())))

    def needs_own(self, entry: Entry, found: Deployment) -> bool:
        """Whether a machine is to boot this image by a root that the image's own initramfs can't mount."""
        if entry.is_medium:
            return False
        plans = [self.for_machine(mac) for mac in (None, *self._machines)]
        roots = {plan.root for plan in plans if plan.image == entry.name}
        return self._choices is not None and any(self._choices.needs_own(entry, found, root) for root in roots)

    def _with_installs(self, mac: str | None, choices: tuple[Choice, ...], *, default: str) -> Menu:
        """A menu of these choices and of what can be installed, shown for a while where a person has to choose."""
        own = self._machines.get(mac) if mac else None
        installs = self._installs.choices(self.for_machine(mac).append) if self._installs else []
        if own is not None and own.install is not None and self._installs is not None:
            label = self._installs.label(own.install)
            if any(choice.label == label for choice in installs):
                return Menu((*choices, *installs), default=label)
        seconds = self._boot.menu_seconds
        if seconds is None:
            seconds = MENU_SECONDS if installs or any(self._is_medium(choice.label) for choice in choices[1:]) else 0.0
        return self._arranged(Menu((*choices, *installs), default=default, timeout=seconds), mac)

    def _is_medium(self, image: str) -> bool:
        entry = self._catalog.get(image)
        return entry is not None and entry.is_medium

    def _is_named(self, entry: Entry, root: Root) -> bool:
        return self._choices is not None and self._choices.is_named(entry, root)

    def _root(self, image: str | None) -> Root:
        """How an image is reached where the machine's own table does not say."""
        if image is None or self._choices is None:
            return self._boot.root or ROOTS[0]
        ruled, natural = self._choices.ruled_root(image), self._choices.natural_root(image)
        if self._is_medium(image):  # most have one way only
            return ruled or natural or ROOTS[0]
        return ruled or self._boot.root or natural or ROOTS[0]

    def _first_image(self) -> str | None:
        """What machines boot that nothing is said of: no medium, which may be there to write over a disk."""
        return next((entry.name for entry in self._catalog if not entry.is_medium), None)


def is_firmwares(entry: Entry) -> bool:
    """Whether firmware could make a disk of the image: an ISO that it knows for one by its name (quirks H-3)."""
    return entry.is_medium and entry.name.lower().endswith(ISO_SUFFIX)


def _bootable(offered: list[Choice | str]) -> list[Choice]:
    return [choice for choice in offered if isinstance(choice, Choice)]
