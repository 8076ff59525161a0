"""A stage: the servers of one protocol up side by side, all on one core, and the load sent to one of them at a time."""

import asyncio
import contextlib
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.benchmark import generators
from deploy.benchmark.arena import Arena, Group
from deploy.benchmark.arithmetic import Sample
from deploy.benchmark.contenders import CONTENDERS, SUBJECT, Contender, Place
from deploy.benchmark.errors import BenchmarkError
from deploy.benchmark.fixture import Fixture
from deploy.benchmark.generators import LoadFailedError

START_LIMIT = 40.0  # seconds until a server has to answer the load, on a machine busy with other things
WARM_UP = 0.2  # seconds of load that show it does
RETRY = 0.2  # seconds between attempts while it starts
SETTLE_LIMIT = 10.0  # seconds a server may go on with what the last load left behind
SETTLE_INTERVAL = 0.1  # seconds between looks at whether it does
QUIET = 0.005  # seconds of processor time in such an interval that count as idle: timers, polls
MEMORY_INTERVAL = 0.1  # seconds between looks at a server's memory


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


class Stage:
    """The servers of `protocol`, up inside `async with`."""

    def __init__(
        self, protocol: str, arena: Arena, fixture: Fixture, folder: Path, only: Collection[str] | None = None
    ) -> None:
        """`folder` holds unpacked packages and compiled generators; `only` names servers, None means all."""
        self._only = only
        self._protocol = protocol
        self._arena = arena
        self._fixture = fixture
        self._folder = folder
        self._program = generators.build(protocol, folder / "generators")
        self._stack = contextlib.AsyncExitStack()
        self.servers: dict[str, Running] = {}

    async def __aenter__(self) -> "Stage":
        try:
            for number, contender in enumerate(CONTENDERS[self._protocol]):
                if self._only is not None and contender.name not in self._only:
                    continue
                self.servers[contender.name] = await self._start(contender, number)
            for server in self.servers.values():
                await self._wait_until_it_answers(server)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def measure(self, name: str, load: Sequence[str], seconds: float) -> Sample:
        """One run of the load against the server called `name`. Raises: LoadFailedError as the generator does."""
        await self._settle()
        server = self.servers[name]
        start = busy = 0.0

        def on_start() -> None:
            nonlocal start, busy
            start, busy = server.group.cpu_seconds(), self._arena.busy_seconds()

        done = await self._load(server, load, seconds, on_start)
        used, busy = server.group.cpu_seconds() - start, self._arena.busy_seconds() - busy
        return Sample(
            *(done.requests, done.bytes, done.seconds, done.cpu_seconds, used, done.resent),
            p50_us=done.p50_us,
            p99_us=done.p99_us,
            served=done.served,
            busy=busy,
        )

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

    async def _settle(self) -> None:
        """Wait until no server works any more: what one load leaves behind is not to be paid by the next."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_LIMIT):
                used = -1.0
                while (now := sum(server.group.cpu_seconds() for server in self.servers.values())) > used + QUIET:
                    used = now
                    await asyncio.sleep(SETTLE_INTERVAL)

    async def _load(
        self, server: Running, load: Sequence[str], seconds: float, on_start: Callable[[], None] = lambda: None
    ) -> generators.Load:
        words = [*self._aim(server), *SUBJECT[self._protocol], *load]
        within = self._arena.on_core(self._arena.load_core)
        return await generators.run(self._program, words, seconds=seconds, within=within, on_start=on_start)

    def _aim(self, server: Running) -> list[str]:
        if self._protocol != "aoe":
            return ["--address", server.place.address]
        shelf, slot = server.contender.target
        interface = server.place.interface.replace("near", "far")
        return ["--interface", interface, "--shelf", str(shelf), "--slot", str(slot)]

    async def _start(self, contender: Contender, number: int) -> Running:
        is_raw = self._protocol == "aoe"
        # 127.0.0.1 is the only address that is on lo by name; the rest of 127/8 can be bound all the same.
        address = f"10.77.{number}.1" if is_raw else f"127.0.0.{number + 1}"
        place = Place(self._fixture, address, f"near{number}" if is_raw else "lo", self._folder / "packages")
        command = contender.command(place)
        group = self._arena.group(contender.name)
        self._stack.push_async_callback(group.end)
        log = self._fixture.run / f"{self._protocol}-{contender.name.replace(' ', '')}.log"
        core = self._arena.on_core(self._arena.server_core)
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *group.enter([*core, *command]), stdin=DEVNULL, stdout=file, stderr=file, start_new_session=True
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
