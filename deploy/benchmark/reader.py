"""One reading of a squashfs image by one reader, as a program: prints what it read and how long that took, as JSON.

usage: python -m deploy.benchmark.reader READER WORK IMAGE SECONDS

READER is rootwire, PySquashfsImage, dissect, plain or libraries; WORK is all, threads (two of them), find or random.
Starting the interpreter and importing are not timed. `plain` reads FILE in the folder beside the image; `libraries`
decompresses what `all` would read, which is found before.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Done = tuple[int, int]  # requests, bytes
CHUNK = 1 << 17  # bytes of one read, as a server sends them
PAGE = 4096
BURST = 2000  # random reads between looks at the clock
CROWD_NAME = "dir/entry-number-054321"
FILE = "random.bin"  # where random reads go
FILE_BYTES = 64 << 20


def rootwire_all(image: str, threads: int) -> Done:
    """Every file once, as they are found."""
    from storage.image import FileImage
    from storage.squashfs import Cache, Kind, filesystem

    # What is read once needs a cache for fragments only: a large one would first be filled, and its memory taken.
    opened = filesystem.open(FileImage(image), blocks=Cache(4 << 20), metadata=Cache(16 << 20))
    found = (entry.reference for _, entry in opened.walk() if entry.kind is Kind.FILE)
    files = total = 0
    for _, offset, data in opened.read_files(found, threads=threads):
        files, total = files + (offset == 0), total + len(data)
    return files, total


def pysquashfsimage_all(image: str) -> Done:
    """Every file once, as its documentation reads them."""
    from PySquashfsImage import SquashFsImage

    files = total = 0
    with SquashFsImage.from_file(image) as opened:
        for item in opened:
            if item.is_file and not item.is_symlink:
                files, total = files + 1, total + len(item.read_bytes())
    return files, total


def dissect_all(image: str) -> Done:
    """Every file once."""
    from dissect.squashfs import SquashFS

    files = total = 0
    with Path(image).open("rb") as file:
        ahead = [SquashFS(file).root]
        while ahead:
            for node in ahead.pop().iterdir():
                if node.is_dir():
                    ahead.append(node)
                elif node.is_file():
                    opened, files = node.open(), files + 1
                    while part := opened.read(CHUNK):
                        total += len(part)
    return files, total


def rootwire_find(image: str) -> Done:
    """Open an image and find one path in it, with nothing kept from before."""
    from storage.image import FileImage
    from storage.squashfs import Cache, filesystem

    caches = {"blocks": Cache(4 << 20), "metadata": Cache(4 << 20)}
    filesystem.open(FileImage(image), **caches).lookup(CROWD_NAME)
    return 1, 0


def dissect_find(image: str) -> Done:
    """The same."""
    from dissect.squashfs import SquashFS

    with Path(image).open("rb") as file:
        SquashFS(file).get(CROWD_NAME).inode_number  # noqa: B018  # its inode is read when it is asked for
    return 1, 0


def offsets() -> Iterator[int]:
    """Where the random reads are, the same for every reader."""
    source = random.Random(4096)  # noqa: S311  # no secret
    while True:
        yield source.randrange(FILE_BYTES - PAGE)


def rootwire_random(image: str) -> Callable[[int], object]:
    """4 KiB of a file in an image, all of it in the cache."""
    from storage.image import FileImage
    from storage.squashfs import Cache, filesystem

    opened = filesystem.open(FileImage(image), blocks=Cache(2 * FILE_BYTES), metadata=Cache(4 << 20))
    file = opened.open_file(FILE)
    file.read_at(0, FILE_BYTES)
    return lambda offset: file.read_at(offset, PAGE)


def plain_random(image: str) -> Callable[[int], object]:
    """4 KiB of the same file, plain, all of it in the page cache."""
    file = os.open(Path(image).with_name(FILE), os.O_RDONLY)
    os.pread(file, FILE_BYTES, 0)
    return lambda offset: os.pread(file, PAGE, offset)


ONCE: dict[tuple[str, str], Callable[[str], Done]] = {
    ("rootwire", "all"): lambda image: rootwire_all(image, 1),
    ("rootwire", "threads"): lambda image: rootwire_all(image, 2),
    ("PySquashfsImage", "all"): pysquashfsimage_all,
    ("dissect", "all"): dissect_all,
    ("rootwire", "find"): rootwire_find,
    ("dissect", "find"): dissect_find,
}
RANDOM: dict[str, Callable[[str], Callable[[int], object]]] = {"rootwire": rootwire_random, "plain": plain_random}


def repeat(action: Callable[[], Done], seconds: float) -> dict[str, Any]:
    """The action once to import what it needs, then at least once and for at least so long."""
    start, cpu, requests, total = time.perf_counter(), time.process_time(), 0, 0
    while requests == 0 or time.perf_counter() - start < seconds:
        more, size = action()
        requests, total = requests + more, total + size
    return {
        "requests": requests,
        "bytes": total,
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - cpu,
    }


def main(reader: str, work: str, image: str, seconds: float) -> None:
    """Do it and say so."""
    if work == "random":
        read, places = RANDOM[reader](image), offsets()

        def burst() -> Done:
            for _ in range(BURST):
                read(next(places))
            return BURST, BURST * PAGE

        print(json.dumps(repeat(burst, seconds)))
        return
    if reader == "libraries":
        from deploy.benchmark.libraries import libraries

        print(json.dumps(repeat(libraries(image, 2 if work == "threads" else 1), 0.0)))
        return
    once = ONCE[reader, work]
    if work == "find":
        once(image)  # imports
    elif reader == "PySquashfsImage":
        import PySquashfsImage  # noqa: F401
    elif reader == "dissect":
        import dissect.squashfs  # noqa: F401
    else:
        import storage.squashfs  # noqa: F401
    print(json.dumps(repeat(lambda: once(image), seconds if work == "find" else 0.0)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]))
