"""What an ELF file needs to run: its interpreter and its libraries' names (System V gABI, chapters 4 and 5).

Only little-endian files, 32 or 64 bit, which is what Debian's netboot machines run. Section headers are left out.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from appliance.initrd.errors import InitrdError

# File header          32 bit  64 bit      Program header   32 bit  64 bit      Dynamic entry   32 bit  64 bit
#   class               4       4            type             0       0           tag            0       0
#   machine            18      18            offset           4       8           value          4       8
#   phoff              28      32            vaddr            8      16
#   phentsize          42      54            filesz          16      32
#   phnum              44      56
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NULL, DT_NEEDED, DT_STRTAB = 0, 1, 5
MAX_PROGRAM_HEADERS = 128  # real files have about a dozen


@dataclass(frozen=True, slots=True)
class Segment:
    """One program header: what it is, where it lies in the file and in memory."""

    kind: int
    offset: int
    address: int
    size: int


@dataclass(frozen=True, slots=True)
class Elf:
    """What a program or library says about itself; static programs have no interpreter and need nothing."""

    machine: tuple[int, int]
    interpreter: str | None
    needed: tuple[str, ...]


def parse_elf(data: bytes, name: str) -> Elf:
    """Read the headers of an ELF file; name is for the error.

    Raises: InitrdError when it is no ELF file of a kind this module reads, or is cut short.
    """
    if data[:4] != b"\x7fELF" or len(data) < 64 or data[4] not in (1, 2) or data[5] != 1:
        raise InitrdError(f"{name} is no little-endian ELF file; reinstall the package it came from")
    is_64_bit = data[4] == 2
    machine = (data[4], struct.unpack_from("<H", data, 18)[0])
    try:
        segments = list(_segments(data, is_64_bit))
        interpreter = next((_text(data, s.offset) for s in segments if s.kind == PT_INTERP), None)
        return Elf(machine, interpreter, tuple(_needed(data, segments, is_64_bit)))
    except (struct.error, ValueError, OverflowError) as error:  # the last: an offset beyond any memory
        raise InitrdError(f"{name} is cut short; reinstall the package it came from") from error


def _segments(data: bytes, is_64_bit: bool) -> Iterator[Segment]:
    start = struct.unpack_from("<Q", data, 32)[0] if is_64_bit else struct.unpack_from("<I", data, 28)[0]
    size, count = struct.unpack_from("<HH", data, 54 if is_64_bit else 42)
    for index in range(min(count, MAX_PROGRAM_HEADERS)):
        at = start + index * size
        if is_64_bit:
            kind, _flags, offset, address, _physical, length = struct.unpack_from("<IIQQQQ", data, at)
        else:
            kind, offset, address, _physical, length = struct.unpack_from("<IIIII", data, at)
        yield Segment(kind, offset, address, length)


def _text(data: bytes, offset: int) -> str:
    return data[offset : data.index(b"\0", offset)].decode("ascii")


def _needed(data: bytes, segments: list[Segment], is_64_bit: bool) -> Iterator[str]:
    tags: list[tuple[int, int]] = []
    for segment in (s for s in segments if s.kind == PT_DYNAMIC):
        step = 16 if is_64_bit else 8
        for at in range(segment.offset, segment.offset + segment.size, step):
            tag, value = struct.unpack_from("<QQ" if is_64_bit else "<II", data, at)
            if tag == DT_NULL:
                break
            tags.append((tag, value))
    strings = next((_file_offset(value, segments) for tag, value in tags if tag == DT_STRTAB), None)
    if strings is not None:
        yield from (_text(data, strings + value) for tag, value in tags if tag == DT_NEEDED)


def _file_offset(address: int, segments: list[Segment]) -> int:
    for segment in segments:
        if segment.kind == PT_LOAD and segment.address <= address < segment.address + segment.size:
            return address - segment.address + segment.offset
    raise ValueError(f"no segment holds address {address:#x}")
