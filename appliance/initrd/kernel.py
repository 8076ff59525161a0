"""Where the kernel's modules come from: a Debian package by name or file, or a folder that has them.

Packages are downloaded by apt-get into a temporary folder and unpacked there; nothing is installed.
"""

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from appliance.initrd.commands import find_program, run
from appliance.initrd.errors import InitrdError

MODULE_FOLDERS = ("lib/modules", "usr/lib/modules")
FIRMWARE_FOLDERS = ("lib/firmware", "usr/lib/firmware")
FIRMWARE_SUFFIXES = ("", ".xz", ".zst")
# A meta package names the kernel's, which may name one that holds the modules (Ubuntu): three steps, one to spare.
MAX_PACKAGES = 4
PACKAGE_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]+(:[a-z0-9-]+)?")  # Debian policy 5.6.7
NEXT_PACKAGE = re.compile(r"linux-(?:image|modules)-(?:unsigned-)?\d[a-z0-9.+-]*")


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel version: its lib/modules/VERSION, and the roots under which firmware may lie."""

    version: str
    modules: Path
    roots: tuple[Path, ...]

    def find_firmware(self, name: str) -> Path | None:
        """The file of that name under the kernel's or the system's firmware folders; compressed ones count."""
        if not is_plain_firmware(name):
            return None
        for root in self.roots:
            for folder in FIRMWARE_FOLDERS:
                for suffix in FIRMWARE_SUFFIXES:
                    path = root / folder / f"{name}{suffix}"
                    if path.is_file():
                        return path
        return None


def is_plain_firmware(name: str) -> bool:
    """Whether a firmware's name stays below its folder: modules out of a stranger's image may name any file."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


@contextmanager
def open_kernel(kernel: str, progress: Callable[[str], None]) -> Iterator[Kernel]:
    """The kernel that --kernel names: a package, a .deb file, or a folder; what was unpacked is removed afterwards.

    Raises: InitrdError when there is no such package, file or folder, or it has no modules.
    """
    path = Path(kernel)
    if path.is_dir():
        yield find_kernel(path.absolute())
        return
    with tempfile.TemporaryDirectory(prefix="rootwire-kernel-") as scratch:
        if path.is_file():
            _unpack(path.absolute(), Path(scratch) / "tree", progress)
        elif "/" in kernel or not PACKAGE_NAME.fullmatch(kernel):
            raise InitrdError(
                f"--kernel {kernel}: no such folder or file; give a folder with lib/modules or a package name"
            )
        else:
            _unpack_packages(kernel, Path(scratch), progress)
        yield find_kernel(Path(scratch) / "tree", kernel)


def version_key(version: str) -> list[tuple[int, int, str]]:
    """Sorts versions as people read them: runs of digits by their value, so that 6.10 comes after 6.9."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.findall(r"\d+|\D+", version)]


def find_kernel(folder: Path, name: str | None = None) -> Kernel:
    """The newest kernel version in a folder that holds lib/modules, or is lib/modules/VERSION itself.

    Raises: InitrdError when it holds no modules; name is what the message calls it.
    """
    if _has_modules(folder):
        return Kernel(folder.name, folder, (*folder.parents[2:3], Path("/")))
    versions = [
        version
        for holder in (*MODULE_FOLDERS, ".")
        if (folder / holder).is_dir()
        for version in (folder / holder).iterdir()
        if _has_modules(version)
    ]
    if not versions:
        raise InitrdError(
            f"--kernel {name or folder} holds no kernel modules; give a folder with lib/modules/VERSION or a package"
        )
    newest = max(versions, key=lambda version: version_key(version.name))
    return Kernel(newest.name, newest, (folder, Path("/")))


def _has_modules(folder: Path) -> bool:
    return folder.is_dir() and ((folder / "kernel").is_dir() or (folder / "modules.dep").is_file())


def _unpack(package: Path, tree: Path, progress: Callable[[str], None]) -> None:
    progress(f"unpacking {package.name}")
    run([find_program("dpkg", "dpkg"), "-x", package, tree], purpose=f"unpacking {package}")


def _unpack_packages(package: str, scratch: Path, progress: Callable[[str], None]) -> None:
    """Download and unpack a package; as long as there are no modules, the package it depends on for them."""
    tree = scratch / "tree"
    for step in range(MAX_PACKAGES):
        real = _real_package(package)
        downloads = scratch / f"package{step}"
        downloads.mkdir()
        progress(f"downloading {real}")
        remedy = "run: apt-get update, and check the package's name"
        run(
            [find_program("apt-get", "apt"), "-q", "download", real],
            purpose=f"downloading the package {real} ({remedy})",
            folder=downloads,
        )
        for archive in downloads.glob("*.deb"):
            _unpack(archive, tree, progress)
        if any((tree / folder).is_dir() for folder in MODULE_FOLDERS):
            return
        package = _dependency(real) or real
        if package == real:
            return


def _control_fields(package: str) -> dict[str, str]:
    shown = run(
        [find_program("apt-cache", "apt"), "show", "--no-all-versions", package],
        purpose=f"looking up the package {package} (run: apt-get update, and check the package's name)",
    )
    return dict(line.split(": ", 1) for line in shown.decode().splitlines() if ": " in line and line[0] != " ")


def _dependency(package: str) -> str | None:
    """The first package with a kernel's image or modules that a package depends on."""
    found = NEXT_PACKAGE.search(_control_fields(package).get("Depends", ""))
    return found.group() if found else None


def _real_package(package: str) -> str:
    """What a meta package such as linux-image-amd64 stands for; a package that names a version stands for itself."""
    if NEXT_PACKAGE.fullmatch(package):
        return package
    return _dependency(package) or package
