"""Builds the client initramfs: a gzipped cpio archive of programs, kernel modules and init.

It holds busybox, nbd-client, drivers with their firmware, and the scripts of client/. The same inputs give the same
bytes. Nothing needs root: device nodes are only written into the archive.
"""

import gzip
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from appliance.initrd import cpio, drivers
from appliance.initrd.commands import find_program, run
from appliance.initrd.elf import parse_elf
from appliance.initrd.errors import InitrdError
from appliance.initrd.kernel import Kernel, open_kernel
from appliance.initrd.libraries import library_folders, program_entries
from appliance.initrd.modules import ModuleTable, plain_path, read_module, read_modules, run_depmod

GZIP_LEVEL = 9  # every client loads the archive at every boot: worth a few seconds once
FOLDERS = ("dev", "etc", "image", "lower", "proc", "root", "run", "sys", "upper")


@dataclass(frozen=True, slots=True)
class InitrdReport:
    """What went into an initramfs: sizes in bytes, modules and firmware by name, drivers this kernel doesn't have."""

    output: Path
    kernel_version: str
    size: int
    unpacked_size: int
    modules: tuple[str, ...]
    firmware: tuple[str, ...]
    absent_drivers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Drivers:
    """The entries of the modules and their firmware, and how the report tells of them."""

    entries: list[cpio.Entry]
    machine: tuple[int, int]
    modules: tuple[str, ...]
    firmware: tuple[str, ...]
    absent: tuple[str, ...]


def builder_inputs() -> str:
    """A digest over what every initramfs is made from besides its kernel: this package, busybox and nbd-client.

    Raises: InitrdError naming the package when one of the programs is not installed.
    """
    own = [path for path in Path(__file__).parent.rglob("*") if path.suffix in (".py", ".sh")]
    digest = hashlib.sha256()
    for path in (*sorted(own), find_program("busybox", "busybox-static"), find_program("nbd-client", "nbd-client")):
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def build_initrd(kernel: str, output: Path, *, progress: Callable[[str], None]) -> InitrdReport:
    """Build the client initramfs for a kernel and put it at output, atomically.

    kernel is a Debian package (linux-image-cloud-amd64), a .deb file, or a folder that holds lib/modules/VERSION ("/"
    for the running system) or is it. progress gets one line a step.

    Raises: InitrdError, with a message that names the thing and the remedy, for whatever prevents it.
    """
    if not output.absolute().parent.is_dir():
        raise InitrdError(f"--output {output}: its folder does not exist; create {output.absolute().parent}")
    if output.is_dir():
        raise InitrdError(f"--output {output} is a folder; name a file, such as {output / 'initrd'}")
    try:
        with open_kernel(kernel, progress) as found, tempfile.TemporaryDirectory(prefix="rootwire-initrd-") as scratch:
            progress(f"choosing drivers of kernel {found.version}")
            chosen = _collect_drivers(found, Path(scratch))
            entries = [*_program_entries(chosen.machine), *_client_entries(), *chosen.entries]
            progress(f"writing {output}")
            size, unpacked_size = _write(entries, output)
    except OSError as error:
        raise InitrdError(f"{error.filename or output}: {error.strerror}; free space or correct the path") from error
    return InitrdReport(output, found.version, size, unpacked_size, chosen.modules, chosen.firmware, chosen.absent)


def _client_entries() -> Iterator[cpio.Entry]:
    """The init and its libraries, folders to mount on, device nodes for the time before devtmpfs is mounted."""
    for script in sorted(resources.files("appliance.initrd").joinpath("client").iterdir(), key=lambda s: s.name):
        if script.name == "init.sh":
            yield cpio.file("init", script.read_bytes(), executable=True)
        elif script.name.endswith(".sh"):
            yield cpio.file(f"lib/rootwire/{script.name}", script.read_bytes(), executable=script.name == "lease.sh")
    yield from map(cpio.folder, FOLDERS)
    yield cpio.character_device("dev/console", 0o600, 5, 1)
    yield cpio.character_device("dev/null", 0o666, 1, 3)


