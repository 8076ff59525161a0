"""The JSON: every sample, every row, the machine, the date and the command, so that a figure can be argued with."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.benchmark.arithmetic import Row, Sample, median
from deploy.benchmark.measure import Plan, Results


def machine() -> str:
    """The processor, how many cores, and the kernel, on one line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}"


def document(
    plan: Plan, results: Results, rows: Sequence[Row], command: str, versions: Mapping[str, str]
) -> dict[str, Any]:
    """What results.json holds; `versions` by server."""
    return {
        "machine": machine(),
        "kernel": f"{platform.system()} {platform.release()} {platform.version()}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "versions": dict(versions),
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "others": others(results),
        "bars_met": sum(row.met is True for row in rows),
        "bars": sum(row.bar is not None for row in rows),
        "rows": [{**asdict(row), "is_load_bound": row.is_load_bound} for row in rows],
        "failures": results.failures,
        "samples": [
            {"protocol": protocol, "cell": cell, "server": server, **_sample(sample)}
            for (protocol, cell), servers in results.samples.items()
            for server, samples in servers.items()
            for sample in samples
        ],
        "meetings": [
            {"protocol": protocol, "neighbour": name, **asdict(meeting), "cold_share": meeting.cold_share}
            for (protocol, name), meetings in results.meetings.items()
            for meeting in meetings
        ],
    }


def others(results: Results) -> float | None:
    """The median share of the two cores that went to other programs: figures of a busy machine are worth less.

    Of the meetings only the runs alone: beside another, what the busy client's generator used is not told apart.
    """
    runs = [s for servers in results.samples.values() for samples in servers.values() for s in samples]
    alone = [meeting.alone for meetings in results.meetings.values() for meeting in meetings]
    return median(sample.others for sample in (*runs, *alone))


def _sample(sample: Sample) -> dict[str, Any]:
    return {
        **asdict(sample),
        "client_idle": sample.client_idle,
        "others": sample.others,
        "cpu_per_gb": sample.cpu_per_gb,
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Write it for people and programs."""
    path.write_text(json.dumps(content, indent=1) + "\n")
