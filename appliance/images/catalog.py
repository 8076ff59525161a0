"""The images in image/: which files are images, under which export name, shelf and slot they are served.

Every file there that is no checksum, no rule file, not compressed and does not belong to another is a read-only NBD
export under its file name and an AoE target in name order: e0.1, e0.2, ... A file that no boot can use is said so at
once, not when a client hangs on it; one that is still being copied is none yet. What a squashfs or an ISO holds can be
had file by file.
"""

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from appliance.deployment import beside
from appliance.errors import OperatorError
from appliance.images import arrivals
from appliance.images.identity import Identity, identify
from appliance.images.packed import SUFFIXES, PackedImage
from appliance.images.unpacked import UnpackedFiles
from appliance.kiwi.names import is_safe_name
from storage import squashfs
from storage.errors import StorageError
from storage.image import FileImage, Image
from storage.iso9660 import Iso, IsoError
from storage.squashfs import Squashfs, SquashfsError

CHECKSUM_SUFFIXES = (".md5", ".sha256", ".sha512")
COMPRESSED_SUFFIXES = (".gz", ".xz", ".zst")  # fetched whole by RAM clients; a block device made of one is no use
RULES_SUFFIX = ".toml"  # NAME.toml says how NAME boots where what is found in it would not do
SLOTS_PER_SHELF = 255  # slot 255 is AoE's broadcast (AoEr11 section 2.3)

