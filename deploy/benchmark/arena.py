"""Where it all happens: one network namespace with a loopback and a virtual cable per AoE server, and control groups.

    lo   127.0.0.1 ...              every server has an address of its own
    near0 ===== far0                a server's end, the generator's end
    near1 ===== far1

A control group per server says what it uses, however many processes it forks, and which processes are ours to end.
"""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.benchmark.errors import BenchmarkError

GRACE = 5.0  # seconds a server gets to end by itself before it is killed
POLL = 0.05  # seconds between looks at whether it has
TICKS = os.sysconf("SC_CLK_TCK")
OWN_PAGES = re.compile(r"^Rss(?:Anon|Shmem):\s+(\d+) kB$", re.M)  # of /proc/PID/status


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchmarkError(f"ip {' '.join(words)} failed: {(done.stderr.strip().splitlines() or ['?'])[0]}")


def _control_groups() -> Path:
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    raise BenchmarkError("no control groups (version 2) are mounted: mount -t cgroup2 none /sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Work:
    """Seconds that a core has worked: for whoever wanted it, and for programs that leave it to any other."""

    wanted: float
    niced: float


class Group:
    """The control group of one server."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.mkdir()
        except OSError as failure:
            raise BenchmarkError(f"control group {path}: {failure.strerror}") from failure

    def enter(self, command: Sequence[str]) -> list[str]:
        """The command that joins the group and becomes `command`."""
        return ["sh", "-c", 'echo 0 > "$0" && exec "$@"', str(self._path / "cgroup.procs"), *command]

    def pids(self) -> list[int]:
        """The processes in it now."""
        return [int(pid) for pid in (self._path / "cgroup.procs").read_text().split()]

    def cpu_seconds(self) -> float:
        """Processor time it has used so far, ended processes and waiting in a busy loop included."""
        first = (self._path / "cpu.stat").read_text().splitlines()[0]
        return int(first.removeprefix("usage_usec ")) / 1e6

    def memory(self) -> int:
        """Bytes that its processes hold: their own pages and shared memory, which counts for each.

        Pages of files that they have mapped are not among them: the page cache has those with any server, and gives
        them up when somebody needs the room.
        """
        total = 0
        for pid in self.pids():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # ended meanwhile
                total += sum(map(int, OWN_PAGES.findall(Path(f"/proc/{pid}/status").read_text()))) * 1024
        return total

    def fetched(self) -> int:
        """Bytes that its processes had to get from disks so far, which were not in memory."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # ended meanwhile
                counts = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
                total += int(counts["read_bytes"])
        return total

    async def end(self) -> None:
        """End its processes, politely and then by force, and remove it."""
        for number, attempts in ((signal.SIGTERM, round(GRACE / POLL)), (signal.SIGKILL, round(GRACE / POLL))):
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            for _ in range(attempts):
                if not self.pids():
                    break
                await asyncio.sleep(POLL)
        with contextlib.suppress(FileNotFoundError):
            self._path.rmdir()


class Arena:
    """The namespace and the groups, there inside `with`; removed at the end."""

    def __init__(self, cables: int, name: str = "") -> None:
        """`cables` is how many servers AoE has; an arena beside another needs a `name`."""
        self.name = f"rw-bench-{os.getpid()}{name}"
        self._cables = cables
        self._groups = _control_groups()
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise BenchmarkError("one core only: the servers and the load need one each")
        self.server_core, self.load_core = cores[0], cores[1]

    def __enter__(self) -> Self:
        try:
            _ip("netns", "add", self.name)
            _ip("-n", self.name, "link", "set", "lo", "up")
            for number in range(self._cables):
                near, far = f"near{number}", f"far{number}"
                _ip("-n", self.name, "link", "add", near, "type", "veth", "peer", "name", far)
                _ip("-n", self.name, "addr", "add", f"10.77.{number}.1/24", "dev", near)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def set_mtu(self, mtu: int) -> None:
        """Bring all cables up with this MTU."""
        for number in range(self._cables):
            for end in ("near", "far"):
                _ip("-n", self.name, "link", "set", f"{end}{number}", "mtu", str(mtu), "up")

    def group(self, name: str) -> Group:
        """A control group for a server."""
        return Group(self._groups / f"{self.name}-{name.replace(' ', '')}")

    def work(self) -> dict[int, Work]:
        """What each of the two cores has worked so far, for whomever; taken away by a hypervisor counts as well."""
        cores = {f"cpu{core}": core for core in (self.server_core, self.load_core)}
        done = {}
        for line in Path("/proc/stat").read_text().splitlines():
            name, *fields = line.split()
            if name in cores:
                user, nice, system, _idle, _wait, irq, softirq, steal = map(int, fields[:8])
                done[cores[name]] = Work((user + system + irq + softirq + steal) / TICKS, nice / TICKS)
        return done

    def busy_seconds(self) -> float:
        """What the two cores have worked so far, taken together."""
        return sum(work.wanted + work.niced for work in self.work().values())

    def on_cores(self, *cores: int) -> list[str]:
        """The command that enters the namespace, on these cores; what follows it dies with us."""
        pinned = ("taskset", "-c", ",".join(map(str, cores)))
        return [*pinned, "ip", "netns", "exec", self.name, "setpriv", "--pdeathsig", "KILL", "--"]

    def _remove(self) -> None:
        listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
        if self.name in {line.split()[0] for line in listed.splitlines() if line.strip()}:
            _ip("netns", "del", self.name)