def _program_entries(machine: tuple[int, int]) -> Iterator[cpio.Entry]:
    """Busybox and nbd-client, made for the kernel's machine; the kernel itself calls /sbin/modprobe."""
    busybox = find_program("busybox", "busybox-static")
    data = busybox.read_bytes()
    elf = parse_elf(data, str(busybox))
    if elf.interpreter is not None:
        raise InitrdError(f"{busybox} needs shared libraries; run: apt-get install busybox-static")
    if elf.machine != machine:
        raise InitrdError(
            f"{busybox} is made for another machine than the kernel; install busybox-static:ARCHITECTURE of the kernel"
        )
    yield cpio.file("bin/busybox", data, executable=True)
    yield cpio.link("bin/sh", "busybox")
    yield cpio.link("sbin/modprobe", "../bin/busybox")
    yield from program_entries(find_program("nbd-client", "nbd-client"), "bin/nbd-client", tuple(library_folders()))


def _collect_drivers(kernel: Kernel, scratch: Path) -> _Drivers:
    table = read_modules(kernel.modules, scratch / "tables")
    _require_drivers(table, kernel)
    staged = scratch / "staged/lib/modules" / kernel.version
    paths = table.closure((*drivers.REQUIRED, *drivers.OPTIONAL))
    for path in paths:
        plain = staged / plain_path(path)
        plain.parent.mkdir(parents=True, exist_ok=True)
        plain.write_bytes(read_module(table.folder / path))
    run_depmod(table.folder, staged)
    entries = [
        cpio.file(f"lib/modules/{kernel.version}/{path.relative_to(staged)}", path.read_bytes())
        for path in staged.rglob("*")
        if path.is_file() and not path.name.endswith(".bin")  # busybox reads the text tables
    ]
    modules = sorted(staged.rglob("*.ko"))
    firmware = _find_firmware(kernel, modules)
    entries += [cpio.file(f"lib/firmware/{name}", path.read_bytes()) for name, path in firmware.items()]
    machine = parse_elf(modules[0].read_bytes(), str(modules[0])).machine if modules else (0, 0)
    absent = tuple(name for name in drivers.OPTIONAL if not table.has(name))
    return _Drivers(entries, machine, tuple(path.stem for path in modules), tuple(firmware), absent)


def _require_drivers(table: ModuleTable, kernel: Kernel) -> None:
    missing = [name for name in drivers.REQUIRED if not table.has(name)]
    if missing:
        raise InitrdError(
            f"kernel {kernel.version} in {kernel.modules} has no {', '.join(missing)}; choose a kernel that has it,"
            " such as Debian's linux-image-amd64"
        )
    if not any(map(table.has, drivers.NETWORK_CARDS)):
        raise InitrdError(
            f"kernel {kernel.version} in {kernel.modules} has no network card driver; choose another kernel"
        )


def firmware_names(modules: list[Path]) -> list[str]:
    """What the modules call the firmware they load, sorted. Raises: InitrdError when modinfo is missing or fails."""
    if not modules:
        return []
    names = run([find_program("modinfo", "kmod"), "-F", "firmware", *modules], purpose="reading the modules' firmware")
    return sorted(set(names.decode(errors="replace").split()))


def _find_firmware(kernel: Kernel, modules: list[Path]) -> dict[str, Path]:
    """The firmware files the modules name, as far as they are installed, by their path under lib/firmware."""
    found: dict[str, Path] = {}
    for name in firmware_names(modules):
        path = kernel.find_firmware(name)
        if path is not None:
            found[name + path.name.removeprefix(Path(name).name)] = path
    return found


def _write(entries: list[cpio.Entry], output: Path) -> tuple[int, int]:
    """The archive at output by rename, so that no client ever loads half of one; its size and its size unpacked."""
    unpacked_size = 0
    descriptor, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.absolute().parent)
    try:
        with os.fdopen(descriptor, "wb") as raw:
            with gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) as packed:
                for piece in cpio.build_archive(entries):
                    unpacked_size += packed.write(piece)
            size = raw.tell()
            os.fchmod(descriptor, 0o644)
            os.fsync(descriptor)
        Path(name).replace(output)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return size, unpacked_size
