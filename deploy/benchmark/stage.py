"""A stage: the servers of one protocol up side by side, all on one core, and the load sent to one of them at a time."""

import asyncio
import contextlib
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.benchmark import generators
from deploy.benchmark.arena import Arena, Group, Work
from deploy.benchmark.arithmetic import Sample
from deploy.benchmark.contenders import CABLED, SUBJECT, Contender, Place
from deploy.benchmark.errors import BenchmarkError
from deploy.benchmark.fixture import Fixture
from deploy.benchmark.generators import Load, LoadFailedError

START_LIMIT = 40.0  # seconds until a server has to answer the load, on a machine busy with other things
WARM_UP = 0.2  # seconds of load that show it does
RETRY = 0.2  # seconds between attempts while it starts
SETTLE_LIMIT = 10.0  # seconds a server may go on with what the last load left behind
SETTLE_INTERVAL = 0.1  # seconds between looks at whether it does
QUIET = 0.005  # seconds of processor time in such an interval that count as idle: timers, polls
MEMORY_INTERVAL = 0.1  # seconds between looks at a server's memory
SLEEPING = ("--no-look",)  # a load that shares its core with a server or another load sleeps where it has nothing to do
HEAD_START = 0.5  # seconds that a busy client is there before and after the quiet one beside it
# A quiet client does not wait for a busy one's turn on their core; with chrt -r 1 deploy/bench that has priority 1.
AT_ONCE = ("chrt", "--fifo", "2")


