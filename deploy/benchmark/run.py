"""deploy/bench: make the tree and the arena, run the cells, say how it went."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.benchmark import chart, report
from deploy.benchmark.arena import Arena
from deploy.benchmark.arguments import Arguments
from deploy.benchmark.arithmetic import Row, rows_of
from deploy.benchmark.cells import CELLS
from deploy.benchmark.contenders import CONTENDERS
from deploy.benchmark.errors import BenchmarkError
from deploy.benchmark.fixture import make_fixture, warm
from deploy.benchmark.generators import REPOSITORY
from deploy.benchmark.measure import Plan, Results, measure, steps
from deploy.benchmark.table import tables

NOISY = 0.05  # share of the two cores from which on others disturb the figures
FOLDER = REPOSITORY / ".bench"


def run(arguments: Arguments, console: Console) -> int:
    """Do what deploy/bench was asked to; returns its exit status: 0 when it measured, bars met or not."""
    if os.geteuid() != 0:
        console.print("bench: network namespaces and raw sockets need root: run sudo deploy/bench")
        return 2
    plan = Plan(arguments.only, arguments.rounds, arguments.seconds)
    output = arguments.output or FOLDER
    try:
        output.mkdir(parents=True, exist_ok=True)
        results = asyncio.run(_measure(plan, console))
    except (BenchmarkError, OSError) as failure:
        console.print(f"bench: {failure}", style="red", highlight=False, markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("bench: stopped; the servers and the namespace are gone")
        return 130
    rows = rows_of(CELLS, results.samples) + results.crowds
    _publish(plan, results, rows, output, console)
    return 0


async def _measure(plan: Plan, console: Console) -> Results:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        total = steps(plan, {protocol: len(servers) for protocol, servers in CONTENDERS.items()})
        task = shown.add_task("files", total=total)
        fixture = await asyncio.to_thread(make_fixture, FOLDER)
        await asyncio.to_thread(warm, fixture)

        def progress(what: str) -> None:
            shown.update(task, description=what, advance=1)

        with Arena(len(CONTENDERS["aoe"])) as arena:
            return await measure(plan, arena, fixture, FOLDER, progress)


def _publish(plan: Plan, results: Results, rows: list[Row], output: Path, console: Console) -> None:
    command = " ".join(["deploy/bench", *sys.argv[1:]])
    content = report.document(plan, results, rows, command)
    report.write(output / "results.json", content)
    for table in tables(rows):
        console.print(table)
    busy = content["others"]
    if busy is not None and busy > NOISY:
        console.print(f"Other programs took {busy:.0%} of the two cores: these figures are noisy.", style="yellow")
    for failure in results.failures:
        console.print(f"failed: {failure}", style="red", markup=False)
    caption = f"{content['machine']}, {content['date'][:10]}: {command}"
    noise = "" if busy is None else f"; other programs took {busy:.0%} of the two cores"
    has_chart = chart.draw(rows, output / "chart.png", f"{caption}\n{plan.rounds} x {plan.seconds:g} s, medians{noise}")
    console.print(f"{content['bars_met']} of {content['bars']} bars met. {content['machine']}.")
    console.print(f"Written: {output / 'results.json'}" + (f" and {output / 'chart.png'}" if has_chart else ""))
