"""What power loss leaves of a layer: whatever of it reached the disk since the last flush, no flush is taken back."""

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typing_extensions import Buffer

from storage.image import FileImage
from tests.storage.layers import (
    BASE,
    CLUSTER,
    HEADER_START,
    LAYERS,
    MAP_START,
    SECTOR,
    SIZE,
    Change,
    Layer,
    changes,
    shared_base,
)
from tests.storage.powerloss import SYNCED, Record, leave, make_recorder, parse_records

ROOT = Path(__file__).parents[2]
CHANGES = 40
WORKLOAD = """
import os, sys
from storage.image import FileImage
from tests.storage.layers import LAYERS, SIZE, changes, shared_base

place, log, kind, seed, count, has_base = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
layer = LAYERS[kind](FileImage(place, writable=True), size=SIZE, base=shared_base() if has_base else None)
notes = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
for number, change in enumerate(changes(seed, count)):
    os.write(notes, b"b" + number.to_bytes(8, "little") + bytes(8))
    change.apply(layer)
    os.write(notes, b"e" + number.to_bytes(8, "little") + bytes(8))
"""


@pytest.fixture(scope="session")
def recorder(tmp_path_factory: pytest.TempPathFactory, tool: Callable[[str], str]) -> Path:
    """What notes the system calls of a process."""
    return make_recorder(tmp_path_factory.mktemp("recorder"), tool("cc"))


def record(recorder: Path, folder: Path, kind: int, seed: int, has_base: bool) -> list[Record]:
    """Everything that a layer did to its file while a client was at work."""
    place, log = folder / "layer", folder / "log"
    place.touch()
    os.truncate(place, HEADER_START)
    arguments = [str(n) for n in (place, log, kind, seed, CHANGES, int(has_base))]
    own = {"LD_PRELOAD": str(recorder), "RECORD_OF": str(place), "RECORD_TO": str(log)}
    subprocess.run([sys.executable, "-c", WORKLOAD, *arguments], cwd=ROOT, env=os.environ | own, check=True)
    return list(parse_records(log.read_bytes()))


def states(seed: int, has_base: bool) -> list[bytes]:
    """What the layer reads as before the first change, and after each."""
    content = bytearray(BASE.ljust(SIZE, b"\0") if has_base else bytes(SIZE))
    found = [bytes(content)]
    for change in changes(seed, CHANGES):
        change.model(content)
        found.append(bytes(content))
    return found


def open_left(kind: Callable[..., Layer], file: Buffer, place: Path, has_base: bool) -> Layer:
    """What is left, opened."""
    place.write_bytes(file)
    return kind(FileImage(place, writable=True), size=SIZE, base=shared_base() if has_base else None)


@pytest.mark.parametrize(
    ("kind", "has_base", "seed"),
    [(0, True, 1), (0, True, 2), (0, False, 3), (1, True, 4), (1, False, 5)],
    ids=["native", "native_again", "native_blank", "twin", "twin_blank"],
)
def test_no_flush_is_taken_back(recorder: Path, tmp_path: Path, kind: int, seed: int, has_base: bool) -> None:
    """Power is lost after every system call, writes since the last flush done in part and out of order."""
    records = record(recorder, tmp_path, kind, seed, has_base)
    expected, made = states(seed, has_base), changes(seed, CHANGES)
    assert sum(found.kind == SYNCED for found in records) >= sum(change.kind == "sync" for change in made)
    rng = random.Random(seed)
    kept = begun = 0
    for number, found in enumerate(records):
        if found.kind == b"b":
            begun = found.offset + 1
        if found.kind == b"e" and made[found.offset].kind == "sync":
            kept = found.offset + 1
        file = leave(bytes(HEADER_START), records[: number + 1], rng)
        left = open_left(LAYERS[kind], file, tmp_path / "left", has_base)
        content = left.read_at(0, SIZE)
        for start in range(0, SIZE, SECTOR):
            sector = slice(start, start + SECTOR)
            if content[sector] != expected[kept][sector]:
                since = [state[sector] for state in expected[kept : begun + 1]]
                assert content[sector] in since or is_made_of(content[sector], since), (number, start)


def is_made_of(sector: bytes, states: list[bytes]) -> bool:
    """Whether each byte is one that it was at some time since: changes of parts of a sector are cut up."""
    return all(any(byte == state[at] for state in states) for at, byte in enumerate(sector))


def flushed_map(folder: Path, kind: Callable[..., Layer], seed: int) -> Iterator[tuple[bytes, bytes]]:
    """The file and what was read of it, after each of several flushes."""
    place = folder / "layer"
    place.touch()
    os.truncate(place, HEADER_START)
    layer = kind(FileImage(place, writable=True), size=SIZE, base=shared_base())
    rng = random.Random(seed)
    for _ in range(4):
        for _ in range(6):
            Change("write", rng.randrange(SIZE - CLUSTER), 700, rng.randrange(1, 256)).apply(layer)
        layer.sync()
        yield place.read_bytes(), layer.read_at(0, SIZE)


@pytest.mark.parametrize("kind", LAYERS, ids=["native", "twin"])
def test_a_torn_map_is_between_two_states(tmp_path: Path, kind: Callable[..., Layer]) -> None:
    """Cut at each byte, either end of it the new one: a cluster is as it was flushed, or as before."""
    (_, _), (old, _), (new, content), _ = flushed_map(tmp_path, kind, 3)
    width = SIZE // CLUSTER // 8 + 2
    for cut in range(width):
        at = MAP_START + cut
        for torn in (new[:at] + old[at:], new[:MAP_START] + old[MAP_START:at] + new[at:]):
            found = open_left(kind, torn, tmp_path / "torn", has_base=True).read_at(0, SIZE)
            own_before = int.from_bytes(old[MAP_START:], "little")
            for number in range(-(-SIZE // CLUSTER)):
                cluster = slice(number * CLUSTER, (number + 1) * CLUSTER)
                is_base = found[cluster] == BASE[cluster].ljust(len(found[cluster]), b"\0")
                assert found[cluster] == content[cluster] or (is_base and not own_before >> number & 1)
