"""The shared libraries a program needs, found as the loader would find them, without running the program."""

from collections.abc import Iterator
from pathlib import Path

from appliance.initrd import cpio
from appliance.initrd.elf import parse_elf
from appliance.initrd.errors import InitrdError

LOADER_CONFIG = Path("/etc/ld.so.conf")
DEFAULT_FOLDERS = (Path("/lib"), Path("/usr/lib"), Path("/lib64"), Path("/usr/lib64"))  # ld.so(8)


def library_folders(config: Path = LOADER_CONFIG) -> Iterator[Path]:
    """The folders of ld.so.conf and the files it includes, in order, then the loader's own."""
    yield from _configured(config)
    yield from DEFAULT_FOLDERS


def _configured(config: Path) -> Iterator[Path]:
    if not config.is_file():
        return
    for line in config.read_text().splitlines():
        words = line.split("#")[0].split()
        if words and words[0] == "include":
            for pattern in words[1:]:
                for included in sorted(config.parent.glob(pattern.removeprefix(f"{config.parent}/"))):
                    yield from _configured(included)
        else:
            yield from map(Path, words)


def program_entries(program: Path, name: str, folders: tuple[Path, ...]) -> Iterator[cpio.Entry]:
    """The program as name in the archive, its loader, and every library it needs, directly or not.

    The libraries all go where the C library is, which is one of the loader's own folders: the initramfs has no cache.

    Raises: InitrdError when a library is missing, or a file is no ELF file.
    """
    data = program.read_bytes()
    elf = parse_elf(data, str(program))
    yield cpio.file(name, data, executable=True)
    if elf.interpreter is None:
        return
    yield cpio.file(elf.interpreter.lstrip("/"), Path(elf.interpreter).read_bytes(), executable=True)
    found: dict[str, Path] = {Path(elf.interpreter).name: Path(elf.interpreter)}
    waiting = list(elf.needed)
    contents: dict[str, bytes] = {}
    while waiting:
        library = waiting.pop()
        if library in found:
            continue
        found[library], contents[library] = _find_library(library, program, elf.machine, folders)
        waiting += parse_elf(contents[library], str(found[library])).needed
    target = found["libc.so.6"].parent if "libc.so.6" in found else DEFAULT_FOLDERS[0]
    for library, content in contents.items():
        yield cpio.file(f"{target}/{library}".lstrip("/"), content, executable=True)


def _find_library(
    library: str, program: Path, machine: tuple[int, int], folders: tuple[Path, ...]
) -> tuple[Path, bytes]:
    """The first file of that name made for the same machine."""
    for folder in folders:
        path = folder / library
        if path.is_file():
            data = path.read_bytes()
            if parse_elf(data, str(path)).machine == machine:
                return path, data
    raise InitrdError(
        f"{program} needs the library {library}, which is in none of the loader's folders; reinstall its package"
    )
