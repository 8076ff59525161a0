"""What a machine wrote to its disk, as it told, and what may therefore be there after a crash."""

import struct

BLOCKS = 96  # written over and over
BLOCK = 4096
SECTOR = 512  # what power loss leaves whole
WORDS = struct.Struct("<II")  # block, version
NOTE = struct.Struct("<cII")  # what became of it, block, version
BEGUN, FORCED, FLUSHED = b"b", b"u", b"f"  # FLUSHED is of every version up to this one
BASE_VERSION = 1  # what a base has everywhere; a blank disk is zeros, version 0


def content(block: int, version: int) -> bytes:
    """What a block holds."""
    return WORDS.pack(block, version) * (BLOCK // WORDS.size) if version else bytes(BLOCK)


class Book:
    """What may be on the disk: of each sector the version that was kept last, and those begun since."""

    def __init__(self, first: int) -> None:
        """`first` is the version that all of the disk has."""
        self.version = first
        self.writes = self.kept = 0
        self._begun: list[list[int]] = [[first] for _ in range(BLOCKS * BLOCK // SECTOR)]

    def note(self, kind: bytes, block: int, version: int) -> None:
        """Hear from the machine."""
        if kind == BEGUN:
            for sector in _sectors(block):
                self._begun[sector].append(version)
            self.version = version
            self.writes += 1
            return
        self.kept += 1
        for sector in _sectors(block) if kind == FORCED else range(len(self._begun)):
            known = self._begun[sector]
            last = max([known[0], *(one for one in known if one <= version)])
            self._begun[sector] = [one for one in known if one >= last]

    def check(self, disk: bytes) -> None:
        """Raise AssertionError for the first sector that is none of those; what never got there, never will."""
        for sector, allowed in enumerate(self._begun):
            block = sector * SECTOR // BLOCK
            found = disk[sector * SECTOR :][:SECTOR]
            version = WORDS.unpack_from(found)[1]
            if version not in allowed or found != content(block, version)[:SECTOR]:
                raise AssertionError(f"sector {sector} begins with version {version}, and is none of {allowed}")
            self._begun[sector] = sorted({allowed[0], version})


def _sectors(block: int) -> range:
    return range(block * BLOCK // SECTOR, (block + 1) * BLOCK // SECTOR)
