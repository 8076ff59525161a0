"""What the API says of machines, as JSON's own types: the one place where its field names are fixed.

Times are unix seconds, durations seconds, sizes bytes. Stages are their labels: "discovered", "offered", "4011",
"loader", "config", "kernel", "initrd", "client config", "root loading", "root connected", "root busy".
"""

from collections.abc import Sequence
from typing import NotRequired

from typing_extensions import TypedDict  # pydantic, which checks what clients receive, can't read typing's before 3.12

from appliance.images.checksums import Checksums, Summed
from appliance.kiwi.finding import Finding
from appliance.timeline.machine import Boot, Machine, Step
from appliance.timeline.patience import Overdue, find_overdue
from appliance.timeline.stage import Stage


class StepReport(TypedDict):
    """One stage of one boot."""

    stage: str
    at: float  # when it was reached
    after: float  # seconds since the boot began
    last: float  # its latest event
    count: int  # requests folded into it: retransmissions, misses, probes
    detail: str  # files, export or target
    bytes: int
    seconds: float  # spent in transfers
    second_stage: bool  # DHCP of a loader that firmware started


class BootReport(TypedDict):
    """One boot; `steps` in the order in which they were reached, none where they were not asked for."""

    began: float
    stage: str  # the furthest
    seconds: float  # from its beginning until it got that far
    bytes_read: int  # from its root, by NBD or AoE
    bytes_written: int
    steps: list[StepReport]


class OverdueReport(TypedDict):
    """How long a machine has been waiting without progress, and what to look at."""

    seconds: float
    hint: str


class MachineReport(TypedDict):
    """One machine and its present boot."""

    id: str  # its MAC, or its address while the MAC is unknown
    mac: str | None
    addresses: list[str]  # newest first
    uuid: str | None
    architecture: str | None
    firmware: str | None  # what began the boot: "pxe", "http", "ipxe"; null when first seen half-way
    runs: str | None  # what spoke last: these, or "kernel"
    flow: NotRequired[str | None]  # how its last offer was made: "complete", "binl", "menu", "http"
    quirk: NotRequired[str | None]  # the row of the table of quirks, and the settings, that had a say in it
    stage: str | None
    waiting: float  # seconds in that stage
    overdue: OverdueReport | None
    last_seen: float
    loader: str | None
    root: str | None
    bytes: int  # everything sent to it in this boot
    boot_count: int  # since the appliance started
    boot: BootReport | None


class MachineHistory(MachineReport):
    """One machine and every boot that is remembered, oldest first; the last is the present one."""

    boots: list[BootReport]


class ImageReport(TypedDict):
    """One image that is served; one that is there in compressed form only has its file's name and no target."""

    name: str
    format: str
    bytes: int
    target: str  # its AoE address
    hashed: int  # bytes read for its checksums so far; 0 where they are known or not begun
    md5: str | None
    sha256: str | None
    changed: str | None  # since it was opened: "rewritten" in place, "replaced" by another file, "removed"
    contradicted: NotRequired[list[str]]  # the operator's checksum files that are of another image


class RefusedReport(TypedDict):
    """An error for which a KIWI configuration is withheld from its clients."""

    place: str  # FILE:LINE
    trap: str
    effect: str
    mend: str


class MachinesReport(TypedDict):
    """All machines by `id`, all images, refused configurations, notes on the appliance; `time` is its clock."""

    time: float
    machines: list[MachineReport]
    images: list[ImageReport]
    refused: NotRequired[list[RefusedReport]]
    notes: NotRequired[list[str]]


def report_refused(finding: Finding) -> RefusedReport:
    """What keeps a configuration from being served."""
    return {"place": finding.place, "trap": finding.trap, "effect": finding.effect, "mend": finding.mend}


def report_image(
    entry: Summed, checksums: Checksums, changed: str | None, contradicted: Sequence[str] = ()
) -> ImageReport:
    """An image at this moment."""
    sums = checksums.known(entry.name)
    report: ImageReport = {
        "name": entry.name,
        "format": entry.format,
        "bytes": entry.size,
        "target": entry.target,
        "hashed": checksums.hashed(entry.name),
        "md5": sums.md5 if sums else None,
        "sha256": sums.sha256 if sums else None,
        "changed": changed,
    }
    if contradicted:
        report["contradicted"] = list(contradicted)
    return report


def report_machine(
    machine: Machine, now: float, patience_factor: float = 1.0, *, with_steps: bool = True
) -> MachineReport:
    """A machine at unix time `now`; without steps it takes a fourth of the time and bytes."""
    boot = machine.boot
    overdue = find_overdue(machine, now, patience_factor)
    return {
        "id": machine.name,
        "mac": machine.mac,
        "addresses": list(machine.addresses),
        "uuid": machine.uuid,
        "architecture": machine.architecture,
        "firmware": boot.firmware if boot else None,
        "runs": machine.runs,
        "flow": machine.flow,
        "quirk": machine.quirk,
        "stage": None if machine.stage is None else machine.stage.label,
        "waiting": round(machine.waiting(now), 3),
        "overdue": _report_overdue(overdue) if overdue else None,
        "last_seen": round(machine.last_seen, 3),
        "loader": _detail(boot, Stage.LOADER),
        "root": _detail(boot, Stage.ROOT_CONNECTED) or _detail(boot, Stage.ROOT_LOADING),
        "bytes": boot.size if boot else 0,
        "boot_count": machine.boot_count,
        "boot": report_boot(boot, with_steps=with_steps) if boot else None,
    }


def report_history(machine: Machine, now: float, patience_factor: float = 1.0) -> MachineHistory:
    """A machine at unix time `now`, with its earlier boots."""
    return {**report_machine(machine, now, patience_factor), "boots": [report_boot(boot) for boot in machine.boots]}


def report_boot(boot: Boot, *, with_steps: bool = True) -> BootReport:
    """One boot and, unless they are not wanted, its steps."""
    furthest = boot.furthest
    return {
        "began": round(boot.began, 3),
        "stage": furthest.stage.label,
        "seconds": round(furthest.at - boot.began, 3),
        "bytes_read": boot.bytes_read,
        "bytes_written": boot.bytes_written,
        "steps": [_report_step(step, boot.began) for step in boot.steps] if with_steps else [],
    }


def _report_step(step: Step, began: float) -> StepReport:
    return {
        "stage": step.stage.label,
        "at": round(step.at, 3),
        "after": round(step.at - began, 3),
        "last": round(step.last, 3),
        "count": step.count,
        "detail": step.detail,
        "bytes": step.size,
        "seconds": round(step.seconds, 3),
        "second_stage": step.second_stage,
    }


def _report_overdue(overdue: Overdue) -> OverdueReport:
    return {"seconds": round(overdue.seconds, 3), "hint": overdue.hint}


def _detail(boot: Boot | None, stage: Stage) -> str | None:
    step = boot.step(stage) if boot else None
    return (step.detail or None) if step else None
