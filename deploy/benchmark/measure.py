"""The measuring itself: stages in turn, servers alternating within each round, every sample kept."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.benchmark.arena import Arena
from deploy.benchmark.arithmetic import FLOOR, OURS, PLAIN, Row, Sample, inside_row, limit_row, median
from deploy.benchmark.cells import (
    CELLS,
    CROWDS,
    INSIDES,
    MIB,
    NEIGHBOURS,
    SCALINGS,
    STORMS,
    Cell,
    Crowd,
    Inside,
    Item,
    Neighbour,
    Scaling,
    Storm,
)
from deploy.benchmark.contenders import CONTENDERS, SAMPLED, alone, with_floor, with_pumps
from deploy.benchmark.fixture import Fixture
from deploy.benchmark.generators import LoadFailedError
from deploy.benchmark.neighbours import Meeting, neighbour_rows, scaling_row
from deploy.benchmark.stage import WARM_UP, Memory, Stage
from deploy.benchmark.storms import storm_rows
from deploy.benchmark.unpacking import make_images, read_once, readers_of

ETHERNET_MTU = 1500
Progress = Callable[[str], None]  # told what runs next, before each run
Costs = dict[tuple[str, int], list[float | None]]  # seconds a request, by server and how many clients


@dataclass(slots=True)
class Results:
    """Samples by (protocol, cell) and server, meetings by (protocol, neighbour), rows of ours alone, what failed."""

    samples: dict[tuple[str, str], dict[str, list[Sample]]] = field(default_factory=dict)
    meetings: dict[tuple[str, str], list[Meeting]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, and for how long; `texts` are parts of names, none for every cell."""

    protocols: Sequence[str]
    rounds: int
    seconds: float
    texts: Sequence[str] = ()

    def cells(self, protocol: str) -> list[Cell]:
        """The cells of one protocol."""
        return [cell for cell in CELLS if self._wants(cell, protocol)]

    def crowds(self, protocol: str) -> list[Crowd]:
        """The crowds of one protocol."""
        return [crowd for crowd in CROWDS if self._wants(crowd, protocol)]

    def neighbours(self, protocol: str) -> list[Neighbour]:
        """The neighbours of one protocol."""
        return [neighbour for neighbour in NEIGHBOURS if self._wants(neighbour, protocol)]

    def scalings(self, protocol: str) -> list[Scaling]:
        """What one protocol runs with more pumps."""
        return [scaling for scaling in SCALINGS if self._wants(scaling, protocol)]

    def insides(self, protocol: str) -> list[Inside]:
        """What one protocol sends from inside an image."""
        return [inside for inside in INSIDES if self._wants(inside, protocol)]

    def storms(self, protocol: str) -> list[Storm]:
        """What one protocol is asked by machines that were just switched on."""
        return [storm for storm in STORMS if self._wants(storm, protocol)]

    def _wants(self, item: Item, protocol: str) -> bool:
        return item.protocol == protocol and (not self.texts or any(text in item.name for text in self.texts))


def rotated(names: Sequence[str], turn: int) -> list[str]:
    """The servers in the order of a round: each goes first in turn, so that none is always behind the same one."""
    at = turn % len(names)
    return [*names[at:], *names[:at]]


async def measure(plan: Plan, arena: Arena, fixture: Fixture, folder: Path, progress: Progress) -> Results:
    """Run everything in `plan`. Raises: BenchmarkError when a server does not come up at all."""
    results = Results()
    for protocol in plan.protocols:
        cells = plan.cells(protocol)
        if protocol == "squashfs":
            if cells:
                await _measure_readers(cells, arena, folder / "images", plan, results, progress)
            continue
        for mtu in sorted({cell.mtu for cell in cells}):
            arena.set_mtu(mtu)
            progress(f"{protocol}: servers start")
            async with Stage(protocol, CONTENDERS[protocol], arena, fixture, folder) as stage:
                for cell in (cell for cell in cells if cell.mtu == mtu):
                    await _measure_cell(cell, stage, plan, results, progress)
        for crowd in plan.crowds(protocol):
            progress(f"{protocol}: a fresh server for {crowd.name}")
            async with Stage(protocol, with_floor(protocol), arena, fixture, folder) as stage:
                results.rows += await _measure_crowd(crowd, stage, plan, results, progress)
        for neighbour in plan.neighbours(protocol):
            progress(f"{protocol}: a fresh server, {neighbour.name}")
            arena.set_mtu(neighbour.mtu)
            async with Stage(protocol, alone(protocol), arena, fixture, folder) as stage:
                results.rows += await _measure_neighbour(neighbour, stage, plan, results, progress)
        if storms := plan.storms(protocol):
            progress(f"{protocol}: servers start")
            arena.set_mtu(ETHERNET_MTU)
            async with Stage(protocol, CONTENDERS[protocol], arena, fixture, folder) as stage:
                for storm in storms:
                    results.rows += await _measure_storm(storm, stage, plan, results, progress)
        if insides := plan.insides(protocol):
            progress(f"{protocol}: a fresh server, files inside an image")
            async with Stage(protocol, alone(protocol), arena, fixture, folder) as stage:
                for inside in insides:
                    results.rows.append(await _measure_inside(inside, stage, plan, results, progress))
        for scaling in plan.scalings(protocol):
            progress(f"{protocol}: servers on both cores")
            results.rows.append(await _measure_scaling(scaling, arena, fixture, folder, plan, results, progress))
    return results


