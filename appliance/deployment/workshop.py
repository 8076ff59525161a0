"""Rootwire's own client initramfs for the kernel of an image, made from the modules in the image, and kept.

What is extracted is only what the builder reads: module tables, the drivers it chooses, their firmware. The image is
hostile: paths in its tables must not lead out of the scratch folder, and there is an end to what is written.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from appliance.deployment.finding import open_file
from appliance.deployment.streams import ArchiveError, Packed
from appliance.initrd import drivers
from appliance.initrd.builder import build_initrd, builder_inputs, firmware_names
from appliance.initrd.errors import InitrdError
from appliance.initrd.kernel import FIRMWARE_FOLDERS, FIRMWARE_SUFFIXES, is_plain_firmware
from appliance.initrd.modules import plain_path, read_modules
from storage.image import Image
from storage.squashfs import Kind, Squashfs

EXTRACTED_MOST = 1 << 30  # bytes: all modules of a distribution's kernel, unpacked, have half of that
FILE_MOST = 64 << 20  # bytes of one module, table or firmware file
MODULES_MOST = 20_000  # files; distributions' kernels have some 4,000
CHUNK = 1 << 20  # bytes copied at a time
MODULE_PATH = re.compile(r"(?:[A-Za-z0-9_+@=,-][A-Za-z0-9._+@=,-]*/)*[A-Za-z0-9_+@=,-][A-Za-z0-9._+@=,-]*")
PACKED_MODULE = re.compile(r"\.ko\.(?:gz|xz|zst)(?=[:\s])")
MODULE_FILE = re.compile(rb".*\.ko(?:\.(?:gz|xz|zst))?")


def own_initrd_name(image: str, content: str, version: str) -> str:
    """The file name under which the initramfs for a kernel of an image is kept; `content` is the image's version.

    It changes with whatever the initramfs is made from, the builder itself included.
    """
    made_from = f"{content}\n{version}\n{builder_inputs()}"
    return f"{image}-{hashlib.sha256(made_from.encode()).hexdigest()[:16]}.initrd"


def make_own_initrd(
    files: Squashfs, modules: str, version: str, output: Path, *, extra: Path | None, progress: Callable[[str], None]
) -> None:
    """Make the initramfs for the kernel `version`, whose modules are in the folder `modules` of the image.

    `extra` is where its extra archive goes, if it is to have one.

    Takes seconds to minutes. Raises: InitrdError for whatever prevents it, StorageError where the image is damaged.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="rootwire-modules-") as scratch:
            root = Path(scratch)
            wanted = (*drivers.REQUIRED, *drivers.OPTIONAL, *(drivers.EXTRA if extra else ()))
            _Extract(files, root, wanted).run(modules, root / "lib/modules" / version)
            build_initrd(str(root), output, extra=extra, progress=progress)
    except OSError as failure:
        raise InitrdError(f"{failure.filename or output}: {failure.strerror}; free space there") from failure
    except UnicodeDecodeError as failure:
        raise InitrdError("the image's module tables are no text; repair the image") from failure
    except ArchiveError as failure:
        raise InitrdError(f"a module in the image {failure}; repair the image") from failure


@dataclass(slots=True)
class _Extract:
    """What is copied out of one image, and how much more may be."""

    files: Squashfs
    root: Path
    wanted: tuple[str, ...]  # drivers, by name
    left: int = EXTRACTED_MOST

    def run(self, modules: str, folder: Path) -> None:
        """Copy what the builder needs of the image's folder `modules` to `folder`."""
        self._copy_tables(modules, folder)
        dependencies = folder / "modules.dep"
        if dependencies.is_file():
            table = read_modules(folder, self.root / "tables")
            # Modules are unpacked on the way: here there is an end to what one unpacks to.
            dependencies.write_text(PACKED_MODULE.sub(".ko", dependencies.read_text()))
            for path in table.paths.values():
                _require_plain(path)
            chosen = table.closure(self.wanted)
        else:
            chosen = list(self._all_modules(modules))  # depmod finds out which of them are needed
        for path in chosen:
            self._copy(f"{modules}/{path}", folder / plain_path(path))
        self._copy_firmware([folder / plain_path(path) for path in chosen])

    def _copy_tables(self, modules: str, folder: Path) -> None:
        folder.mkdir(parents=True)
        for entry in islice(self.files.scan(modules), MODULES_MOST):
            name = os.fsdecode(entry.name)
            if entry.kind is Kind.FILE and name.startswith("modules.") and MODULE_PATH.fullmatch(name):
                self._copy(f"{modules}/{name}", folder / name)

    def _all_modules(self, modules: str) -> Iterator[str]:
        for path, entry in islice(self.files.walk(modules), MODULES_MOST):
            if entry.kind is Kind.FILE and MODULE_FILE.fullmatch(path):
                yield _require_plain(os.fsdecode(path))

    def _copy_firmware(self, modules: list[Path]) -> None:
        for name in firmware_names(modules):
            if not is_plain_firmware(name):
                continue
            for place in (f"{folder}/{name}{suffix}" for folder in FIRMWARE_FOLDERS for suffix in FIRMWARE_SUFFIXES):
                if open_file(self.files, f"/{place}") is not None:
                    self._copy(f"/{place}", self.root / place)
                    break

    def _copy(self, source: str, target: Path) -> None:
        opened = open_file(self.files, source)
        if opened is None:
            raise InitrdError(f"the image has no {source}, which its own tables name; repair the image")
        target.parent.mkdir(parents=True, exist_ok=True)
        is_packed = PACKED_MODULE.search(f"{source}:") is not None
        size = 0
        with target.open("wb") as file:
            for chunk in Packed(opened).chunks() if is_packed else _chunks(opened):
                size += len(chunk)
                if size > min(FILE_MOST, self.left):
                    raise InitrdError(f"{source} and others are more than modules of a kernel have; repair the image")
                file.write(chunk)
        self.left -= size


def _require_plain(path: str) -> str:
    if not MODULE_PATH.fullmatch(path):
        raise InitrdError(f"the image's module tables name {path!r}, which leads elsewhere; repair the image")
    return path


def _chunks(image: Image) -> Iterator[bytes]:
    for offset in range(0, image.size, CHUNK):
        yield image.read_at(offset, min(CHUNK, image.size - offset))