@dataclass(frozen=True, slots=True)
class Running:
    """A server that was started: how it is reached and what it uses."""

    contender: Contender
    place: Place
    group: Group
    process: Process
    log: Path


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident bytes of a server before a load and at the most under it, and how many clients were served if known."""

    before: int
    most: int
    served: int | None


@dataclass(frozen=True, slots=True)
class Beside:
    """A quiet client's run beside a busy one: its sample, what the busy one was answered, and what that cost.

    `fetched` is how many bytes the server had to get from the disk for the two, `most` what it held in memory.
    """

    quiet: Sample
    busy: Load
    fetched: int
    most: int


class Stage:
    """The servers `contenders` of `protocol`, up inside `async with`."""

    def __init__(
        self,
        protocol: str,
        contenders: Sequence[Contender],
        arena: Arena,
        fixture: Fixture,
        folder: Path,
        *,
        is_shared: bool = False,
    ) -> None:
        """`folder` holds unpacked packages and compiled generators.

        Servers have a core and the load another; when `is_shared` both have both.
        """
        both: tuple[int, ...] = (arena.server_core, arena.load_core)
        self._server_cores = both if is_shared else both[:1]
        self._load_cores = both if is_shared else both[1:]
        self._manner = SLEEPING if is_shared else ()
        self._contenders = contenders
        self._protocol = protocol
        self._arena = arena
        self._fixture = fixture
        self._folder = folder
        self._program = generators.build(protocol, folder / "generators")
        self._stack = contextlib.AsyncExitStack()
        self.servers: dict[str, Running] = {}

    @property
    def tree(self) -> Path:
        """Where what is served lies."""
        return self._fixture.tree

    async def __aenter__(self) -> "Stage":
        try:
            for number, contender in enumerate(self._contenders):
                self.servers[contender.name] = await self._start(contender, number)
            for server in self.servers.values():
                await self._wait_until_it_answers(server)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def measure(
        self, name: str, load: Sequence[str], seconds: float, *, is_quiet: bool = False, processes: int = 1
    ) -> Sample:
        """One run of the load against the server called `name`, by so many generators at once.

        Raises: LoadFailedError as a generator does.
        """
        await self._settle()
        return await self._sample(self.servers[name], load, seconds, is_quiet=is_quiet, processes=processes)

    async def measure_beside(self, name: str, quiet: Sequence[str], busy: Sequence[str], seconds: float) -> Beside:
        """One run of a quiet load while a busy one goes on. Raises: LoadFailedError as either does."""
        await self._settle()
        server = self.servers[name]
        begun = asyncio.Event()
        fetched = server.group.fetched()
        load = (*busy, *SLEEPING)
        other = asyncio.create_task(self._load(server, load, seconds + 2 * HEAD_START, on_start=begun.set))
        try:
            await _first_of(begun, other)
            await asyncio.wait({other}, timeout=HEAD_START)
            sample = await self._sample(server, quiet, seconds, is_quiet=True)
            most = server.group.memory()
            return Beside(sample, await other, server.group.fetched() - fetched, most)
        finally:
            other.cancel()

    async def measure_memory(self, name: str, load: Sequence[str], seconds: float) -> Memory:
        """The memory of the server called `name` before and under the load. Raises: LoadFailedError."""
        await self._settle()
        server = self.servers[name]
        before = most = server.group.memory()
        running = asyncio.create_task(self._load(server, load, seconds))
        try:
            while not (await asyncio.wait({running}, timeout=MEMORY_INTERVAL))[0]:
                most = max(most, server.group.memory())
        finally:
            running.cancel()
        return Memory(before, most, (await running).served)

    async def _sample(
        self, server: Running, load: Sequence[str], seconds: float, *, is_quiet: bool = False, processes: int = 1
    ) -> Sample:
        used: float | None = None
        before: dict[int, Work] = {}

        def on_start() -> None:
            nonlocal used, before
            if used is None:  # the first of them; the others follow within milliseconds
                used, before = server.group.cpu_seconds(), self._arena.work()

        one = (server, load, seconds, on_start)
        runs = [asyncio.create_task(self._load(*one, is_quiet=is_quiet)) for _ in range(processes)]
        try:
            loads = await asyncio.gather(*runs)
        finally:
            for run in runs:
                run.cancel()
        now = self._arena.work()
        niced = sum(now[core].niced - then.niced for core, then in before.items())
        wanted = {core: now[core].wanted - then.wanted for core, then in before.items()}
        return Sample(
            requests=sum(done.requests for done in loads),
            bytes=sum(done.bytes for done in loads),
            seconds=loads[0].seconds,
            client_cpu=sum(done.cpu_seconds for done in loads),
            server_cpu=server.group.cpu_seconds() - (used or 0.0),
            resent=sum(done.resent for done in loads),
            p50_us=loads[0].p50_us,
            p99_us=loads[0].p99_us,
            max_us=loads[0].max_us,
            served=loads[0].served,
            busy=sum(wanted.values()) + niced,
            load_busy=sum(wanted[core] for core in self._load_cores) / len(self._load_cores),
            client_waited=sum(done.waited_seconds for done in loads) / len(loads),
        )

    async def _settle(self) -> None:
        """Wait until no server works any more: what one load leaves behind is not to be paid by the next."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_LIMIT):
                used = -1.0
                while (now := sum(server.group.cpu_seconds() for server in self.servers.values())) > used + QUIET:
                    used = now
                    await asyncio.sleep(SETTLE_INTERVAL)

    async def _load(
        self,
        server: Running,
        load: Sequence[str],
        seconds: float,
        on_start: Callable[[], None] = lambda: None,
        *,
        is_quiet: bool = False,
    ) -> Load:
        words = [*self._aim(server), *SUBJECT[self._protocol], *load, *(SLEEPING if is_quiet else self._manner)]
        within = [*self._arena.on_cores(*self._load_cores), *(AT_ONCE if is_quiet else ())]
        return await generators.run(self._program, words, seconds=seconds, within=within, on_start=on_start)

    def _aim(self, server: Running) -> list[str]:
        if self._protocol not in CABLED:
            return ["--address", server.place.address]
        cable = ["--interface", server.place.interface.replace("near", "far")]
        if self._protocol == "dhcp":
            return cable
        shelf, slot = server.contender.target
        return [*cable, "--shelf", str(shelf), "--slot", str(slot)]

    async def _start(self, contender: Contender, number: int) -> Running:
        is_raw = self._protocol in CABLED
        # 127.0.0.1 is the only address that is on lo by name; the rest of 127/8 can be bound all the same.
        address = f"10.77.{number}.1" if is_raw else f"127.0.0.{number + 1}"
        interface = f"near{number}" if is_raw else "lo"
        place = Place(self._fixture, self._arena.name, address, interface, self._folder / "packages")
        command = contender.command(place)
        group = self._arena.group(contender.name)
        self._stack.push_async_callback(group.end)
        log = self._fixture.run / f"{self._protocol}-{contender.name.replace(' ', '')}.log"
        pinned = self._arena.on_cores(*self._server_cores)
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *group.enter([*pinned, *command]), stdin=DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
        return Running(contender, place, group, process, log)

    async def _wait_until_it_answers(self, server: Running) -> None:
        said = "nothing"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_LIMIT):
                # One that became a daemon is in its group, one that just starts is not yet.
                while server.process.returncode is None or server.group.pids():
                    try:
                        if (await self._load(server, (), WARM_UP)).bytes:
                            return
                    except LoadFailedError as failure:
                        said = str(failure)
                    await asyncio.sleep(RETRY)
        lines = server.log.read_text(errors="replace").strip().splitlines()
        why = lines[-1] if lines else said
        raise BenchmarkError(f"{server.contender.name} does not serve: {why}; see {server.log}")


async def _first_of(begun: asyncio.Event, other: asyncio.Task[Load]) -> None:
    """Wait until a load has begun, or ended before it did."""
    waiting = asyncio.create_task(begun.wait())
    try:
        await asyncio.wait({waiting, other}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    if not begun.is_set():
        other.result()  # raises what it failed of
