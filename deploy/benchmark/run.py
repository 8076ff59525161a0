"""deploy/bench: make the tree and the arena, run the cells, say how it went."""

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.benchmark import chart, report
from deploy.benchmark.arena import Arena
from deploy.benchmark.arguments import Arguments
from deploy.benchmark.arithmetic import Row, rows_of
from deploy.benchmark.cells import CELLS
from deploy.benchmark.contenders import CABLED, CONTENDERS
from deploy.benchmark.errors import BenchmarkError
from deploy.benchmark.fixture import make_fixture, warm
from deploy.benchmark.generators import REPOSITORY
from deploy.benchmark.markdown import markdown, placed
from deploy.benchmark.measure import Plan, Results, measure, steps
from deploy.benchmark.table import tables
from deploy.benchmark.versions import versions

NOISY = 0.05  # share of the two cores from which on others disturb the figures
FOLDER = REPOSITORY / ".bench"


def run(arguments: Arguments, console: Console) -> int:
    """Do what deploy/bench was asked to; returns its exit status: 0 when it measured, bars met or not."""
    if os.geteuid() != 0:
        console.print("bench: network namespaces and raw sockets need root: run sudo deploy/bench")
        return 2
    plan = Plan(arguments.only, arguments.rounds, arguments.seconds, arguments.cells)
    output = arguments.output or FOLDER
    try:
        output.mkdir(parents=True, exist_ok=True)
        # Before the measuring, which takes long: what can't be said afterwards is said now.
        place = None if arguments.markdown is None else _place(arguments.markdown)
        with_peers = [protocol for protocol in plan.protocols if plan.cells(protocol) or plan.storms(protocol)]
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
        measured = versions(with_peers, FOLDER / "packages" / "versions")
        results = asyncio.run(_measure(plan, console))
    except (BenchmarkError, OSError) as failure:
        console.print(f"bench: {failure}", style="red", highlight=False, markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("bench: stopped; the servers and the namespace are gone")
        return 130
    rows = rows_of(CELLS, results.samples) + results.rows
    content = report.document(plan, results, rows, shlex.join(["deploy/bench", *sys.argv[1:]]), measured)
    if place is not None:
        place(markdown(rows, content))
    _publish(content, rows, output, console)
    return 0


def _place(path: Path) -> Callable[[str], object]:
    """What puts a table into the file at `path`: between its marks, or as all of a new file."""
    if not path.exists():
        return path.write_text
    text = path.read_text()
    try:
        placed(text, "")
    except BenchmarkError as failure:
        raise BenchmarkError(f"{path}: {failure}") from None
    return lambda table: path.write_text(placed(text, table))


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

        with Arena(max(len(CONTENDERS[protocol]) for protocol in CABLED)) as arena:
            return await measure(plan, arena, fixture, FOLDER, progress)


def _publish(content: dict[str, Any], rows: list[Row], output: Path, console: Console) -> None:
    report.write(output / "results.json", content)
    for table in tables(rows):
        console.print(table)
    busy = content["others"]
    if busy is not None and busy > NOISY:
        console.print(f"Other programs took {busy:.0%} of the two cores: these figures are noisy.", style="yellow")
    for failure in content["failures"]:
        console.print(f"failed: {failure}", style="red", markup=False)
    caption = f"{content['machine']}, {content['date'][:10]}: {content['command']}"
    noise = "" if busy is None else f"; other programs took {busy:.0%} of the two cores"
    length = f"{content['rounds']} x {content['seconds']:g} s"
    has_chart = chart.draw(rows, output / "chart.png", f"{caption}\n{length}, medians{noise}")
    console.print(f"{content['bars_met']} of {content['bars']} bars met. {content['machine']}.")
    console.print(f"Written: {output / 'results.json'}" + (f" and {output / 'chart.png'}" if has_chart else ""))
