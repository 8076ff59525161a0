"""What is remembered of one machine: its names, its boots, and the steps of each boot."""

from bisect import insort
from dataclasses import dataclass, field

from appliance.timeline.stage import DHCP_STAGES, Firmware, Stage

MAX_NAMES = 6  # names kept per step: PXELINUX misses about ten before it asks for default, and only hits matter
MAX_DETAIL = 120  # characters of one name: TFTP and HTTP names are the client's own words and may be long


def printable(text: str) -> str:
    """Client-supplied text, shortened, with everything replaced that could steer a terminal or break a log line."""
    if len(text) <= MAX_DETAIL and text.isprintable():  # as nearly all is
        return text
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[: MAX_DETAIL + 1])
    return shown if len(shown) <= MAX_DETAIL else shown[: MAX_DETAIL - 1] + "…"


@dataclass(slots=True)
class Step:
    """One stage of one boot; repeats (retransmissions, misses, HEAD before GET, tsize probes) are folded into it."""

    stage: Stage
    at: float  # unix time at which the stage was reached
    second_stage: bool = False  # DHCP of a loader that firmware started, not of firmware itself
    last: float = 0.0  # unix time of the latest event
    moved: float = 0.0  # unix time at which bytes last moved; 0 when none did
    count: int = 0  # requests; not the ends of their transfers
    size: int = 0
    seconds: float = 0.0  # spent in transfers
    names: dict[str, int] = field(default_factory=dict)  # files, exports, targets: bytes moved for each

    @property
    def detail(self) -> str:
        """The names that brought bytes, else the latest name asked for."""
        hits = [name for name, size in self.names.items() if size]
        return ", ".join(hits) if hits else next(reversed(self.names), "")

    def count_event(self, now: float, detail: str, size: int, seconds: float) -> None:
        """Fold one event into the step: `size` bytes and `seconds` are added to what it has.

        An event that brings either is the end of a transfer whose start was counted.
        """
        if self.count == 0 or not (size or seconds):
            self.count += 1
        self.last = max(self.last, now)
        self.seconds += seconds
        self.count_bytes(now, size)
        if detail:
            self._remember_name(printable(detail), size)

    def count_bytes(self, now: float, size: int) -> None:
        """Add bytes that moved without an event of their own, such as those read from a root."""
        if size:
            self.size += size
            self.moved = max(self.moved, now)
            self.last = max(self.last, now)

    def absorb(self, other: "Step") -> None:
        """Fold in the same stage of the same boot that was recorded under another identity."""
        self.at = min(self.at, other.at)
        self.last = max(self.last, other.last)
        self.moved = max(self.moved, other.moved)
        self.count += other.count
        self.size += other.size
        self.seconds += other.seconds
        for name, size in other.names.items():
            self._remember_name(name, size)

    def _remember_name(self, name: str, size: int) -> None:
        self.names[name] = self.names.pop(name, 0) + size
        if len(self.names) > MAX_NAMES:
            # A miss goes before a hit, and the oldest before the newest, which is never the one to go.
            *older, _ = self.names
            del self.names[next((n for n in older if not self.names[n]), older[0])]


