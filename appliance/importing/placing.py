"""Under which names the files of a set go into image/, and in which order."""

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from appliance.config import Root
from appliance.deployment.beside import (
    APPEND_SUFFIX,
    BOOT_OPTIONS_SUFFIX,
    INITRD_SUFFIX,
    INSTALLER_PREFIX,
    KERNEL_SUFFIX,
    PACKED_DISK_SUFFIX,
    PLAIN_WORD,
)
from appliance.deployment.rules import rule_file
from appliance.deployment.streams import read_chunks, unpack
from appliance.errors import OperatorError
from appliance.importing.kits import Kind, Kit
from appliance.importing.pieces import said_of, told
from appliance.importing.progress import Bar
from appliance.importing.recognising import TEXT_MOST
from appliance.importing.staging import Staged, Staging
from appliance.importing.sums import Claim, Content, bounded, measure, read_claim, verify
from storage.image import FileImage
from storage.iso9660 import Iso

# Words that say where the root of another way to boot is, or where an example would be.
_OTHERS = re.compile(r"root=.*|rd\.kiwi\.install\.(?:pxe|image=.*)")

Placed = list[tuple[Staged, str]]


class Placer:
    """Makes of a set the files that go into image/."""

    def __init__(self, staging: Staging, bar: Bar) -> None:
        self._staging = staging
        self._bar = bar

    def place(self, kit: Kit, root: Root | None) -> Placed:
        """Every file with its name, in the order in which they are to appear: the image late, its checksums last.

        `root` is how machines are to reach a root image, where that is to be said. Raises: OperatorError.
        """
        files: Placed = []
        named = ((kit.kernel, KERNEL_SUFFIX), (kit.initrd, INITRD_SUFFIX), (kit.boot_options, BOOT_OPTIONS_SUFFIX))
        files += [(staged, f"{kit.name}{suffix}") for staged, suffix in named if staged is not None]
        if kit.installer is not None:
            files.append((kit.installer, f"{INSTALLER_PREFIX}{kit.name}{INITRD_SUFFIX}"))
        if kit.kind is Kind.MEDIUM:
            self._require_whole(kit.image)
        if kit.append is not None and (words := clean_append(kit.append)):
            files.append((self._text(f"{words}\n"), f"{kit.name}{APPEND_SUFFIX}"))
        if root is not None:
            files.append((self._text(f'root = "{root}"\n'), rule_file(Path(), kit.name).name))
        image, content = self._image(kit)
        packed = image.size if kit.kind is Kind.INSTALL else None
        files.append((image, f"{kit.name}{PACKED_DISK_SUFFIX if packed is not None else ''}"))
        files += [
            (self._staging.add(suffix, iter([line])), f"{kit.name}{suffix}")
            for suffix, line in content.lines(packed).items()
        ]
        return files

    def _require_whole(self, medium: Staged) -> None:
        """Most downloads that fail are cut off, and say so by themselves."""
        with said_of(medium.name):
            Iso(FileImage(medium.path))

    def _image(self, kit: Kit) -> tuple[Staged, Content]:
        """The image as it is to be served, and what it is uncompressed, which is verified."""
        claims = [read_claim(staged) for staged in kit.sums]
        total = next((claim.size for claim in claims if claim.size is not None), None)
        image = kit.image
        if not kit.is_packed:
            content = Content(image.size, image.md5, image.sha256)
        elif kit.kind is Kind.INSTALL:
            self._bar.step(f"verifying {kit.image.name}", total)
            content = measure(bounded(self._unpacked(kit), claims), self._bar.advance)
        else:
            self._bar.step(f"unpacking {kit.image.name}", total)
            image = self._staging.add(kit.name, bounded(self._unpacked(kit), claims), total)
            content = Content(image.size, image.md5, image.sha256)
        verify(claims, content, kit.image, self._sha512(kit, image, claims))
        return image, content

    def _sha512(self, kit: Kit, image: Staged, claims: list[Claim]) -> Callable[[], str]:
        def make() -> str:
            self._bar.step(f"verifying {kit.image.name}", image.size)
            made = hashlib.sha512()
            is_packed = kit.kind is Kind.INSTALL
            chunks = bounded(self._unpacked(kit), claims) if is_packed else read_chunks(FileImage(image.path))
            for chunk in chunks:
                made.update(chunk)
                self._bar.advance(len(chunk))
            return made.hexdigest()

        return make

    def _unpacked(self, kit: Kit) -> Iterator[bytes]:
        return told(unpack(FileImage(kit.image.path)), kit.image.name)

    def _text(self, text: str) -> Staged:
        return self._staging.add("text", iter([text.encode()]))


def clean_append(staged: Staged) -> str:
    """The words of a set's command line, without those that say where root or image are: that is known better here.

    Raises: OperatorError for a word that some loader would take for more than a word.
    """
    text = staged.path.read_bytes()[:TEXT_MOST].decode(errors="replace")
    words = [word for word in text.split() if not _OTHERS.fullmatch(word)]
    for word in words:
        if not PLAIN_WORD.fullmatch(word):
            raise OperatorError(f"{staged.name} has {word!r}, which is no plain word", "leave the file out")
    return " ".join(words)
