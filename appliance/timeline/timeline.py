"""The boot timeline: one record per machine, fed by what every protocol reports.

Knows nothing of protocols: the appliance translates their events into `note`, `seen` and `traffic`. Everything is kept
in memory and bounded; nothing survives a restart. Not thread-safe: call it from the event loop.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from appliance.timeline.machine import Boot, Machine, Step
from appliance.timeline.patience import Overdue, find_overdue
from appliance.timeline.stage import Firmware, Stage

ROOT_BUSY_BYTES = 4 << 20  # mounting squashfs and blkid's probing read under 2 MiB; starting an init reads more than 4
RETRY_SILENCE = 90.0  # seconds; firmware repeats DISCOVER after at most 32 s and a blocked switch port adds 30 to 50

__all__ = ["Firmware", "Machine", "Stage", "Step", "Timeline", "TimelineLimits", "steady_clock"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TimelineLimits:
    """How much is remembered; every field can be set in the configuration."""

    machines: int = 4096  # a large site; 65 MB when full of boots. The least recently seen machine is forgotten first
    boots: int = 3  # per machine: the present one and two to compare it with
    addresses: int = 4  # per machine: firmware, loader, initramfs and system may each get a lease of their own
    neighbours: int = 8192  # addresses of hosts that may never boot from us: phones and printers speak DHCP too
    sources: int = 16  # counters per machine: nbd-client opens up to 16 connections for one device
    root_busy_bytes: int = ROOT_BUSY_BYTES
    patience_factor: float = 1.0  # multiplies the seconds of every stage, for slow lines or emulated machines


def steady_clock() -> Callable[[], float]:
    """A clock of unix time that runs on evenly when the system's clock is set, as at the start of a box without one."""
    offset = time.time() - time.monotonic()
    return lambda: time.monotonic() + offset


