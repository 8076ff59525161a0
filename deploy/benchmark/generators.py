"""The load generators: C programs under tests/bench, compiled on demand, run in a namespace on a core of their own."""

import asyncio
import hashlib
import json
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.benchmark.errors import BenchmarkError

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = REPOSITORY / "tests" / "bench"
COMPILE = ("gcc", "-O2", "-Wall", "-Wextra")
PATIENCE = 60.0  # seconds a generator may take beyond its run: a thousand handshakes on a busy machine


class LoadFailedError(Exception):
    """A generator ended without a figure; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a generator printed, as far as it prints it.

    `total` includes what was answered after the run's end, `served` is how many clients were answered at all;
    of its processor time it spent `waited_seconds` in looking for answers that had not come yet.
    """

    requests: int
    bytes: int
    seconds: float
    cpu_seconds: float
    resent: int = 0
    served: int | None = None
    total: int | None = None
    p50_us: float | None = None
    p99_us: float | None = None
    max_us: float | None = None
    waited_seconds: float = 0.0


def build(name: str, folder: Path) -> Path:
    """Compile tests/bench/<name>.c into `folder` unless what it is made of was compiled there before; its path.

    Raises: BenchmarkError with the compiler's first line.
    """
    source = SOURCES / f"{name}.c"
    digest = hashlib.sha256(source.read_bytes() + (SOURCES / "bench.h").read_bytes()).hexdigest()
    program = folder / f"{name}-{digest[:12]}"  # times of checkouts say nothing of which is newer
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = program.with_suffix(".new")
    done = subprocess.run([*COMPILE, "-o", unfinished, source], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchmarkError(f"the load generator {name} does not compile: {done.stderr.strip().splitlines()[0]}")
    return unfinished.rename(program)


async def run(
    program: Path,
    words: Sequence[str],
    *,
    seconds: float,
    within: Sequence[str] = (),
    on_start: Callable[[], None] = lambda: None,
) -> Load:
    """Run a generator for `seconds`; `within` is a command that enters its namespace and core.

    `on_start` is called when it starts to count, with its clients connected.
    Raises: LoadFailedError with what it said when it ends with another status than 0.
    """
    process = await asyncio.create_subprocess_exec(
        *within, str(program), *words, "--seconds", str(seconds), stdout=PIPE, stderr=PIPE
    )
    assert process.stdout is not None  # noqa: S101  # it is a pipe
    try:
        async with asyncio.timeout(seconds + PATIENCE):
            if await process.stdout.readline() == b"start\n":
                on_start()
            out, said = await process.communicate()
    except TimeoutError:
        raise LoadFailedError(f"no end after {seconds + PATIENCE:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise LoadFailedError(said.decode(errors="replace").strip() or f"status {process.returncode}")
    return _load(json.loads(out))


def _load(printed: Mapping[str, Any]) -> Load:
    return Load(
        requests=printed["requests"],
        bytes=printed["bytes"],
        seconds=printed["seconds"],
        cpu_seconds=printed["cpu_seconds"],
        resent=printed.get("resent", 0),
        served=printed.get("served"),
        total=printed.get("total"),
        p50_us=printed.get("p50_us"),
        p99_us=printed.get("p99_us"),
        max_us=printed.get("max_us"),
        waited_seconds=printed.get("waited_seconds", 0.0),
    )
