"""Which module files a list of names needs, from depmod's tables or without them."""

import gzip
import lzma
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.initrd.errors import InitrdError
from appliance.initrd.modules import module_name, plain_path, read_module, read_modules


def closure(root: Path, *names: str) -> list[str]:
    """The names of the modules that come with these."""
    table = read_modules(root / "lib/modules/6.1.0-test", root / "scratch")
    return sorted(module_name(path) for path in table.closure(names))


def test_dependencies_come_along(kernel_folder: Path) -> None:
    """What modules.dep says, whichever way dashes and underscores are written."""
    assert closure(kernel_folder, "virtio-net") == ["net_failover", "virtio_net"]


def test_soft_dependencies_come_along(kernel_folder: Path) -> None:
    """By name, and by an alias such as crc32c's."""
    assert closure(kernel_folder, "r8169", "squashfs") == ["crc32c_intel", "r8169", "realtek", "squashfs"]


def test_builtin_and_unknown_names_add_nothing(kernel_folder: Path) -> None:
    """Asked for, not there as files."""
    assert closure(kernel_folder, "loop", "nosuch") == []


def test_table_knows_what_the_kernel_has(kernel_folder: Path) -> None:
    """Modules and what is built in, nothing else."""
    table = read_modules(kernel_folder / "lib/modules/6.1.0-test", kernel_folder / "scratch")
    assert [table.has(name) for name in ("nbd", "loop", "nosuch")] == [True, True, False]


def test_tables_are_made_where_missing(kernel_folder: Path, tool: Callable[[str], str]) -> None:
    """An unpacked package has none: depmod makes them elsewhere, and the folder stays as it was."""
    assert tool("depmod")
    folder = kernel_folder / "lib/modules/6.1.0-test"
    for name in ("modules.dep", "modules.softdep", "modules.alias"):
        (folder / name).unlink()
    before = sorted(folder.rglob("*"))
    table = read_modules(folder, kernel_folder / "scratch")
    assert table.closure(["nbd", "loop"]) == ["kernel/nbd.ko"]
    assert sorted(folder.rglob("*")) == before


def test_folder_without_modules_is_refused(tmp_path: Path) -> None:
    """An empty modules.dep."""
    (tmp_path / "modules.dep").touch()
    with pytest.raises(InitrdError, match="holds no kernel modules; give --kernel"):
        read_modules(tmp_path, tmp_path)


def test_compressed_modules_are_unpacked(tmp_path: Path, tool: Callable[[str], str]) -> None:
    """Whatever the kernel's packager chose."""
    (tmp_path / "a.ko").write_bytes(b"module")
    (tmp_path / "a.ko.gz").write_bytes(gzip.compress(b"module"))
    (tmp_path / "a.ko.xz").write_bytes(lzma.compress(b"module"))
    subprocess.run([tool("zstd"), "-q", tmp_path / "a.ko"], check=True)
    assert {read_module(path) for path in tmp_path.iterdir()} == {b"module"}
    assert {plain_path(path.name) for path in tmp_path.iterdir()} == {"a.ko"}


def test_unknown_compression_is_named(tmp_path: Path) -> None:
    """Rather than a module no kernel can load."""
    (tmp_path / "a.ko.lz4").write_bytes(b"?")
    with pytest.raises(InitrdError, match=r"a\.ko\.lz4 is compressed in an unknown way"):
        read_module(tmp_path / "a.ko.lz4")
