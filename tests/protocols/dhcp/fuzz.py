#!/usr/bin/env -S python3 -P
"""A coverage-guided fuzzer of the DHCP room: whatever the packet, a right answer, silence or WireError; by deploy/fuzz.

As a program with arguments it is libFuzzer, by way of atheris. `seeds FOLDER` writes every captured packet as it came
to either port; `keep FOLDER` packs a folder, which libFuzzer's -merge=1 made small, as the corpus that tests replay;
`storm RUNS FOLDER...` makes that many inputs of those in the folders, and takes no look at coverage: ten times as fast.
"""

import hashlib
import random
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import track

from tests.corpus import keep

CORPUS = Path(__file__).with_name("corpus.zip")
WAYS = 8  # values of an input's first byte that say how it came
OPTIONS_AT = 241  # in an input: behind that byte, the header and the cookie

MOST_BYTES = 1500  # of an input: what an Ethernet frame holds, and no less than any reply

# Options that decide whether and what is answered, and values that each has met in the field.
BOX, ROUTER = b"\x0a\x4d\0\2", b"\x0a\x4d\0\1"
UUID = b"\0" + bytes(range(16))
VALUES: dict[int, tuple[bytes, ...]] = {
    43: (b"\x47\4\0\0\0\0\xff", b"\x47\4\0\1\x80\0\xff", b"\x47\2\0\0", b"\6\1\x08\xff", b"PXE"),
    12: (b"till", b"\x1b[2J" + bytes(80), b""),
    50: (b"\x0a\x4d\0\x09", b"\x0a\x4d\0\xab", b"\x0a\x4d\0\xad", b"\x0a\x09\0\x32", b"\x0a\x4d"),
    53: (b"\1", b"\2", b"\3", b"\4", b"\5", b"\6", b"\7", b"\x08", b"", b"\1\1"),
    54: (BOX, ROUTER, BOX[:3], b""),
    57: (b"\2\x40", b"\5\xc0", b"\5\xdc", b"\xff\0", b"\0\0", b"\1\x2c", b"\5"),
    60: (
        b"PXEClient",
        b"PXEClient:Arch:00007:UNDI:003000",
        b"PXEClient:Arch:99999",
        b"HTTPClient:Arch:00016",
        b"\0",
        b"",
    ),
    61: (b"\1\x52\x54\0\x77\0\1", UUID, b"", b"\1"),
    77: (b"iPXE", b"\4iPXE", b"\4iPXE\0", b"\3abc\4iPXE", b"\5iPXE", b"\xff"),
    82: (b"\1\4eth0", b"\5\4\x0a\x09\0\0", b"\5\4\x0a\x4d\0\0", b"\5\4\x0a", b"\1\xff" + bytes(255), bytes(250), b""),
    93: (b"\0\0", b"\0\7", b"\0\x09", b"\0\x10", b"\0\x0b\0\7", b"\0", b"\xff\xff", b""),
    97: (UUID, UUID[1:], b"\1" + UUID[1:], bytes(17), b""),
    175: (b"\x13\1\1\x27\1\1", b"\xb0\1\1", b"\x13\xff", b"\x13\0"),
    52: (b"\1", b"\3"),
}
CODES = tuple(VALUES)


def make_seeds(folder: Path) -> None:
    """Every captured packet, our own replies among them, from every way to each port."""
    from tests.protocols.dhcp.vectors import CAPTURES, read_capture  # here: what fuzzes imports the room instrumented

    for capture in sorted(CAPTURES.glob("*.txt")):
        for number, packet in enumerate(read_capture(capture.stem)):
            for way in range(WAYS):
                (folder / f"{capture.stem}-{number}-{way}").write_bytes(bytes((way,)) + packet)


def mutate(data: bytes, most: int, chance: random.Random, plain: Callable[[bytes, int], bytes]) -> bytes:
    """Another input from one: as `plain` makes it, or an option put in, taken out or given another value."""
    if len(data) < OPTIONS_AT or chance.random() < 0.4:
        return plain(data, most)
    options = split(data[OPTIONS_AT:])
    for _ in range(chance.choice((1, 1, 2, 4))):
        change(options, chance)
    packed = b"".join(pack(code, value) for code, value in options)
    return (data[:OPTIONS_AT] + packed + b"\xff")[:most]


def pack(code: int, value: bytes) -> bytes:
    """An option, in pieces where it is too long for one."""
    pieces = [value[at : at + 255] for at in range(0, max(len(value), 1), 255)]
    return b"".join(bytes((code, len(piece))) + piece for piece in pieces)


def split(data: bytes) -> list[tuple[int, bytes]]:
    """Options in their order, as far as they can be read."""
    options = []
    while len(data) > 1 and data[0] != 255:
        options.append((data[0], data[2 : 2 + data[1]]))
        data = data[2 + data[1] :]
    return options


def change(options: list[tuple[int, bytes]], chance: random.Random) -> None:
    """One change to the list."""
    code = chance.choice(CODES)
    option = (code, chance.choice(VALUES[code]))
    places = [at for at, (other, _) in enumerate(options) if other == code]
    if not places or chance.random() < 0.1:
        options.insert(chance.randint(0, len(options)), option)
    elif chance.random() < 0.7:
        options[chance.choice(places)] = option
    else:
        del options[chance.choice(places)]


def storm(runs: int, folders: list[Path]) -> None:
    """Many inputs, by options changed and bytes overwritten; the one that fails is left in the first folder."""
    from tests.protocols.dhcp.exercise import exercise

    chance = random.Random()  # to be different, not secret
    kept = [path.read_bytes() for folder in folders for path in sorted(folder.iterdir())]
    counts: Counter[str] = Counter()
    for _ in track(range(runs), "inputs", console=Console(stderr=True)):
        data = mutate(chance.choice(kept), MOST_BYTES, chance, lambda data, _: overwrite(data, chance))
        try:
            counts[exercise(data)] += 1
        except BaseException:
            (folders[0] / f"failed-{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)
            raise
    print(f"{runs} inputs:", ", ".join(f"{count} {name}" for name, count in counts.most_common()))


def overwrite(data: bytes, chance: random.Random) -> bytes:
    """Some bytes changed, most in the options; at times the end is cut off."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        changed[chance.randrange(chance.choice((0, min(OPTIONS_AT, len(data) - 1))), len(data))] = chance.getrandbits(8)
    return bytes(changed if chance.random() < 0.9 else changed[: chance.randrange(len(data))])


def main() -> None:
    """Seeds, the corpus, a storm, or fuzz."""
    if sys.argv[1] == "seeds":
        make_seeds(Path(sys.argv[2]))
        return
    if sys.argv[1] == "keep":
        keep(Path(sys.argv[2]), CORPUS)
        return
    if sys.argv[1] == "storm":
        storm(int(sys.argv[2]), [Path(folder) for folder in sys.argv[3:]])
        return
    import atheris

    with atheris.instrument_imports(include=["protocols.dhcp"]):
        from tests.protocols.dhcp.exercise import exercise

    def run(data: bytes) -> None:
        exercise(data)

    def another(data: bytes, most: int, seed: int) -> bytes:
        return mutate(data, most, random.Random(seed), atheris.Mutate)  # to be repeated, not secret

    atheris.Setup(sys.argv, run, custom_mutator=another)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