async def _measure_storm(storm: Storm, stage: Stage, plan: Plan, results: Results, progress: Progress) -> list[Row]:
    await _measure_all(storm, storm.load, stage, plan, results, progress)
    return storm_rows(storm, results.samples[storm.protocol, storm.name])


async def _measure_cell(cell: Cell, stage: Stage, plan: Plan, results: Results, progress: Progress) -> None:
    sampled = SAMPLED.get(cell.protocol)
    load = (*cell.load, *(("--sample", str(stage.tree / sampled)) if sampled else ()))
    await _measure_all(cell, load, stage, plan, results, progress)


async def _measure_all(
    cell: Cell | Storm, load: Sequence[str], stage: Stage, plan: Plan, results: Results, progress: Progress
) -> None:
    """Every server in turn, as often as there are rounds."""
    samples = results.samples[cell.protocol, cell.name] = defaultdict(list)
    failed: set[str] = set()
    for turn in range(plan.rounds):
        for name in rotated(list(stage.servers), turn):
            progress(f"{cell.protocol}: {cell.name}, {name}, round {turn + 1}")
            if name in failed:
                continue
            try:
                samples[name].append(await stage.measure(name, load, plan.seconds))
            except LoadFailedError as failure:  # one server's failure is a finding, not the end of the others
                failed.add(name)
                results.failures.append(f"{cell.protocol}, {cell.name}, {name}: {failure}")


async def _measure_readers(
    cells: Sequence[Cell], arena: Arena, folder: Path, plan: Plan, results: Results, progress: Progress
) -> None:
    """As _measure_cell, of programs that read and end: there is no server to start."""
    progress("squashfs: images")
    await asyncio.to_thread(make_images, folder)
    for cell in cells:
        samples = results.samples[cell.protocol, cell.name] = defaultdict(list)
        readers = {reader.name: reader for reader in readers_of(cell)}
        failed: set[str] = set()
        for turn in range(plan.rounds):
            for name in rotated(list(readers), turn):
                progress(f"squashfs: {cell.name}, {name}, round {turn + 1}")
                if name in failed:
                    continue
                try:
                    sample = await asyncio.to_thread(read_once, readers[name], cell, folder, plan.seconds, arena)
                    samples[name].append(sample)
                except LoadFailedError as failure:
                    failed.add(name)
                    results.failures.append(f"squashfs, {cell.name}, {name}: {failure}")


async def _measure_neighbour(
    neighbour: Neighbour, stage: Stage, plan: Plan, results: Results, progress: Progress
) -> list[Row]:
    """The quiet one alone and beside the busy one, in turn."""
    meetings = results.meetings[neighbour.protocol, neighbour.name] = []
    busy = (*neighbour.busy, *(("--evict", str(stage.tree / neighbour.cold)) if neighbour.cold else ()))
    try:
        for turn in range(plan.rounds):
            progress(f"{neighbour.protocol}: alone, round {turn + 1}")
            quiet = await stage.measure(OURS, neighbour.quiet, plan.seconds, is_quiet=True)
            progress(f"{neighbour.protocol}: {neighbour.name}, round {turn + 1}")
            beside = await stage.measure_beside(OURS, neighbour.quiet, busy, plan.seconds)
            meetings.append(Meeting(quiet, beside))
    except LoadFailedError as failure:
        results.failures.append(f"{neighbour.protocol}, {neighbour.name}, {OURS}: {failure}")
    return neighbour_rows(neighbour, meetings)


async def _measure_inside(inside: Inside, stage: Stage, plan: Plan, results: Results, progress: Progress) -> Row:
    """The plain file and the one inside the image, in turn, once both were sent."""
    samples = results.samples[inside.protocol, inside.name] = defaultdict(list)
    try:
        await stage.measure(OURS, inside.inside, WARM_UP)
        for turn in range(plan.rounds):
            for name in rotated((PLAIN, OURS), turn):
                progress(f"{inside.protocol}: {inside.name}, {name}, round {turn + 1}")
                load = inside.plain if name == PLAIN else inside.inside
                samples[name].append(await stage.measure(OURS, load, plan.seconds))
    except LoadFailedError as failure:
        results.failures.append(f"{inside.protocol}, {inside.name}: {failure}")
    return inside_row(inside, samples[PLAIN], samples[OURS])


