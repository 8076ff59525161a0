"""NAME.md5 and NAME.sha256 as clients get them: the operator's own, or made from the image they get with it.

Whoever copies an image and its checksum files changes them one by one. A client that sees a new checksum with the old
image, or an old one with the new, loads without end; so a file of the operator's counts only while it can be about the
image that is served:

- once it was found right for an image, a later one that says otherwise is of an image that is to come;
- one that says otherwise and is older than the image is of the image before;
- while the file called NAME is not the one that is served under that name, none of its files is of that one.

Any other that says otherwise is what the operator wants clients to check: they get it, and the operator is told.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from errno import EBUSY
from pathlib import Path

import structlog

from appliance.images.catalog import Catalog, Entry
from appliance.images.checksums import Checksums, Summed
from appliance.images.identity import Identity, identify
from appliance.images.memory import Sums
from appliance.kiwi.names import NO_VERSION, split_name
from appliance.kiwi.sums import LINE_MAX, checksum_line, parse_checksum_line
from appliance.names import IMAGES
from storage.errors import StorageError

KINDS = ("md5", "sha256")
MEND_CHECKSUM = "copy the image again, or remove that file: it is made from the image"
SQUASHFS_SUFFIX = ".squashfs"  # by which live-boot knows that what it fetches is a file system

log = structlog.get_logger()


def find_image(catalog: Catalog, name: str) -> Entry | None:
    """The image of this name, or that KIWI's client calls so (NAME-0), or live-boot's (NAME.squashfs)."""
    unversioned, version = split_name(name)
    other = unversioned if version == NO_VERSION else name.removesuffix(SQUASHFS_SUFFIX)
    return catalog.get(name) or catalog.get(other)


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A checksum file of the operator's."""

    text: bytes
    changed: int  # nanoseconds since 1970: when it came under its name

    def says(self, kind: str, sums: Sums) -> bool:
        """Whether it is about an image with these sums; one that can't be read is about none."""
        try:
            line = parse_checksum_line(self.text)
        except ValueError:
            return False
        return (line.digest, line.size) == (getattr(sums, kind), sums.unpacked)


class SumFiles:
    """Gives the checksum files of a tree."""

    def __init__(
        self, root: Path, catalog: Catalog, checksums: Checksums, *, inside: Callable[[Path], Path | None]
    ) -> None:
        """`root` is the boot tree's folder; `inside` gives the real place of a file in it, None where there is none."""
        self._inside = inside
        self._folder = root / IMAGES
        self._catalog = catalog
        self._checksums = checksums
        self._right: dict[tuple[str, str], tuple[Identity | None, bytes]] = {}  # what was right, and of what
        self._wrong: dict[tuple[str, str], bytes] = {}  # what is not, by image and kind

    async def open(self, path: str) -> bytes | None:
        """What the checksum file `path` (from the root) says; None where there is no image to it.

        Raises: StorageError or OSError when the image can't be read, StorageError with EBUSY while it is written to.
        """
        name, _, kind = path.removeprefix(IMAGES).rpartition(".")
        if not path.startswith(IMAGES) or kind not in KINDS:
            return None
        image = find_image(self._catalog, name) or self._packed(name)
        if image is None:
            return None
        if self._checksums.is_restless(image.name) or await asyncio.to_thread(_has_changed, image):
            raise StorageError(f"{image.name} is being written to: it has no checksum yet", EBUSY)
        own = await asyncio.to_thread(self._own, name, image, kind)
        if own is not None:
            return own
        sums = await self._checksums.get(image)
        # What was waited for may show that the operator's file is right after all.
        own = await asyncio.to_thread(self._own, name, image, kind)
        return own or await asyncio.to_thread(self._made, image, kind, sums)

    def look(self) -> None:
        """Compare the operator's files with the sums that are known; may wait for the disk."""
        for image in (*self._catalog, *self._catalog.packed):
            for kind in KINDS:
                with contextlib.suppress(OSError):  # who asks for what can't be read is told so
                    self._own(_stem(image), image, kind)

    def wrong(self, image: Summed) -> list[str]:
        """The operator's files, from the root, that are not about the image."""
        return [f"{IMAGES}{_stem(image)}.{kind}" for kind in KINDS if (image.name, kind) in self._wrong]

    def _packed(self, name: str) -> Summed | None:
        return next((packed for packed in self._catalog.packed if _stem(packed) == name), None)

    def _own(self, name: str, image: Summed, kind: str) -> bytes | None:
        """The operator's file as far as it counts; None: what is made from the image is better."""
        key, sums = (image.name, kind), self._checksums.known(image.name)
        last = self._right.get(key)
        last_text = last[1] if last is not None and last[0] == image.identity else None
        place = self._folder / image.name
        if isinstance(image, Entry) and not _is_served(place, image):
            return last_text
        own = self._read(f"{name}.{kind}") or self._read(f"{_stem(image)}.{kind}")
        if own is None:
            self._wrong.pop(key, None)
            return None
        if sums is None:
            return None if own.changed <= place.stat().st_ctime_ns else own.text
        if own.says(kind, sums):
            self._wrong.pop(key, None)
            self._right[key] = (image.identity, own.text)
            return own.text
        self._tell(image, kind, own.text)
        if last_text is not None or own.changed <= place.stat().st_ctime_ns:
            return last_text
        return own.text

    def _read(self, name: str) -> OwnFile | None:
        place = self._inside(self._folder / name)
        if place is None:
            return None
        with place.open("rb") as file:
            text = file.read(LINE_MAX)  # nothing: it is being copied
            return OwnFile(text, os.fstat(file.fileno()).st_ctime_ns) if text else None

    def _tell(self, image: Summed, kind: str, text: bytes) -> None:
        if self._wrong.get((image.name, kind)) != text:
            self._wrong[image.name, kind] = text
            log.error(
                "checksum_contradicted",
                image=image.name,
                file=f"{_stem(image)}.{kind}",
                remedy=MEND_CHECKSUM,
            )

    def _made(self, image: Summed, kind: str, sums: Sums) -> bytes:
        """In KIWI's format; of several compressed forms the larger one counts: block sizes are chosen by it."""
        sizes = [place.stat().st_size for place in self._catalog.packed_forms(_stem(image))]
        return checksum_line(getattr(sums, kind), sums.unpacked, max(sizes, default=0) or None)


def _stem(image: Summed) -> str:
    """The name of the image that a compressed file holds."""
    return image.name if isinstance(image, Entry) else image.place.stem


def _is_served(place: Path, image: Entry) -> bool:
    """Whether the file at `place` is the one that is open."""
    try:
        there = identify(place)
    except OSError:
        return False
    return there is None or (image.identity is not None and there.inode == image.identity.inode)


def _has_changed(image: Summed) -> bool:
    """Whether the file is not what it was when it was last looked at."""
    return identify(image.image.fileno() if isinstance(image, Entry) else image.place) != image.identity
