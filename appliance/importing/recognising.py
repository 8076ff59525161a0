"""What each imported file is: by its content, and by the end of its name where that is text."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from appliance.deployment.archive import MAGICS
from appliance.deployment.finding import read_version
from appliance.deployment.streams import MAGIC_LENGTH, UNPACKERS
from appliance.images.catalog import SIGNATURES
from appliance.importing.pieces import head_of, unpacked_head
from appliance.importing.staging import Staged
from storage.image import BytesImage, FileImage

HEAD = 128 << 10  # bytes that are looked at: btrfs has its signature behind the first 64 KiB
TEXT_MOST = 4096  # bytes of a text; KIWI's have one line


class Role(StrEnum):
    """What a file of a set is for."""

    IMAGE = "image"
    PACKED_IMAGE = "compressed image"
    MEDIUM = "ISO"
    KERNEL = "kernel"
    INITRD = "initrd"
    SUMS = "checksum"
    APPEND = "command line"
    BOOT_OPTIONS = "boot options"
    OTHER = "other"


SUFFIXES: Mapping[str, Role] = {
    ".md5": Role.SUMS,
    ".sha256": Role.SUMS,
    ".sha512": Role.SUMS,
    ".append": Role.APPEND,
    ".config.bootoptions": Role.BOOT_OPTIONS,
}
# KIWI 5 to 7 make a second initrd with a picture in it, and every version may add a hypervisor: neither is needed.
LEFT_OUT = (".splash.gz", ".xen.gz", "-xen.gz")


@dataclass(frozen=True, slots=True)
class Found:
    """A file and what it is."""

    staged: Staged
    role: Role

    @property
    def name(self) -> str:
        """What it was called where it came from."""
        return self.staged.name


def recognise(staged: Staged) -> Found:
    """What a file is. Reads its beginning. Raises: StorageError."""
    return Found(staged, _role_of(staged))


def _role_of(staged: Staged) -> Role:
    by_name = next((role for suffix, role in SUFFIXES.items() if staged.name.endswith(suffix)), None)
    if by_name is not None:
        return by_name if staged.size <= TEXT_MOST else Role.OTHER
    if staged.name.endswith(LEFT_OUT):
        return Role.OTHER
    image = FileImage(staged.path)
    head = head_of(image, HEAD)
    if read_version(image, "") is not None:
        return Role.KERNEL
    if head.startswith(tuple(magic for magic, _ in UNPACKERS)) and len(head) >= MAGIC_LENGTH:
        return _role_unpacked(unpacked_head(image, HEAD) or b"")
    return _role_by_content(head)


def _role_unpacked(head: bytes) -> Role:
    role = _role_by_content(head)
    if role is Role.INITRD:
        return role
    return Role.OTHER if role is Role.OTHER or read_version(BytesImage(head), "") is not None else Role.PACKED_IMAGE


def _role_by_content(head: bytes) -> Role:
    if head.startswith(MAGICS):
        return Role.INITRD
    for name, offset, magic in SIGNATURES:
        if head[offset : offset + len(magic)] == magic:
            return Role.MEDIUM if name == "iso9660" else Role.IMAGE
    return Role.OTHER