async def _measure_scaling(
    scaling: Scaling, arena: Arena, fixture: Fixture, folder: Path, plan: Plan, results: Results, progress: Progress
) -> Row:
    """Few pumps and many, in turn; each server in a namespace of its own, as it wants the ports of all protocols."""
    samples = results.samples[scaling.protocol, scaling.name] = defaultdict(list)
    few, many = (with_pumps(number) for number in (scaling.few, scaling.many))
    with Arena(0, "b") as other:
        async with (
            Stage(scaling.protocol, [few], arena, fixture, folder, is_shared=True) as slow,
            Stage(scaling.protocol, [many], other, fixture, folder, is_shared=True) as fast,
        ):
            stages = {few.name: slow, many.name: fast}
            try:
                for turn in range(plan.rounds):
                    for name in rotated(list(stages), turn):
                        progress(f"{scaling.protocol}: {name}, round {turn + 1}")
                        run = stages[name].measure(name, scaling.load, plan.seconds, processes=scaling.processes)
                        samples[name].append(await run)
            except LoadFailedError as failure:
                results.failures.append(f"{scaling.protocol}, {scaling.name}: {failure}")
    return scaling_row(scaling, samples[few.name], samples[many.name])


async def _measure_crowd(crowd: Crowd, stage: Stage, plan: Plan, results: Results, progress: Progress) -> list[Row]:
    """Many clients once for the memory, then few and many in turn for the cost of a request."""
    few, many = ((crowd.option, str(number), *crowd.load) for number in (crowd.few, crowd.many))
    costs: Costs = {(server, number): [] for server in stage.servers for number in (crowd.few, crowd.many)}
    memory: Memory | None = None
    try:
        progress(f"{crowd.protocol}: {crowd.many} clients, memory")
        memory = await stage.measure_memory(OURS, many, max(plan.seconds, 1.0))
        everyone = memory.served is None or memory.served >= crowd.many
        for turn in range(plan.rounds if everyone else 0):
            for server in rotated(list(stage.servers), turn):
                for number, load in ((crowd.many, many), (crowd.few, few)):
                    progress(f"{crowd.protocol}: {number} clients, {server}, round {turn + 1}")
                    costs[server, number].append(cost_of(await stage.measure(server, load, plan.seconds), number))
    except LoadFailedError as failure:
        results.failures.append(f"{crowd.protocol}, {crowd.many} clients: {failure}")
    return crowd_rows(crowd, memory, costs)


def cost_of(sample: Sample, clients: int) -> float | None:
    """Processor time a request; None unless all of the clients were served."""
    is_whole = sample.served is None or sample.served >= clients
    return sample.server_cpu / sample.requests if sample.requests and is_whole else None


def _growth(crowd: Crowd, costs: Costs, server: str) -> float | None:
    few, many = (median(costs.get((server, number), ())) for number in (crowd.few, crowd.many))
    return many / few if few and many else None


def crowd_rows(crowd: Crowd, memory: Memory | None, costs: Costs) -> list[Row]:
    """The rows of a crowd: memory in all and a client, and what a request costs beside what it costs in a small one.

    The last is that of the floor as well: what many sockets cost the kernel, any server has to bear.

    Less than the whole crowd served is no answer to what it needs: then there is no figure.
    """
    served = crowd.many if memory is None or memory.served is None else memory.served
    note = "" if served >= crowd.many else f" (only {served} were served)"
    whole = memory if served >= crowd.many else None
    floor = _growth(crowd, costs, FLOOR)
    return [
        limit_row(
            crowd.protocol, f"memory, {crowd.many} clients{note}", "MiB", whole.most / MIB if whole else None,
            crowd.memory_bar / MIB,
        ),
        limit_row(
            crowd.protocol, f"memory a client, of {crowd.many}{note}", "KiB",
            (whole.most - whole.before) / served / 1024 if whole else None, crowd.client_bar / 1024,
        ),
        limit_row(
            crowd.protocol, f"cost a request, {crowd.many} : {crowd.few} clients", "x",
            _growth(crowd, costs, OURS), crowd.cost_bar, peers={FLOOR: floor} if floor else None,
        ),
    ]  # fmt: skip


def steps(plan: Plan, contenders: dict[str, int]) -> int:
    """How often `progress` will be called; `contenders` is how many servers each protocol has."""
    total = 0
    for protocol in plan.protocols:
        cells = plan.cells(protocol)
        if protocol == "squashfs":
            total += bool(cells) + sum(len(readers_of(cell)) for cell in cells) * plan.rounds
            continue
        total += len({cell.mtu for cell in cells}) + len(cells) * plan.rounds * contenders[protocol]
        total += len(plan.crowds(protocol)) * (2 + 2 * len(with_floor(protocol)) * plan.rounds)
        insides = len(plan.insides(protocol))
        total += bool(insides) + insides * 2 * plan.rounds
        storms = len(plan.storms(protocol))
        total += bool(storms) + storms * plan.rounds * contenders[protocol]
        total += (len(plan.neighbours(protocol)) + len(plan.scalings(protocol))) * (1 + 2 * plan.rounds)
    return total