# Where each file system or partition table writes its signature: (format, offset, bytes).
SIGNATURES = (
    ("squashfs", 0, b"hsqs"),
    ("xfs", 0, b"XFSB"),
    ("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
    ("ext", 1080, b"\x53\xef"),
    ("swap", 4086, b"SWAPSPACE2"),
    ("iso9660", 32769, b"CD001"),
    ("btrfs", 65600, b"_BHRfS_M"),
    ("disk", 510, b"\x55\xaa"),
)
SQUASHFS_BYTES_USED = (40, 8)  # offset and length of the superblock's bytes_used, little-endian

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class CatalogLimits:
    """What bounds the catalogue."""

    max_images: int = 255  # as many as AoE serves by default: each answers every broadcast query
    refresh_seconds: float = 3.0  # how soon a file dropped into image/ is served
    unpacked_bytes: int = 256 << 20  # for files inside images, decompressed: some kernels with their initrds


# Formats of which files can be had one by one.
OPENERS: dict[str, Callable[[FileImage], Squashfs | Iso]] = {"squashfs": squashfs.open, "iso9660": Iso}


class Contents:
    """The files inside an image, which is opened when somebody first wants one."""

    __slots__ = ("_image", "_is_damaged", "_lock", "_name", "_open", "_opened")

    def __init__(self, name: str, image: FileImage, kind: str) -> None:
        self._name = name
        self._image = image
        self._open = OPENERS.get(kind)
        self._lock = threading.Lock()
        self._opened: Squashfs | Iso | None = None
        self._is_damaged = False

    def open(self) -> Squashfs | Iso | None:
        """The file system, or None where it can't be read, which is logged: of a damaged one once."""
        with self._lock:
            if self._open is not None and self._opened is None and not self._is_damaged:
                try:
                    self._opened = self._open(self._image)
                except StorageError as failure:
                    self._is_damaged = isinstance(failure, SquashfsError | IsoError)  # a disk's error may pass
                    log.warning("image_unreadable", image=self._name, reason=str(failure))
            return self._opened


@dataclass(frozen=True, slots=True)
class Entry:
    """One image: its file name, what it holds, the open file, its AoE address, and what the file was when opened."""

    name: str
    format: str
    image: FileImage
    shelf: int
    slot: int
    contents: Contents
    identity: Identity | None  # None: a device, which changes without a trace

    @property
    def size(self) -> int:
        """Bytes."""
        return self.image.size

    @property
    def files(self) -> Squashfs | None:
        """The image as a file system; None unless it is a squashfs that can be read. May wait for the disk.

        What is read from it later may still turn out to be damaged: it raises StorageError then.
        """
        inside = self.inside
        return inside if isinstance(inside, Squashfs) else None

    @property
    def inside(self) -> Squashfs | Iso | None:
        """What files can be had of, one by one; None where it is none, or can't be read. May wait for the disk."""
        return self.contents.open()

    @property
    def is_medium(self) -> bool:
        """Whether it is an ISO: something to install or to try out, not a root that machines boot of themselves."""
        return self.format == "iso9660"

    @property
    def target(self) -> str:
        """The AoE address as the kernel spells it: e<shelf>.<slot>."""
        return f"e{self.shelf}.{self.slot}"


class NotAnImageError(Exception):
    """A file in image/ that nothing could boot from; the text says why."""


def recognise(image: FileImage) -> str:
    """The format of an image by its signature, a key of SIGNATURES. Raises: NotAnImageError saying what is wrong."""
    if image.size == 0:
        raise NotAnImageError("is empty")
    for name, offset, magic in SIGNATURES:
        if image.size >= offset + len(magic) and image.read_at(offset, len(magic)) == magic:
            if name == "squashfs":
                _require_whole_squashfs(image)
            return name
    raise NotAnImageError(f"holds no known file system or partition table ({_signature_names()})")


def _require_whole_squashfs(image: FileImage) -> None:
    offset, length = SQUASHFS_BYTES_USED
    if image.size < 96:
        raise NotAnImageError("is cut off inside its squashfs superblock")
    used = int.from_bytes(image.read_at(offset, length), "little")
    if used > image.size:
        raise NotAnImageError(f"is cut off: its squashfs superblock says {used} bytes, the file has {image.size}")


def _signature_names() -> str:
    return ", ".join(name for name, _, _ in SIGNATURES)


class Catalog:
    """The images of one folder, opened once and shared by every protocol and client."""

    def __init__(self, folder: Path, *, raw: Collection[str] = (), limits: CatalogLimits | None = None) -> None:
        """`folder` is image/ (it may be absent: then there are none); `raw` names files to take as they are."""
        self._folder = folder
        self._raw = frozenset(raw)
        self._limits = limits or CatalogLimits()
        self._entries: dict[str, Entry] = {}
        self._complaints: dict[str, str] = {}
        self.packed: tuple[PackedImage, ...] = ()  # compressed images without a plain one beside them, by name
        self.unpacked = UnpackedFiles(folder, self._limits.unpacked_bytes)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, name: str) -> Entry | None:
        """The image called `name`, or None."""
        return self._entries.get(name)

    def image(self, name: str) -> Image | None:
        """The bytes of the image of this name, if there is one."""
        entry = self.get(name)
        return None if entry is None else entry.image

    def image_size(self, name: str) -> int | None:
        """How many they are."""
        image = self.image(name)
        return None if image is None else image.size

    def load(self) -> None:
        """Open every image there is, but those that are still being copied, which come later.

        Raises: OperatorError for the first file that is none.
        """
        _, complaints = self.refresh()
        for name, why in complaints.items():
            if why != arrivals.WHY:
                raise OperatorError(
                    f"image {self._folder / name} {why}",
                    "finish copying it, move it out of image/, or name it in [boot] raw_images to serve it as it is",
                )
        self._complaints = {}  # the next look tells of those again: an appliance that can't start says one thing alone

    def refresh(self) -> tuple[list[Entry], dict[str, str]]:
        """Take up new files; returns them, and what is new to say of files that are no images, by name.

        An image once served keeps its address and its file until the appliance starts again: a client that runs
        from it would otherwise read half of one file and half of another.
        """
        added: list[Entry] = []
        complaints: dict[str, str] = {}
        for name in self._candidates():
            if name in self._entries:
                continue
            try:
                entry = self._open(name)
            except NotAnImageError as refusal:
                complaints[name] = str(refusal)
                continue
            self._entries = {**self._entries, name: entry}  # a new one: others may be going through the old
            added.append(entry)
        self.packed = tuple(self._find_packed())
        fresh = {name: why for name, why in complaints.items() if self._complaints.get(name) != why}
        self._complaints = complaints
        return added, fresh

    def follow(self, identities: Mapping[str, Identity | None]) -> None:
        """Open anew those images whose file was written to: it has another size, other files in it, another version.

        `identities` says what each open file is now. Who has an image open keeps it as it was, and so does one that
        is no image any more, which may be because the writing is not over. May wait for the disk.
        """
        for name, now in identities.items():
            entry = self._entries.get(name)
            if entry is None or now is None or now == entry.identity:
                continue
            try:
                image, identity, kind = self._look_at(name)
            except NotAnImageError:
                continue
            if identity is not None and identity.inode == now.inode:  # else another file has its name
                fresh = Entry(name, kind, image, entry.shelf, entry.slot, Contents(name, image, kind), identity)
                self._entries = {**self._entries, name: fresh}

    def _candidates(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        ignored = (*CHECKSUM_SUFFIXES, *COMPRESSED_SUFFIXES, *beside.SUFFIXES, RULES_SUFFIX)
        return sorted(
            p.name
            for p in self._folder.iterdir()
            if not p.name.startswith(".") and not p.name.endswith(ignored) and not p.is_dir()
        )

    def packed_forms(self, name: str) -> list[Path]:
        """The compressed files of the image called `name`, xz as kiwi 8 and later make it, or gz."""
        places = [self._folder / f"{name}{suffix}" for suffix in SUFFIXES]
        return [place for place in places if place.is_file()]

    def _find_packed(self) -> Iterator[PackedImage]:
        places = self._folder.iterdir() if self._folder.is_dir() else ()
        names = {place.stem for place in places if place.suffix in SUFFIXES and is_safe_name(place.name)}
        alone = sorted(name for name in names if name not in self._entries and not name.endswith(beside.SUFFIXES))
        for name in alone[: self._limits.max_images]:
            for place in self.packed_forms(name)[:1]:
                with contextlib.suppress(OSError), place.open("rb") as file:  # else it is gone since
                    identity = identify(file.fileno())
                    if identity is not None and not arrivals.is_arriving(file.fileno()):
                        yield PackedImage(place.name, place, identity)

    def _open(self, name: str) -> Entry:
        if not is_safe_name(name):
            raise NotAnImageError("has a name that clients can't take: rename it with letters, digits and . _ + -")
        if len(self._entries) >= self._limits.max_images:
            raise NotAnImageError(f"is one more than limits.catalog.max_images = {self._limits.max_images}")
        image, identity, kind = self._look_at(name)
        shelf, slot = divmod(len(self._entries) + 1, SLOTS_PER_SHELF)
        return Entry(name, kind, image, shelf, slot, Contents(name, image, kind), identity)

    def _look_at(self, name: str) -> tuple[FileImage, Identity | None, str]:
        try:
            image = FileImage(self._folder / name)
            if arrivals.is_arriving(image.fileno()):
                raise NotAnImageError(arrivals.WHY)
            return image, identify(image.fileno()), "raw" if name in self._raw else recognise(image)
        except (OSError, StorageError) as failure:
            raise NotAnImageError(f"can't be read: {failure}") from failure