class Timeline:
    """Every machine's boots.

    `on_step(machine, step)` is called when a boot reaches a stage for the first time, `on_overdue(machine, overdue)`
    once per stage and boot, from `check`. Both must not raise.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] | None = None,
        limits: TimelineLimits | None = None,
        on_step: Callable[[Machine, Step], None] | None = None,
        on_overdue: Callable[[Machine, Overdue], None] | None = None,
    ) -> None:
        self.limits = limits or TimelineLimits()
        self.clock = clock or steady_clock()
        self.reached: Counter[Stage] = Counter()  # how often each stage was reached, since the start
        self.moved: Counter[Stage] = Counter()  # bytes sent in each stage, since the start
        self.overdue_count = 0  # how often a machine waited too long, since the start
        self._on_step = on_step
        self._on_overdue = on_overdue
        self._machines: OrderedDict[str, Machine] = OrderedDict()  # by MAC or address, least recently seen first
        self._by_address: dict[str, Machine] = {}
        self._neighbours: OrderedDict[str, str] = OrderedDict()  # address to MAC, of any host
        self._addresses: dict[str, dict[str, None]] = {}  # the same the other way round, oldest first

    def machines(self) -> list[Machine]:
        """All machines that are remembered, least recently seen first."""
        return list(self._machines.values())

    def find(self, name: str) -> Machine | None:
        """The machine with a MAC (lower-case, colons) or a present IPv4 address."""
        return self._machines.get(name) or self._by_address.get(name)

    def seen(self, mac: str, address: str | None = None, *, create: bool = False) -> Machine | None:
        """Note a sign of life of a host, and that `address` is its; returns its machine.

        Hosts that never asked to boot are not made machines unless `create` is set (then None is never returned), but
        their address is remembered: a boot file they ask for later is put down to their MAC.
        """
        now = self.clock()
        if address:
            self._remember_neighbour(mac, address)
        owner = self._by_address.get(address) if address else None
        if create or mac in self._machines or (owner is not None and owner.mac is None):
            return self._identify(mac, address, now)
        if address and owner is not None:
            self._unbind(owner, address)  # the lease went to a host that does not boot from us
        return None

    def note(
        self,
        stage: Stage,
        *,
        mac: str | None = None,
        address: str | None = None,
        detail: str = "",
        size: int = 0,
        seconds: float = 0.0,
        uuid: str | None = None,
        architecture: str | None = None,
        firmware: Firmware | None = None,
    ) -> Machine:
        """Record that a machine, named by `mac`, `address` or both, did what belongs to `stage`; returns the machine.

        `detail` is a file, export or loader name; `size` bytes that moved with this very event and `seconds` the time
        they took are added to the step (note a transfer's start with neither and its end with both). A step's time
        is that of its first event, less that event's `seconds`. `firmware` says who asks in DHCP stages.
        Raises: ValueError when neither `mac` nor `address` is given.
        """
        now = self.clock()
        machine = self._identify(mac, address, now)
        machine.uuid = uuid or machine.uuid
        machine.architecture = architecture or machine.architecture
        machine.runs = firmware or (Firmware.KERNEL if stage >= Stage.CLIENT_CONFIG else machine.runs)
        boot = machine.boot
        if boot is None or _begins_boot(boot, stage, firmware, now):
            began = now - seconds if boot is None else now  # boots never overlap
            boot = machine.begin_boot(began, firmware if stage <= Stage.BOOT_SERVER else None, self.limits.boots)
        step, is_new = boot.reach(stage, now - seconds)
        step.count_event(now, detail, size, seconds)
        self.moved[stage] += size
        if is_new:
            self._tell_step(machine, boot, step)
        return machine

    def traffic(
        self,
        source: str,
        *,
        mac: str | None = None,
        address: str | None = None,
        bytes_read: int,
        bytes_written: int = 0,
    ) -> Machine | None:
        """Tell what a machine has read from and written to its root in all, over one connection or initiator.

        `source` names the counter among those of the machine ("nbd 40312 root", "aoe e0.1"); its numbers grow while
        it lives. Notes ROOT_BUSY once more than `root_busy_bytes` were read. Returns None for an unknown machine.
        """
        machine = self.find(mac or "") or self.find(address or "")
        if machine is None:
            return None
        read, written = machine.count_source(source, bytes_read, bytes_written, self.limits.sources)
        boot = machine.boot
        if boot is None or not (read or written):
            return machine
        now = self.clock()
        self._touch(machine, now)
        boot.bytes_read += read
        boot.bytes_written += written
        step = boot.step(Stage.ROOT_BUSY) or boot.step(Stage.ROOT_CONNECTED)
        if step is None:
            return machine  # what a connection of the boot before still had under way
        step.count_bytes(now, read)
        self.moved[step.stage] += read
        if step.stage is Stage.ROOT_CONNECTED and boot.bytes_read > self.limits.root_busy_bytes:
            return self.note(Stage.ROOT_BUSY, mac=machine.mac, address=None if machine.mac else machine.name)
        return machine

    def overdue(self, machine: Machine, now: float | None = None) -> Overdue | None:
        """What makes a machine overdue at unix time `now` (default: this moment), or None."""
        return find_overdue(machine, self.clock() if now is None else now, self.limits.patience_factor)

    def check(self, now: float | None = None) -> None:
        """Report machines that wait too long, once per stage and boot; call it about once a second."""
        now = self.clock() if now is None else now
        for machine in self.machines():
            boot = machine.boot
            overdue = self.overdue(machine, now)
            if boot is None or overdue is None or overdue.stage in boot.told:
                continue
            boot.told.add(overdue.stage)
            self.overdue_count += 1
            log.warning(
                "boot_stage_overdue",
                mac=machine.mac,
                address=next(iter(machine.addresses), None),
                stage=overdue.stage.label,
                seconds=round(overdue.seconds, 3),
                hint=overdue.hint,
            )
            if self._on_overdue:
                self._on_overdue(machine, overdue)

    def _tell_step(self, machine: Machine, boot: Boot, step: Step) -> None:
        """One log line per step, one more when the boot has its root, and the caller's own callback."""
        self.reached[step.stage] += 1
        who = {"mac": machine.mac, "address": next(iter(machine.addresses), None)}
        after = round(step.at - boot.began, 3)
        log.info(
            "boot_stage_reached",
            **who,
            stage=step.stage.label,
            detail=step.detail,
            bytes=step.size,
            seconds=round(step.seconds, 3),
            after=after,
        )
        if step.stage is Stage.ROOT_CONNECTED:
            log.info("machine_booted", **who, root=step.detail, bytes=boot.size, seconds=after, firmware=boot.firmware)
        if self._on_step:
            self._on_step(machine, step)

    def _identify(self, mac: str | None, address: str | None, now: float) -> Machine:
        """The machine behind a MAC, an address or both; made, named, merged and bound as needed."""
        if address and mac is None:
            bound = self._by_address.get(address)
            mac = (bound.mac if bound else None) or self._neighbours.get(address)
        if mac is None and not address:
            raise ValueError("a machine needs a MAC or an address")
        machine = self._machines.get(mac or address or "")
        if machine is None:
            machine = self._make(mac, address, now)
        if address:
            self._bind(machine, address)
        self._touch(machine, now)
        return machine

    def _make(self, mac: str | None, address: str | None, now: float) -> Machine:
        """A new machine, or the one known by its address so far, which has its MAC from now on."""
        nameless = self._machines.pop(address, None) if mac and address else None
        machine = nameless or Machine(mac, now)
        machine.mac = mac
        self._machines[machine.mac or address or ""] = machine
        for known in tuple(self._addresses.get(mac or "", ())):
            self._bind(machine, known)
        while len(self._machines) > self.limits.machines:
            self._forget(next(iter(self._machines)))
        return machine

    def _forget(self, key: str) -> None:
        for address in self._machines.pop(key).addresses:
            del self._by_address[address]

    def _touch(self, machine: Machine, now: float) -> None:
        machine.last_seen = max(machine.last_seen, now)
        self._machines.move_to_end(machine.name)

    def _bind(self, machine: Machine, address: str) -> None:
        """Make `address` the machine's; whoever had it loses it, and a record without a MAC is the machine's own."""
        owner = self._by_address.get(address)
        if owner is not None and owner is not machine:
            if owner.mac is None:
                self._forget(address)
                machine.absorb(owner, self.limits.boots)
            else:
                self._unbind(owner, address)
        if machine.mac:
            self._remember_neighbour(machine.mac, address)
        self._by_address[address] = machine
        if address in machine.addresses:
            machine.addresses.remove(address)
        machine.addresses.insert(0, address)
        for old in machine.addresses[self.limits.addresses :]:
            self._unbind(machine, old)

    def _unbind(self, machine: Machine, address: str) -> None:
        machine.addresses.remove(address)
        del self._by_address[address]

    def _remember_neighbour(self, mac: str, address: str) -> None:
        self._forget_neighbour(address)
        self._neighbours[address] = mac
        self._addresses.setdefault(mac, {})[address] = None
        if len(self._neighbours) > self.limits.neighbours:
            self._forget_neighbour(next(iter(self._neighbours)))

    def _forget_neighbour(self, address: str) -> None:
        mac = self._neighbours.pop(address, None)
        if mac is None:
            return
        del self._addresses[mac][address]
        if not self._addresses[mac]:
            del self._addresses[mac]


def _begins_boot(boot: Boot, stage: Stage, firmware: Firmware | None, now: float) -> bool:
    """Whether an event belongs to a new boot rather than to the present one.

    Only a DISCOVER can. Firmware's begins one unless it repeats an attempt that fetched nothing yet (firmware tries PXE
    and HTTP, and each several times); iPXE's may be a second stage, up to the kernel: after it, no iPXE is left to ask.
    """
    if stage is not Stage.DISCOVERED or firmware is Firmware.KERNEL:
        return False
    if now - max(step.last for step in boot.steps) > RETRY_SILENCE:
        return True
    loader_stage = Stage.KERNEL if firmware is Firmware.IPXE else Stage.LOADER
    return boot.furthest.stage >= loader_stage
