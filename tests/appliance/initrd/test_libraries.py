"""A program's libraries, found without running it, against what ldd finds by running the loader."""

import contextlib
import re
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.initrd.elf import parse_elf
from appliance.initrd.errors import InitrdError
from appliance.initrd.libraries import library_folders, program_entries


def test_same_libraries_as_the_loader(tool: Callable[[str], str]) -> None:
    """For nbd-client: each library ldd names, by content, and the loader itself."""
    program = Path(tool("nbd-client"))
    listed = subprocess.run([tool("ldd"), program], capture_output=True, text=True, check=True).stdout
    expected = {Path(path).name: Path(path).read_bytes() for path in re.findall(r"(/\S+) \(0x", listed)}
    entries = {entry.name: entry for entry in program_entries(program, "bin/nbd-client", tuple(library_folders()))}
    found = {name.rpartition("/")[2]: entry.data for name, entry in entries.items()}
    assert found.pop("nbd-client") == program.read_bytes()
    assert found == expected


def test_libraries_share_the_loaders_folder(tool: Callable[[str], str]) -> None:
    """One folder, that of the C library: an initramfs has no ld.so.cache."""
    entries = program_entries(Path(tool("nbd-client")), "bin/nbd-client", tuple(library_folders()))
    names = [entry.name for entry in entries][2:]
    assert len({name.rpartition("/")[0] for name in names}) == 1


def test_static_program_needs_nothing(tool: Callable[[str], str]) -> None:
    """Busybox goes in alone."""
    program = Path(tool("busybox"))
    assert [entry.name for entry in program_entries(program, "bin/busybox", ())] == ["bin/busybox"]
    elf = parse_elf(program.read_bytes(), "busybox")
    assert (elf.interpreter, elf.needed) == (None, ())


def test_missing_library_is_named(tool: Callable[[str], str], tmp_path: Path) -> None:
    """With the program that needs it and a remedy."""
    with pytest.raises(InitrdError, match=r"nbd-client needs the library lib\S+, which is in none .* reinstall"):
        list(program_entries(Path(tool("nbd-client")), "bin/nbd-client", (tmp_path,)))


def test_loader_configuration_is_read(tmp_path: Path) -> None:
    """Comments go, includes are followed in order, the loader's own folders come last."""
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/b.conf").write_text("/b\n")
    (tmp_path / "conf.d/a.conf").write_text("# first\n/a # trailing\n")
    (tmp_path / "ld.so.conf").write_text("include conf.d/*.conf\n/c\n")
    folders = [str(path) for path in library_folders(tmp_path / "ld.so.conf")]
    assert folders == ["/a", "/b", "/c", "/lib", "/usr/lib", "/lib64", "/usr/lib64"]
    assert [str(path) for path in library_folders(tmp_path / "none")] == folders[3:]


def test_elf_cut_short_anywhere_is_one_error(tool: Callable[[str], str]) -> None:
    """No other exception, wherever a file ends within its headers and string tables."""
    data = Path(tool("nbd-client")).read_bytes()
    whole = parse_elf(data, "whole")
    for length in [*range(0, 1200, 7), *range(1200, len(data), 4096)]:
        with contextlib.suppress(InitrdError):
            assert parse_elf(data[:length], "short") == whole


@pytest.mark.parametrize(
    "data", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x02\x02" + bytes(60), b"\x7fELF\x03\x01" + bytes(60)]
)
def test_other_files_are_no_elf(data: bytes) -> None:
    """Scripts, big-endian files, unknown classes."""
    with pytest.raises(InitrdError, match="thing is no little-endian ELF file"):
        parse_elf(data, "thing")


def test_32_bit_programs_are_read(tool: Callable[[str], str], tmp_path: Path) -> None:
    """Headers of the other class: an object file linked for i386 without a C library."""
    source, program = tmp_path / "a.c", tmp_path / "a.so"
    source.write_text("int answer(void) { return 42; }\n")
    flags = ["-m32", "-shared", "-nostdlib", "-fno-pic", "-Wl,-z,notext"]
    subprocess.run([tool("gcc"), *flags, "-o", program, source], capture_output=True, check=True)
    assert parse_elf(program.read_bytes(), "a.so").machine == (1, 3)


@given(st.integers(0, 63), st.binary(min_size=1, max_size=16), st.integers(0, 300))
def test_a_damaged_elf_file_raises_nothing_else(at: int, damage: bytes, length: int) -> None:
    """Modules may come out of a stranger's image."""
    header = struct.pack("<4sBB10xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    segments = struct.pack("<IIQQQQQQ", 3, 0, 120, 0, 0, 8, 8, 1) + struct.pack("<IIQQQQQQ", 2, 0, 176, 0, 0, 32, 32, 8)
    good = header + segments + bytes(64)
    data = good[:at] + damage + good[at + len(damage) :]
    with contextlib.suppress(InitrdError):
        parse_elf(data[: max(length, at)], "module")
    with contextlib.suppress(InitrdError):
        parse_elf(header + segments.replace(struct.pack("<Q", 120), b"\xff" * 8), "module")
