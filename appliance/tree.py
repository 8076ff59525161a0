"""The boot tree: every name a client can ask for, whether a file under the root, generated, or a Debian loader.

The same names are served over TFTP and HTTP. Nothing outside the root is reachable, by `..`, absolute path,
backslash or symbolic link; Debian's loaders are, by a fixed list of names. image/NAME/-/PATH is a file inside the
squashfs or ISO NAME, whose symbolic links lead nowhere outside of it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from appliance.deployment.cmdline import EXTRA, TREE_INITRDS
from appliance.deployment.deployments import OwnInitrd
from appliance.enrolment.members import Members
from appliance.images import arrivals
from appliance.images.catalog import Catalog, Entry
from appliance.images.checksums import Checksums
from appliance.images.sumfiles import SumFiles, find_image
from appliance.kiwi.answers import Answers
from appliance.kiwi.finding import Finding
from appliance.kiwi.names import mac_asked_for
from appliance.kiwi.publisher import Publisher
from appliance.menus.files import PXELINUX_DEFAULT, MenuFiles
from appliance.menus.model import Menu
from appliance.menus.pxelinux import parse_pxelinux
from appliance.names import IMAGES, STATE, UPLOADS, normalise, split_inside
from appliance.offers.loaders import find_loader_file
from appliance.plan import KERNEL_PATH, Plans, is_firmwares
from storage.errors import StorageError
from storage.image import BytesImage, FileImage, Image
from storage.iso9660 import Iso
from storage.squashfs import Squashfs

KIWI_FILES = ("kiwi/config.", "kiwi/hardware_config.")  # in any case: clients never get such a file as it is
MENU_MAX = 64 << 10  # bytes of an operator's menu that are read: PXELINUX's own limit


class Tree:
    """Opens what clients ask for by name."""

    def __init__(
        self,
        root: Path,
        *,
        catalog: Catalog,
        plans: Plans,
        server: str,
        checksums: Checksums | None = None,
        own_initrd: Callable[[str], OwnInitrd] = lambda image: OwnInitrd(),
        members: Members | None = None,
        find_loader: Callable[[str], Path | None] = find_loader_file,
        prepare: Callable[[str, str], Awaitable[None]] | None = None,
    ) -> None:
        """`root` is the boot tree's folder, `server` our IPv4 address; without `checksums` there are none but files.

        `prepare(mac, client)` is awaited before the client configuration of `mac` is made for the address `client`.
        """
        self._root = root.resolve()
        self._catalog = catalog
        self._plans = plans
        publisher = Publisher(self._root, server=server, kept=self._root / STATE / "kiwi")
        self.answers = Answers(publisher, plans, members)
        self.sums = SumFiles(self._root, catalog, checksums, inside=self._inside) if checksums else None
        self._own_initrd = own_initrd
        self._find_loader = find_loader
        self._menus = MenuFiles(server=server, menu=self.menu, has_own=plans.has_own_menu, has_file=self.has_file)
        self._prepare = prepare

    async def open(self, name: str, client: str) -> Image:
        """What `name` stands for; `client` is the asker's IPv4 address.

        A file under the root wins over a generated one, and that over a loader of Debian's.
        Raises: FileNotFoundError when there is no such thing, PermissionError when it may not be had, StorageError
        when the image it lies in is damaged or can't be read.
        """
        within = self._split_inside(name)
        if within is not None:
            return await asyncio.to_thread(self._open_inside, *within)
        path = normalise(name)
        if path.split("/", 1)[0].casefold() in (UPLOADS, STATE):
            raise PermissionError("uploads are not served back, nor is what the appliance remembers")
        if self._prepare is not None and (mac := mac_asked_for(path)) is not None:
            await self._prepare(mac, client)
        # A tree may lie on a sleeping disk or another machine: looking for a file must not hold up the others.
        made = await self.sums.open(path) if self.sums else None
        found = _generated(made) or await asyncio.to_thread(self._find, path)
        if found is None:
            raise FileNotFoundError(name)
        return found

    def _split_inside(self, name: str) -> tuple[Entry, str] | None:
        parts = split_inside(name)
        if parts is None or not parts[0].startswith(IMAGES):
            return None
        entry = find_image(self._catalog, parts[0].removeprefix(IMAGES))
        return None if entry is None else (entry, parts[1])

    def _open_inside(self, entry: Entry, path: str) -> Image:
        files = entry.inside
        if files is None:
            raise FileNotFoundError(f"{entry.name} holds no files that could be read")
        found = _look_up(files, path) or _look_up(files, path.replace("\\", "/"))  # a name may have a backslash in it
        if found is None:
            raise FileNotFoundError(f"{path!r} is no file in {entry.name}")
        # Files of an ISO lie in it as they are.
        return found if entry.is_medium else self._catalog.unpacked.take(entry.name, found)

    def _find(self, path: str) -> Image | None:
        if path.casefold().startswith(KIWI_FILES):
            return _generated(self.answers.open(path))
        return (
            self._file(path)
            or self._menu(path)
            or self._initrd(path)
            or self._loader(path)
            or self._unversioned_image(path)
        )

    def menu(self, mac: str | None) -> Menu:
        """The machine's menu: the operator's pxelinux.cfg/default, else the generated one. Reads files: may wait."""
        own = self._file(PXELINUX_DEFAULT)
        if own is None:
            return self._plans.menu(mac) if self.has_file(KERNEL_PATH) else self._plans.image_menu(mac)
        text = own.read_at(0, min(own.size, MENU_MAX)).decode(errors="replace")
        return parse_pxelinux(text)

    def repertoire(self) -> Menu:
        """Every choice that any machine may be given: what is a kernel, and what an initrd. Reads files: may wait."""
        return self._plans.repertoire() if self.images_boot() else self.menu(None)

    def images_boot(self) -> bool:
        """Whether images boot by themselves: the operator has neither a menu nor a kernel of his own."""
        return not (self.has_file(PXELINUX_DEFAULT) or self.has_file(KERNEL_PATH))

    def medium(self, mac: str) -> str | None:
        """The ISO that UEFI HTTP boot gives a machine as it is: where that is set, or where no loader could boot it.

        None: the machine is given a loader. Reads files: may wait.
        """
        entry = self._plans.entry(mac)
        if entry is None or not is_firmwares(entry):
            return None
        setting = self._plans.for_machine(mac).uefi_loader
        is_last_resort = setting == "auto" and self._plans.is_stuck(entry) and self.images_boot()
        return f"{IMAGES}{entry.name}" if setting == "iso" or is_last_resort else None

    def has_file(self, path: str) -> bool:
        """Whether the operator put a file at `path` (relative to the root)."""
        return self._file(path) is not None

    def _file(self, path: str) -> FileImage | None:
        entry = self._catalog.get(path.removeprefix(IMAGES)) if path.startswith(IMAGES) else None
        if entry is not None:
            return entry.image
        place = self._inside(self._root / path) or self._any_case(path)
        if place is None:
            return None
        try:
            image = FileImage(place)
            if path.startswith(IMAGES) and arrivals.is_arriving(image.fileno()):
                raise FileNotFoundError(f"{path} {arrivals.WHY}")
            return image
        except StorageError as refusal:  # a pipe, a socket, a device that is no disk
            raise PermissionError(str(refusal)) from refusal

    def _inside(self, place: Path) -> Path | None:
        """The real path of an existing file, or None. Raises: PermissionError when links lead out of the root."""
        try:
            real = place.resolve(strict=True)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, RuntimeError) as loop:  # a chain of links without end, a name too long for the file system
            raise PermissionError(str(loop)) from loop
        if not real.is_relative_to(self._root) or real.is_relative_to(self._root / UPLOADS):
            raise PermissionError(f"{place.name!r} is a link out of the boot tree")
        return None if real.is_dir() else real

    def _any_case(self, path: str) -> Path | None:
        """A file whose path differs in case only: firmware and Windows loaders ask so."""
        place = self._root
        for part in path.split("/"):
            inside = self._inside_folder(place)
            match = next((p for p in inside if p.name == part), None) or next(
                (p for p in inside if p.name.casefold() == part.casefold()), None
            )
            if match is None:
                return None
            place = match
        return self._inside(place)

    def _inside_folder(self, place: Path) -> list[Path]:
        return sorted(place.iterdir()) if place.is_dir() and place.resolve().is_relative_to(self._root) else []

    def _menu(self, path: str) -> Image | None:
        return _generated(self._menus.read(path))

    def _initrd(self, path: str) -> Image | None:
        folder, _, image = path.partition("/")
        if folder != TREE_INITRDS:
            return None
        place = self._own_initrd(image).path or self._own_initrd(image.removesuffix(EXTRA)).extra
        return None if place is None else FileImage(place)

    def _loader(self, path: str) -> Image | None:
        place = self._find_loader(path)
        return None if place is None else FileImage(place)

    def refused_configs(self) -> list[Finding]:
        """The errors for which configurations of the operator's are withheld from clients at present."""
        return self.answers.publisher.refused()

    def _unversioned_image(self, path: str) -> Image | None:
        entry = find_image(self._catalog, path.removeprefix(IMAGES)) if path.startswith(IMAGES) else None
        return None if entry is None else entry.image


def _generated(content: bytes | None) -> Image | None:
    return None if content is None else BytesImage(content)


def _look_up(files: Squashfs | Iso, path: str) -> Image | None:
    try:
        return files.open_file(path)
    except OSError:  # nothing there, a folder, a device, a link that leads in circles, a name too long
        return None
