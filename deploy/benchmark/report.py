"""The JSON: every sample, every row, the machine, the date and the command, so that a figure can be argued with."""

import json
import os
import platform
from collections.abc import Sequence
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
    cores = os.cpu_count()
    return f"{models[0] if models else platform.machine()}, {cores} cores, Linux {platform.release()}"


def document(plan: Plan, results: Results, rows: Sequence[Row], command: str) -> dict[str, Any]:
    """What results.json holds."""
    return {
        "machine": machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "others": others(results),
        "bars_met": sum(row.met is True for row in rows),
        "bars": len(rows),
        "rows": [asdict(row) for row in rows],
        "failures": results.failures,
        "samples": [
            {"protocol": protocol, "cell": cell, "server": server, **_sample(sample)}
            for (protocol, cell), servers in results.samples.items()
            for server, samples in servers.items()
            for sample in samples
        ],
    }


def others(results: Results) -> float | None:
    """The median share of the two cores that went to other programs: figures of a busy machine are worth less."""
    return median(s.others for servers in results.samples.values() for runs in servers.values() for s in runs)


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
