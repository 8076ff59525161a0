"""Files in image/ that belong to an image of the same name: its kernel and initramfs, and what installs a disk image.

    NAME                     a root image
    NAME.kernel              its kernel, which comes before what is inside the image
    NAME.initrd              the initramfs for it
    NAME.append              more words for the kernel

    NAME.xz                  a disk image that is to be installed
    pxeboot.NAME.initrd      the initramfs that installs it, with NAME.kernel
    NAME.initrd              the installed system's, which is started by kexec then
    NAME.config.bootoptions  what that is told

They are KIWI's own names, as far as its versions agree on them and its clients ask for them.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from appliance.images.identity import identify
from storage.image import FileImage, Image

KERNEL_SUFFIX = ".kernel"
INITRD_SUFFIX = ".initrd"
APPEND_SUFFIX = ".append"
BOOT_OPTIONS_SUFFIX = ".config.bootoptions"
PACKED_DISK_SUFFIX = ".xz"
INSTALLER_PREFIX = "pxeboot."
SUFFIXES = (KERNEL_SUFFIX, INITRD_SUFFIX, APPEND_SUFFIX, BOOT_OPTIONS_SUFFIX)

WORDS_MOST = 4096  # bytes of an .append file that are read; KIWI's has one line
PLAIN_WORD = re.compile(r"[A-Za-z0-9._,:/=+@%~-]+")  # means the same to every loader, and to none a command


@dataclass(frozen=True, slots=True)
class Beside:
    """What is beside an image: its own kernel and initramfs, and words for the former."""

    kernel: Image
    initrd: Image
    words: str


def find_beside(folder: Path, image: str) -> Beside | None:
    """What is in `folder` beside an image of that name; None unless kernel and initramfs both are.

    Raises: OSError or StorageError when it can't be read.
    """
    kernel, initrd = folder / f"{image}{KERNEL_SUFFIX}", folder / f"{image}{INITRD_SUFFIX}"
    if not (kernel.is_file() and initrd.is_file()):
        return None
    return Beside(FileImage(kernel), FileImage(initrd), read_words(folder, image))


def read_words(folder: Path, image: str) -> str:
    """What NAME.append says, as far as it is plain words. Raises: OSError."""
    path = folder / f"{image}{APPEND_SUFFIX}"
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        text = file.read(WORDS_MOST).decode(errors="replace")
    return " ".join(word for word in text.split() if PLAIN_WORD.fullmatch(word))


def version_beside(folder: Path, image: str) -> str:
    """A token that changes when what is beside an image does; "" where nothing is."""
    tokens = []
    for suffix in (KERNEL_SUFFIX, INITRD_SUFFIX, APPEND_SUFFIX):
        try:
            found = identify(folder / f"{image}{suffix}")
        except OSError:  # there is none
            found = None
        tokens.append("" if found is None else f"{found.inode}.{found.size}.{found.changed}")
    return "/".join(tokens) if any(tokens) else ""
