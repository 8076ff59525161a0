"""Kernels and initramfs archives inside an image, by the names that distributions and KIWI give them.

A kernel is known by its content as well as its name: what is no kernel is passed over, and the version is what the
kernel itself says, so that /boot/vmlinuz and /vmlinuz count like any other.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from appliance.initrd.kernel import MODULE_FOLDERS, version_key
from storage.image import Image
from storage.squashfs import Entry, Kind, Squashfs

ENTRIES_MOST = 4096  # of one folder that are looked at: /boot holds some dozens
SAFE_PATH = re.compile(r"(?:/[A-Za-z0-9_+@~][A-Za-z0-9._+@~-]*)+")  # what survives loaders' configuration files
FOLDERS = ("/boot", "/")
LOADER_FOLDERS = "/boot"  # KIWI's live images have ARCH/loader/ below it
MODULES = tuple(f"/{folder}" for folder in MODULE_FOLDERS)

# KIWI's: linux, linux.vmx, linux-VERSION; Debian's, Fedora's: vmlinuz-VERSION; Arch's: vmlinuz-linux.
_KERNEL = re.compile(r"(?:vmlinuz|linux|bzImage|kernel)(?:[-.](?P<mark>.+))?")
_INITRD = re.compile(
    r"(?:initrd|initramfs)(?:\.img|\.vmx|\.gz|\.xz|\.zst)?(?:-(?P<mark>.+?))?(?:\.img|\.gz|\.xz|\.zst)?"
)
_SPECIAL = re.compile(r"rescue|kdump|fallback|recovery|\.(?:old|bak|hmac|sig|sha\d+|md5)$")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}")

# Linux's boot protocol for x86 (Documentation/arch/x86/boot.rst):
#
#   0x200 jump                 0x206 version of the protocol
#   0x202 magic "HdrS"         0x20E where the version's text is, less 0x200
BOOT_HEADER = 0x210  # bytes up to the last field that is read
BOOT_MAGIC = (0x202, b"HdrS")
EFI_MAGIC = b"MZ"  # a kernel that is an EFI program only
VERSION_FIELD = 0x20E
VERSION_MOST = 256  # bytes of the version's text that are read


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel inside an image: its path from the image's root, its version ("" when nothing tells it)."""

    path: str
    version: str
    mark: str = ""  # what distinguishes its file name: VERSION, linux-lts


def find_kernels(files: Squashfs) -> list[Kernel]:
    """Every kernel in the image, the newest version first, each file once. Raises: StorageError where it is damaged."""
    found: dict[int, Kernel] = {}
    for path, mark in _named(files, _KERNEL, _kernel_folders(files)):
        opened = open_file(files, path)
        if opened is not None and (version := read_version(opened, _version_of(path, mark))) is not None:
            found.setdefault(files.lookup(path), Kernel(path, version, mark))
    # The sort is stable: of equal versions the one in /boot stays before the one beside its modules.
    return sorted(found.values(), key=lambda kernel: version_key(kernel.version), reverse=True)


def find_initrds(files: Squashfs, kernel: Kernel) -> list[str]:
    """The initramfs archives that may be the kernel's, the likeliest first; each is one that exists."""
    ranked: list[tuple[int, str]] = []
    for path, mark in _named(files, _INITRD, _initrd_folders(files, kernel)):
        rank = _rank(files, path, mark, kernel)
        if rank is not None and open_file(files, path) is not None:
            ranked.append((rank, path))
    return [path for _, path in sorted(ranked, key=lambda one: one[0])]


def find_modules(files: Squashfs, version: str) -> str | None:
    """The folder with the modules of a kernel version, None when the image has none."""
    if not _VERSION.fullmatch(version):
        return None
    for folder in MODULES:
        path = f"{folder}/{version}"
        if any(entry.name in (b"kernel", b"modules.dep") for entry in _entries(files, path)):
            return path
    return None


def open_file(files: Squashfs, path: str) -> Image | None:
    """The regular file at `path`, links followed inside the image; None when there is none."""
    try:
        return files.open_file(path)
    except OSError:  # no such file, a folder, a chain of links without end
        return None


def read_version(kernel: Image, otherwise: str) -> str | None:
    """The version a kernel says it is, or `otherwise` where it says none; None when the file is no kernel."""
    head = kernel.read_at(0, min(BOOT_HEADER, kernel.size))
    offset, magic = BOOT_MAGIC
    if head[offset : offset + len(magic)] != magic:
        return otherwise if head.startswith(EFI_MAGIC) else None
    at = 0x200 + struct.unpack_from("<H", head, VERSION_FIELD)[0]
    text = kernel.read_at(at, max(0, min(VERSION_MOST, kernel.size - at))) if at < kernel.size else b""
    word = text.partition(b"\0")[0].partition(b" ")[0].decode(errors="replace")
    return word if _VERSION.fullmatch(word) else otherwise


def _version_of(path: str, mark: str) -> str:
    folder, _, version = path.rpartition("/")[0].rpartition("/")
    return version if folder in MODULES else mark


def _rank(files: Squashfs, path: str, mark: str, kernel: Kernel) -> int | None:
    """0: made for this version, 1: for a kernel of this name, 2: for any; None: for another."""
    if not mark and (target := _link_target(files, path)) is not None:
        found = _INITRD.fullmatch(target)
        mark = (found["mark"] or "") if found else ""
    if mark:
        return 0 if mark == kernel.version else 1 if mark == kernel.mark else None
    in_modules = path.startswith(tuple(f"{folder}/" for folder in MODULES))
    return 0 if in_modules else 2


def _link_target(files: Squashfs, path: str) -> str | None:
    """The last name in a symlink's target, None when `path` is no symlink."""
    try:
        return files.readlink(path).decode(errors="replace").rpartition("/")[2]
    except OSError:
        return None


def _named(files: Squashfs, pattern: re.Pattern[str], folders: list[str]) -> Iterator[tuple[str, str]]:
    """Paths of files and links whose names fit, and what their names are marked with."""
    for folder in folders:
        # Files before links, so that one that a link leads to is known by its own name.
        for entry in sorted(_entries(files, folder), key=lambda entry: entry.kind is Kind.SYMLINK):
            name = entry.name.decode(errors="replace")
            path = f"{folder.rstrip('/')}/{name}"
            found = pattern.fullmatch(name)
            if found and not _SPECIAL.search(name) and SAFE_PATH.fullmatch(path) and entry.kind is not Kind.DIRECTORY:
                yield path, found["mark"] or ""


def _kernel_folders(files: Squashfs) -> list[str]:
    versions = [
        f"{folder}/{entry.name.decode(errors='replace')}" for folder in MODULES for entry in _entries(files, folder)
    ]
    return [*FOLDERS, *versions, *_loader_folders(files)]


def _initrd_folders(files: Squashfs, kernel: Kernel) -> list[str]:
    return [*FOLDERS, *(f"{folder}/{kernel.version}" for folder in MODULES), *_loader_folders(files)]


def _loader_folders(files: Squashfs) -> list[str]:
    names = (entry.name.decode(errors="replace") for entry in _entries(files, LOADER_FOLDERS))
    return [f"{LOADER_FOLDERS}/{name}/loader" for name in names if name in ("x86_64", "ix86", "i386")]


def _entries(files: Squashfs, folder: str) -> list[Entry]:
    try:
        return list(islice(files.scan(folder), ENTRIES_MOST))
    except OSError:  # no such folder
        return []
