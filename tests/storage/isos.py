"""Media for tests: as xorriso makes them, and by hand as nobody would."""

import struct
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

Tool = Callable[[str], str]
ROOT_SECTOR = 20


def make_iso(
    tool: Tool, path: Path, files: Mapping[str, bytes], *options: str, links: Mapping[str, str] | None = None
) -> Path:
    """A medium with these files and symbolic links, as xorriso makes it; Rock Ridge comes by the option -R."""
    tree = path.with_suffix(".tree")
    tree.mkdir()
    for name, content in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    for name, target in (links or {}).items():
        (tree / name).symlink_to(target)
    command = [tool("xorriso"), "-as", "mkisofs", "-quiet", *options, "-o", str(path), str(tree)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def record(name: bytes, sector: int, size: int, *, flags: int = 0, rock: bytes = b"", unit: int = 0) -> bytes:
    """A directory record."""
    body = name + bytes((len(name) + 1) % 2) + rock
    fixed = struct.pack("<BxI4xI4x7xBB5x", 33 + len(body), sector, size, flags, unit)
    return fixed + bytes([len(name)]) + body


def small_iso(folder: bytes, *, size: int = 2048, sectors: int = 24) -> bytes:
    """A medium whose root has these records and nothing else."""
    root = record(b"\0", ROOT_SECTOR, size, flags=2)
    descriptor = (b"\1CD001\1".ljust(80, b"\0") + struct.pack("<I", sectors)).ljust(156, b"\0") + root
    return (bytes(16 * 2048) + descriptor).ljust(ROOT_SECTOR * 2048, b"\0") + folder.ljust(4 * 2048, b"\0")
