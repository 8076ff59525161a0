"""The squashfs cells: readers of images, each a program that is started, reads, and ends; no servers."""

import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.benchmark.arena import Arena
from deploy.benchmark.arithmetic import FLOOR, OURS, Sample
from deploy.benchmark.cells import CODECS, CROWD_SIZE, Cell
from deploy.benchmark.errors import BenchmarkError
from deploy.benchmark.generators import REPOSITORY, LoadFailedError
from deploy.benchmark.reader import FILE, FILE_BYTES
from deploy.demo.tree import IMAGE_NAME

ROOT_IMAGE = REPOSITORY / ".demo/tree/image" / IMAGE_NAME
MEMORY = Path("/dev/shm")  # noqa: S108  # the RAM disk that unsquashfs unpacks onto
TOTAL = "bytes"  # the file that says how many all files of the root have
LIMIT = 300.0  # seconds for one reading


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader: `words` makes its command of an image, a new folder on a RAM disk, and how many seconds to repeat.

    One that `counts` prints what it did as deploy.benchmark.reader does; of others the whole process is timed.
    """

    name: str
    words: Callable[[Path, Path, float], list[str]]
    counts: bool = True


def _program(reader: str, work: str) -> Callable[[Path, Path, float], list[str]]:
    words = [sys.executable, "-m", "deploy.benchmark.reader", reader, work]
    return lambda image, _, seconds: [*words, str(image), str(seconds)]


UNSQUASHFS = Reader(
    "unsquashfs",
    lambda image, folder, _: ["unsquashfs", "-quiet", "-no-progress", "-p", "1", "-d", f"{folder}/root", str(image)],
    counts=False,
)
SQFS2TAR = Reader("sqfs2tar", lambda image, *_: ["sqfs2tar", str(image)], counts=False)
READERS = {  # by the first word of a cell's load
    "native": (
        Reader(OURS, _program("rootwire", "all")),
        UNSQUASHFS,
        SQFS2TAR,
        Reader(FLOOR, _program("libraries", "all")),
    ),
    "threads": (
        Reader(OURS, _program("rootwire", "threads")),
        Reader("one thread", _program("rootwire", "all")),
        Reader(FLOOR, _program("libraries", "threads")),
    ),
    "python": (
        Reader(OURS, _program("rootwire", "threads")),  # what one call can do: the others have no such thing
        Reader("PySquashfsImage", _program("PySquashfsImage", "all")),
        Reader("dissect", _program("dissect", "all")),
        Reader(FLOOR, _program("libraries", "threads")),
    ),
    "find": (Reader(OURS, _program("rootwire", "find")), Reader("dissect", _program("dissect", "find"))),
    "random": (Reader(OURS, _program("rootwire", "random")), Reader("plain file", _program("plain", "random"))),
}


def readers_of(cell: Cell) -> tuple[Reader, ...]:
    """Who reads in a cell."""
    return READERS[cell.load[0]]


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchmarkError(f"{command[0]} failed: {done.stderr.strip()[-200:]}")


def make_images(folder: Path) -> None:
    """The lab's Debian root by each compressor, a folder of 100,000 names, and a file for random reads.

    Raises: BenchmarkError when there is no Debian root yet.
    """
    if not ROOT_IMAGE.exists():
        raise BenchmarkError(f"the lab's Debian root is missing: run sudo deploy/run once ({ROOT_IMAGE})")
    folder.mkdir(parents=True, exist_ok=True)
    if not all((folder / codec).exists() for codec in CODECS):
        _make_roots(folder, folder / "root")
    crowd, noise = folder / "crowd/dir", folder / FILE
    if not (folder / "find").exists():
        crowd.mkdir(parents=True, exist_ok=True)
        for number in range(CROWD_SIZE):
            (crowd / f"entry-number-{number:06d}").touch()
        _pack(crowd.parent, folder / "find")
        shutil.rmtree(crowd.parent)
    if not (folder / "random").exists():
        source = random.Random(FILE)  # noqa: S311  # no secret
        words = [source.randbytes(6) * 40 for _ in range(4096)]
        noise.write_bytes(b"".join(source.choice(words) for _ in range(FILE_BYTES // 240 + 1))[:FILE_BYTES])
        _pack(noise, folder / "random")


def _make_roots(folder: Path, root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    _run(["unsquashfs", "-quiet", "-no-progress", "-dest", str(root), str(ROOT_IMAGE)])
    files = (path.lstat() for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    (folder / TOTAL).write_text(str(sum(file.st_size for file in files)))
    for codec in CODECS:
        _pack(root, folder / codec, "-comp", codec)
    shutil.rmtree(root)


def _pack(tree: Path, image: Path, *options: str) -> None:
    if image.exists():
        return
    part = image.with_suffix(".part")
    part.unlink(missing_ok=True)
    _run(["mksquashfs", str(tree), str(part), "-noappend", "-quiet", "-no-progress", *options])
    part.rename(image)


def read_once(reader: Reader, cell: Cell, folder: Path, seconds: float, arena: Arena) -> Sample:
    """One reading, of which all is the reader's: there is no load. Raises: LoadFailedError when the reader fails."""
    image = folder / cell.load[-1]
    image.read_bytes()  # the page cache has it
    scratch = Path(tempfile.mkdtemp(prefix="rw-bench-", dir=MEMORY))
    used, busy, start = _cpu_seconds(), arena.busy_seconds(), time.perf_counter()
    try:
        output = _read(reader.words(image, scratch, seconds), reader.counts)
        taken = time.perf_counter() - start
        used, busy = _cpu_seconds() - used, arena.busy_seconds() - busy
    finally:
        shutil.rmtree(scratch)
    if not reader.counts:
        return Sample(1, int((folder / TOTAL).read_text()), taken, 0.0, used, busy=busy)
    said = json.loads(output)
    others = max(0.0, busy - used) * said["seconds"] / taken  # evenly spread, also while the interpreter started
    return Sample(said["requests"], said["bytes"], said["seconds"], 0.0, said["cpu"], busy=said["cpu"] + others)


def _read(words: Sequence[str], counts: bool) -> bytes:
    """Run a reader to its end; what it counted, or nothing: then its output goes into a pipe that somebody empties."""
    sink = ["cat"] if counts else ["dd", "of=/dev/null", "bs=64K", "status=none"]
    with (
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPOSITORY) as process,
        subprocess.Popen(sink, stdin=process.stdout, stdout=subprocess.PIPE) as end,
    ):
        try:
            output, _ = end.communicate(timeout=LIMIT)
            _, said = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired as late:
            process.kill()
            raise LoadFailedError(f"{words[0]} took longer than {LIMIT:g} seconds") from late
    if process.returncode != 0:
        raise LoadFailedError(said.decode(errors="replace").strip()[-200:])
    return output


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
