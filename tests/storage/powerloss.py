"""What power loss leaves of a file: the system calls of the process that wrote it are noted, and replayed in part."""

import random
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.storage.layers import SECTOR

RECORD = struct.Struct("<cQQ")
WRITTEN, PUNCHED, SYNCED = b"w", b"p", b"s"


@dataclass(frozen=True)
class Record:
    """What happened to the file: a write, a hole, a flush; or a change began or ended."""

    kind: bytes
    offset: int
    data: bytes


def make_recorder(folder: Path, compiler: str = "cc") -> Path:
    """The library that notes what the process it is preloaded into does to a file."""
    made = folder / "recorder.so"
    source = Path(__file__).with_name("recorder.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", made, source, "-ldl"], check=True)
    return made


def parse_records(log: bytes) -> Iterator[Record]:
    """What the recorder and the workload noted; a record that a kill cut off never was."""
    at = 0
    while at + RECORD.size <= len(log):
        kind, offset, length = RECORD.unpack_from(log, at)
        at += RECORD.size
        data = log[at : at + length] if kind == WRITTEN else bytes(length if kind == PUNCHED else 0)
        at += len(data) if kind == WRITTEN else 0
        yield Record(kind, offset, data)


def leave(before: bytes, records: Sequence[Record], rng: random.Random) -> bytearray:
    """The file once power was lost: all that was flushed since it was `before`, and of the rest some sectors."""
    last_flush = max((n for n, record in enumerate(records) if record.kind == SYNCED), default=0)
    file = bytearray(before)
    chance = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0])
    for number, made in enumerate(records):
        if made.kind not in (WRITTEN, PUNCHED):
            continue
        end = made.offset + len(made.data)
        if number < last_flush:
            file[made.offset : end] = made.data
            continue
        for sector in range(made.offset // SECTOR, -(-end // SECTOR)):
            start, stop = max(made.offset, sector * SECTOR), min(end, (sector + 1) * SECTOR)
            if rng.random() < chance:
                file[start:stop] = made.data[start - made.offset : stop - made.offset]
    return file
