"""Builds the client initramfs: a gzipped cpio archive of programs, kernel modules and init.

It holds busybox, nbd-client, mkfs.ext4, drivers with their firmware, and the scripts of client/. What only machines
with disks or with their root on NFS need goes into a second archive, which these load themselves or are given by their
boot loader behind the first. The same inputs give the same bytes. Nothing needs root: device nodes are only written
into the archive.
"""

import gzip
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from appliance.initrd import cpio, drivers
from appliance.initrd.commands import find_optional, find_program, run
from appliance.initrd.elf import parse_elf
from appliance.initrd.errors import InitrdError
from appliance.initrd.kernel import Kernel, open_kernel
from appliance.initrd.libraries import library_folders, program_entries
from appliance.initrd.modules import ModuleTable, plain_path, read_module, read_modules, run_depmod

GZIP_LEVEL = 9  # every client loads the archive at every boot: worth a few seconds once
FOLDERS = ("dev", "etc", "image", "lower", "proc", "root", "run", "sys", "upper")
FORMATTER = ("mkfs.ext4", "e2fsprogs")  # for write exports that are blank; a program and its Debian package
DISK_TOOLS = (("sfdisk", "fdisk"), ("resize2fs", "e2fsprogs"))
EXTRA_PACKAGES = " ".join(package for _, package in DISK_TOOLS)  # without which no extra archive can be made
RAID_TOOL = ("mdadm", "mdadm")  # left out where it isn't installed: few machines mirror their disks
EXTRA_MARK = "lib/rootwire/extra"  # a file that says for which kernel the extra archive was made


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
    extra_size: int = 0  # of the extra archive, where one was made
    extra_modules: tuple[str, ...] = ()
    absent_programs: tuple[str, ...] = ()  # left out since they are not installed here


@dataclass(frozen=True, slots=True)
class _Drivers:
    """The entries of the modules and their firmware, and how the report tells of them."""

    entries: list[cpio.Entry]
    machine: tuple[int, int]
    modules: tuple[str, ...]
    firmware: tuple[str, ...]


def builder_inputs() -> str:
    """A digest over what every initramfs is made from besides its kernel: this package and the programs it packs.

    Raises: InitrdError naming the package when one of the programs is not installed.
    """
    own = [path for path in Path(__file__).parent.rglob("*") if path.suffix in (".py", ".sh")]
    digest = hashlib.sha256()
    programs = [find_program("busybox", "busybox-static"), find_program("nbd-client", "nbd-client")]
    optional = map(find_optional, (FORMATTER[0], *(name for name, _ in DISK_TOOLS), RAID_TOOL[0]))
    for path in (*sorted(own), *programs, *(path for path in optional if path is not None)):
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def has_extra_tools() -> bool:
    """Whether what the extra archive must hold is installed here."""
    return all(find_optional(name) for name, _ in DISK_TOOLS)


def build_initrd(
    kernel: str, output: Path, *, extra: Path | None = None, progress: Callable[[str], None]
) -> InitrdReport:
    """Build the client initramfs for a kernel and put it at output, atomically; and its extra archive at extra.

    kernel is a Debian package (linux-image-cloud-amd64), a .deb file, or a folder that holds lib/modules/VERSION ("/"
    for the running system) or is it. progress gets one line a step.

    Raises: InitrdError, with a message that names the thing and the remedy, for whatever prevents it.
    """
    _require_place("--output", output)
    if extra is not None:
        _require_place("--extra", extra)
    try:
        with open_kernel(kernel, progress) as found, tempfile.TemporaryDirectory(prefix="rootwire-initrd-") as scratch:
            return _build(found, Path(scratch), output, extra, progress)
    except OSError as error:
        raise InitrdError(f"{error.filename or output}: {error.strerror}; free space or correct the path") from error


def _require_place(option: str, output: Path) -> None:
    if not output.absolute().parent.is_dir():
        raise InitrdError(f"{option} {output}: its folder does not exist; create {output.absolute().parent}")
    if output.is_dir():
        raise InitrdError(f"{option} {output} is a folder; name a file, such as {output / 'initrd'}")


def _build(
    kernel: Kernel, scratch: Path, output: Path, extra: Path | None, progress: Callable[[str], None]
) -> InitrdReport:
    progress(f"choosing drivers of kernel {kernel.version}")
    table = read_modules(kernel.modules, scratch / "tables")
    _require_drivers(table, kernel)
    wanted = (*drivers.REQUIRED, *drivers.OPTIONAL)
    chosen = _collect_drivers(kernel, table, wanted, scratch / "staged")
    formatter = find_optional(FORMATTER[0])
    entries = [*_program_entries(chosen.machine, formatter), *_client_entries(), *chosen.entries]
    absent_programs = [] if formatter else [FORMATTER[0]]
    progress(f"writing {output}")
    size, unpacked_size = _write(entries, output)
    report = InitrdReport(
        *(output, kernel.version, size, unpacked_size, chosen.modules, chosen.firmware),
        tuple(name for name in drivers.OPTIONAL if not table.has(name)),
        absent_programs=tuple(absent_programs),
    )
    if extra is None:
        return report
    progress(f"writing {extra}")
    more = _collect_drivers(kernel, table, (*wanted, *drivers.EXTRA), scratch / "extra")
    raid = find_optional(RAID_TOOL[0])
    held = {entry.name for entry in entries if not _is_table(entry.name)}
    extra_entries = [*_extra_entries(kernel.version, raid), *more.entries]
    extra_size, _ = _write([entry for entry in extra_entries if entry.name not in held], extra)
    return replace(
        report,
        extra_size=extra_size,
        extra_modules=tuple(sorted(set(more.modules) - set(chosen.modules))),
        absent_programs=tuple(absent_programs + ([] if raid else [RAID_TOOL[0]])),
    )


def _is_table(name: str) -> bool:
    """Whether it is one of depmod's tables: the extra archive has those of all modules, over the first's."""
    return name.rpartition("/")[2].startswith("modules.")


def _extra_entries(version: str, raid: Path | None) -> Iterator[cpio.Entry]:
    """The programs of the extra archive, and the mark that says for which kernel it is."""
    yield cpio.file(EXTRA_MARK, f"{version}\n".encode())
    programs = [(find_program(*names), names[0]) for names in DISK_TOOLS]
    for path, name in (*programs, *([(raid, RAID_TOOL[0])] if raid else [])):
        yield from program_entries(path, f"sbin/{name}", tuple(library_folders()))


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


def _program_entries(machine: tuple[int, int], formatter: Path | None) -> Iterator[cpio.Entry]:
    """Busybox, nbd-client and mkfs, made for the kernel's machine; the kernel itself calls /sbin/modprobe."""
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
    if formatter is not None:
        yield from program_entries(formatter, f"sbin/{FORMATTER[0]}", tuple(library_folders()))


def _collect_drivers(kernel: Kernel, table: ModuleTable, names: tuple[str, ...], place: Path) -> _Drivers:
    """The named drivers with what they need, staged below `place` with depmod's tables of just these."""
    staged = place / "lib/modules" / kernel.version
    staged.mkdir(parents=True)
    for path in table.closure(names):
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
    return _Drivers(entries, machine, tuple(path.stem for path in modules), tuple(firmware))


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
