"""Kernel modules: which files a list of module names needs, and the folder the client's modprobe reads.

The tables are depmod's (modules.dep(5), modules.softdep, modules.alias). Modules compressed by xz, gzip or zstd are
stored plain: busybox's modprobe can't read all of these, and the archive is compressed as a whole anyway.
"""

import gzip
import lzma
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.initrd.commands import find_program, run
from appliance.initrd.errors import InitrdError

# What depmod and modprobe need to know of what is built in, and the order modules were built in.
KEPT_TABLES = ("modules.builtin", "modules.builtin.modinfo", "modules.order")


def module_name(path: str) -> str:
    """The name modprobe knows a module file by: without folder and suffixes, with underscores."""
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")


@dataclass(frozen=True, slots=True)
class ModuleTable:
    """What one kernel version has: module files by name (relative to folder), what each needs, what is built in."""

    folder: Path
    paths: dict[str, str]
    needs: dict[str, tuple[str, ...]]
    aliases: dict[str, tuple[str, ...]]
    builtin: frozenset[str]

    def has(self, name: str) -> bool:
        """Whether the kernel has it, as a module or built in."""
        return name in self.paths or name in self.builtin

    def closure(self, names: Iterable[str]) -> list[str]:
        """The files of the named modules and of all they need, sorted; built in or unknown names add none."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop().replace("-", "_")
            if name in self.paths and name not in found:
                found.add(name)
                waiting += self.needs.get(name, ())
            elif name not in self.paths:
                waiting += self.aliases.get(name, ())
        return sorted(self.paths[name] for name in found)


def read_modules(folder: Path, scratch: Path) -> ModuleTable:
    """Read what lib/modules/VERSION holds; depmod makes the tables in scratch when the folder has none.

    Raises: InitrdError when depmod is missing or fails, or there are no modules.
    """
    tables = folder
    if not (folder / "modules.dep").is_file():
        tables = _make_tables(folder, scratch)
    paths: dict[str, str] = {}
    needs: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    for line in (tables / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        paths[module_name(path)] = path
        needs[module_name(path)] += tuple(module_name(other) for other in rest.split())
    if not paths:
        raise InitrdError(
            f"{folder} holds no kernel modules; give --kernel a folder with lib/modules/VERSION or a package"
        )
    for words in _words(tables / "modules.softdep"):
        if words[0] == "softdep":
            needs[words[1].replace("-", "_")] += tuple(w for w in words[2:] if w not in ("pre:", "post:"))
    return ModuleTable(folder, paths, dict(needs), _read_aliases(tables), _read_builtin(folder))


def _words(table: Path) -> Iterator[list[str]]:
    if table.is_file():
        for line in table.read_text().splitlines():
            words = line.split()
            if len(words) > 1 and not words[0].startswith("#"):
                yield words


def _read_aliases(tables: Path) -> dict[str, tuple[str, ...]]:
    """Aliases that are plain names, such as crypto-crc32c; the patterns are for devices."""
    aliases: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    for words in _words(tables / "modules.alias"):
        if words[0] == "alias" and len(words) > 2 and not set(words[1]) & set("*?["):
            aliases[words[1].replace("-", "_")] += (words[2],)
    return dict(aliases)


def _read_builtin(folder: Path) -> frozenset[str]:
    table = folder / "modules.builtin"
    return frozenset(map(module_name, table.read_text().split())) if table.is_file() else frozenset()


def _make_tables(folder: Path, scratch: Path) -> Path:
    """Run depmod over links to the modules, since the folder may not be ours to write to."""
    farm = scratch / "lib/modules" / folder.name
    for path in sorted(folder.rglob("*.ko*")):
        shadow = farm / path.relative_to(folder)
        shadow.parent.mkdir(parents=True, exist_ok=True)
        shadow.symlink_to(path.resolve())
    farm.mkdir(parents=True, exist_ok=True)
    run_depmod(folder, farm)
    return farm


def run_depmod(folder: Path, staged: Path) -> None:
    """Make the tables of staged, a ROOT/lib/modules/VERSION, with what folder says of what is built in.

    Raises: InitrdError when depmod is missing or fails.
    """
    for table in KEPT_TABLES:
        if (folder / table).is_file():
            shutil.copyfile(folder / table, staged / table)
    depmod = find_program("depmod", "kmod")
    run([depmod, "-b", staged.parents[2], staged.name], purpose=f"depmod for kernel {staged.name}")


def read_module(path: Path) -> bytes:
    """A module's bytes, unpacked.

    Raises: InitrdError for a compression this module doesn't know.
    """
    data = path.read_bytes()
    match path.suffix:
        case ".ko":
            return data
        case ".xz":
            return lzma.decompress(data)
        case ".gz":
            return gzip.decompress(data)
        case ".zst":
            return run([find_program("zstd", "zstd"), "-q", "-d", "-c", path], purpose=f"unpacking {path}")
    raise InitrdError(f"{path} is compressed in an unknown way; unpack the kernel's modules first")


def plain_path(path: str) -> str:
    """Where an unpacked module goes: its path without the compression's suffix."""
    return path.partition(".ko")[0] + ".ko"
