"""What recording costs the reads that are recorded: the same export of one server, with a trace and without, in turns.

4 KiB at random offsets of an image in memory: each read is a run of its own, which is what costs most.
"""

import asyncio
import logging
import os
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import structlog

from appliance.heat.recording import HeatLimits
from deploy.benchmark.generators import Load, build, run
from protocols.nbd.endpoint import NbdServer
from storage.image import FileImage
from storage.trace import Trace

IMAGE_BYTES = 256 << 20
SECONDS = 0.5  # of one turn: what else runs on the machine changes slower than that
LOADS = {"1x1": ("--connections", "1", "--depth", "1"), "16x4": ("--connections", "16", "--depth", "4")}
TRACED, PLAIN = "traced", "plain"
CORES = sorted(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Cost:
    """Reads a second without a trace and with one, in the order of the turns."""

    plain: list[float]
    traced: list[float]

    @property
    def ratio(self) -> float:
        """The median of what each pair of turns came to."""
        return statistics.median(traced / plain for plain, traced in zip(self.plain, self.traced, strict=True))


async def measure(folder: Path, rounds: int) -> dict[str, Cost]:
    """The cost by load. `folder` is in memory."""
    program = build("nbd", folder)
    server = _serve(_make_image(folder / "image"))
    await server.bind("127.0.0.1", 0)
    task = asyncio.create_task(server.run())
    try:
        return {name: await _compare(program, server.port, load, rounds) for name, load in LOADS.items()}
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _make_image(path: Path) -> FileImage:
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, IMAGE_BYTES)
    return FileImage(path)


def _serve(image: FileImage) -> NbdServer:
    async def find(name: str, client: str) -> FileImage:
        return image

    return NbdServer(
        find=find,
        names=lambda client: [TRACED, PLAIN],
        report=lambda event: None,
        trace_reads=lambda export, client: Trace(HeatLimits().runs) if export == TRACED else None,
    )


async def _compare(program: Path, port: int, load: tuple[str, ...], rounds: int) -> Cost:
    rates: dict[str, list[float]] = {PLAIN: [], TRACED: []}
    for number in range(rounds):
        for export in (PLAIN, TRACED) if number % 2 == 0 else (TRACED, PLAIN):
            words = ("--address", "127.0.0.1", "--port", str(port), "--export", export, "--size", "4096", *load)
            done: Load = await run(program, words, seconds=SECONDS, within=("taskset", "-c", str(CORES[-1])))
            rates[export].append(done.requests / done.seconds)
    return Cost(rates[PLAIN], rates[TRACED])


def report(rounds: int) -> None:
    """Measure, and print a table; the server has the first core, the load the last."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    os.sched_setaffinity(0, {CORES[0]})
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        figures = asyncio.run(measure(Path(folder), rounds))
    print(f"| 4 KiB reads a second, median of {rounds} | not recorded | recorded | |\n|---|---:|---:|---:|")
    for name, cost in figures.items():
        plain, traced = statistics.median(cost.plain), statistics.median(cost.traced)
        print(f"| {name} | {plain:,.0f} | {traced:,.0f} | {cost.ratio:.3f} |")