@dataclass(slots=True)
class Boot:
    """One boot: its steps in the order in which they were reached, at most one per stage and loader stage."""

    began: float
    firmware: Firmware | None = None  # what began it; None when it was first seen half-way
    steps: list[Step] = field(default_factory=list)
    bytes_read: int = 0  # from its root, by NBD or AoE
    bytes_written: int = 0
    told: set[Stage] = field(default_factory=set)  # stages whose waiting was already reported
    # The step of the furthest stage: asked for of every machine every second, so kept. Set with the first step.
    furthest: Step = field(init=False, repr=False, compare=False)

    @property
    def size(self) -> int:
        """All bytes that were sent to the machine in this boot, files and root."""
        return sum(step.size for step in self.steps)

    def step(self, stage: Stage, *, second_stage: bool = False) -> Step | None:
        """The step of a stage, or None when the boot has not had it."""
        return next((s for s in self.steps if s.stage == stage and s.second_stage == second_stage), None)

    def reach(self, stage: Stage, at: float) -> tuple[Step, bool]:
        """The step of a stage, made when there is none yet; the flag says whether it was made."""
        # Once anything was fetched, DHCP is a loader's, not the firmware's.
        second_stage = stage in DHCP_STAGES and bool(self.steps) and self.furthest.stage >= Stage.LOADER
        if step := self.step(stage, second_stage=second_stage):
            return step, False
        step = Step(stage, max(at, self.began), second_stage)
        if not self.steps or stage > self.furthest.stage:
            self.furthest = step
        insort(self.steps, step, key=lambda s: (s.at, s.stage))
        return step, True

    def absorb(self, other: "Boot") -> None:
        """Fold in a part of this boot that was recorded under another identity, begun at the same time or later."""
        for step in other.steps:
            if mine := self.step(step.stage, second_stage=step.second_stage):
                mine.absorb(step)
            else:
                self.steps.append(step)
        self.steps.sort(key=lambda s: (s.at, s.stage))
        self.furthest = max(self.steps, key=lambda s: s.stage)
        self.firmware = self.firmware or other.firmware
        self.bytes_read += other.bytes_read
        self.bytes_written += other.bytes_written
        self.told |= other.told


@dataclass(slots=True, eq=False)
class Machine:
    """One machine: known by its MAC or, while that is unknown, by one address."""

    mac: str | None
    last_seen: float
    uuid: str | None = None
    architecture: str | None = None
    runs: Firmware | None = None  # what spoke last
    flow: str | None = None  # how its last offer was made
    quirk: str | None = None  # what had a say in that
    addresses: list[str] = field(default_factory=list)  # newest first
    boots: list[Boot] = field(default_factory=list)  # oldest first
    boot_count: int = 0
    sources: dict[str, tuple[int, int]] = field(default_factory=dict)  # last cumulative bytes read, written of each

    @property
    def name(self) -> str:
        """What identifies it: the MAC, else its address."""
        return self.mac or self.addresses[0]

    @property
    def boot(self) -> Boot | None:
        """The present boot; None for a machine that only gave a sign of life."""
        return self.boots[-1] if self.boots else None

    @property
    def stage(self) -> Stage | None:
        """The furthest stage of the present boot."""
        return self.boot.furthest.stage if self.boot and self.boot.steps else None

    def waiting(self, now: float) -> float:
        """Seconds since the present stage was reached."""
        return max(0.0, now - self.boot.furthest.at) if self.boot and self.boot.steps else 0.0

    def begin_boot(self, now: float, firmware: Firmware | None, keep: int) -> Boot:
        """A new boot; the oldest beyond `keep` are dropped."""
        boot = Boot(now, firmware)
        self.boots.append(boot)
        del self.boots[:-keep]
        self.boot_count += 1
        return boot

    def count_source(self, source: str, read: int, written: int, keep: int) -> tuple[int, int]:
        """What a cumulative counter grew by since it was last told; a counter that fell began anew."""
        seen_read, seen_written = self.sources.pop(source, (0, 0))
        if read < seen_read or written < seen_written:
            seen_read = seen_written = 0
        self.sources[source] = (read, written)
        if len(self.sources) > keep:
            del self.sources[next(iter(self.sources))]
        return read - seen_read, written - seen_written

    def absorb(self, other: "Machine", keep: int) -> None:
        """Take over what was recorded under an address before the MAC behind it was known."""
        own, earlier = list(self.boots), []
        for boot in other.boots:
            if host := next((b for b in reversed(own) if b.began <= boot.began), None):
                host.absorb(boot)
            else:
                earlier.append(boot)
        self.boots = (earlier + own)[-keep:]
        self.boot_count += len(earlier)
        self.uuid = self.uuid or other.uuid
        self.architecture = self.architecture or other.architecture
        self.runs = self.runs or other.runs
        self.flow, self.quirk = self.flow or other.flow, self.quirk or other.quirk
        self.last_seen = max(self.last_seen, other.last_seen)
        self.sources = other.sources | self.sources  # at most doubled once: the count in count_source bounds it again
