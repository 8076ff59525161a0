"""What the appliance tells of the machines: GET /api/machines over its socket, made into values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import aiohttp

from appliance.reports.report import BootReport, MachineReport, MachinesReport, StepReport

ASK_LIMIT = aiohttp.ClientTimeout(total=10.0)  # seconds; the appliance answers in milliseconds, a loaded machine later


@dataclass(frozen=True, slots=True)
class Step:
    """A stage the machine reached, at `at` (unix time), with what was moved in it."""

    stage: str
    at: float
    detail: str
    size: int
    second_stage: bool  # a loader's DHCP, after the firmware's


@dataclass(frozen=True, slots=True)
class Story:
    """A machine's present boot: where it is, how it got there, what it was sent; `hint` says why it waits too long."""

    stage: str
    steps: tuple[Step, ...]
    sent: int
    hint: str = ""


def read_story(machine: MachineReport) -> Story | None:
    """The story of one machine of the report; None for one that has not begun to boot."""
    boot: BootReport | None = machine["boot"]
    if boot is None:
        return None
    overdue = machine["overdue"]
    steps = tuple(_read_step(step) for step in boot["steps"])
    return Story(boot["stage"], steps, machine["bytes"], overdue["hint"] if overdue else "")


def _read_step(step: StepReport) -> Step:
    return Step(step["stage"], step["at"], step["detail"], step["bytes"], step["second_stage"])


async def fetch_stories(socket: Path) -> Mapping[str, Story]:
    """Ask the appliance on `socket`; the stories by MAC. Raises: aiohttp.ClientError when it does not answer."""
    connector = aiohttp.UnixConnector(path=str(socket))
    async with (
        aiohttp.ClientSession(connector=connector, timeout=ASK_LIMIT) as session,
        session.get("http://rootwire/api/machines") as answer,
    ):
        answer.raise_for_status()
        report = cast(MachinesReport, await answer.json())
    stories = {machine["id"]: read_story(machine) for machine in report["machines"]}
    return {mac: story for mac, story in stories.items() if story is not None}
