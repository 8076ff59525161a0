"""What a run shows: steps as they go, a live table of the clients on a terminal, plain lines elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from deploy.lab.client import OFF_LIMIT, Client
from deploy.lab.console import Mark
from deploy.lab.story import Step

# What a client's console adds to what the appliance saw.
OWN_STEPS = (
    (Mark.ROOT, "root mounted"),
    (Mark.USERSPACE, "userspace"),
    (Mark.CHECKSUM, "files read"),
    (Mark.DONE, "power off"),
)
REFRESHES = 4  # a second
OTHER_LINES = 8  # of the terminal's height, kept for what is above and below the table
LAST_LINES = 15  # of a failed client's console

ROOT_WORDS = {"nbd": "over NBD", "aoe": "over AoE", "ram": "in RAM"}
STYLES = {"done": "green", "failed": "red", "waiting for its turn": "dim"}


def format_size(size: int) -> str:
    """Bytes as people read them, in powers of ten."""
    if size < 1000:
        return f"{size} B"
    value = float(size)
    for unit in ("kB", "MB"):
        value /= 1000
        if value < 1000:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.2f} GB"


class Screen:
    """Standard output of a run."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._began = time.monotonic()
        self._stages: dict[str, str] = {}

    @property
    def live(self) -> bool:
        """Whether there is a terminal on which things can be redrawn."""
        return self.console.is_terminal

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """See deploy.demo.tree.Steps."""
        began, last = time.monotonic(), ""
        spinner = Spinner("dots")

        def line() -> str:
            return f"{name:<18} {time.monotonic() - began:5.1f} s  {last}"

        def show(detail: str) -> None:
            nonlocal last
            last = detail

        def draw() -> RenderableType:
            spinner.update(text=Text(line(), overflow="ellipsis", no_wrap=True))
            return spinner

        if self.live:
            with Live(get_renderable=draw, console=self.console, refresh_per_second=REFRESHES, transient=True):
                yield show
        else:
            yield show
        self._line(Text.assemble(("✓ ", "green"), line()))

    def _line(self, text: Text) -> None:
        """One line: cut to a terminal's width, whole in a log."""
        if self.live:
            self.console.print(text, overflow="ellipsis", no_wrap=True)
        else:
            self.console.print(text, soft_wrap=True)

    @contextlib.contextmanager
    def clients(self, clients: Sequence[Client]) -> Iterator[Callable[[Client], None]]:
        """Show the clients while they boot; the function it gives is told of each change."""
        if not self.live:
            yield self._print_change
            return
        with Live(
            get_renderable=lambda: self._table(clients), console=self.console, refresh_per_second=REFRESHES
        ) as live:
            yield lambda client: None
            live.refresh()

    def _print_change(self, client: Client) -> None:
        if self._stages.get(client.plan.name) != client.stage:
            self._stages[client.plan.name] = client.stage
            plan = client.plan
            self.console.print(
                f"+{time.monotonic() - self._began:6.1f} s  {plan.name}  {plan.firmware}+{plan.root}  {client.stage}",
                soft_wrap=True,
            )

    def _table(self, clients: Sequence[Client]) -> RenderableType:
        """One row per client, as many as the terminal holds: the running ones first."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in ("client", "MAC", "firmware", "root", "stage"):
            table.add_column(title, no_wrap=True)
        table.add_column("seconds", justify="right", no_wrap=True)
        table.add_column("sent", justify="right", no_wrap=True)
        room = max(4, self.console.height - OTHER_LINES)
        running = [client for client in clients if client.began is not None and client.ended is None]
        shown = clients if len(clients) <= room else sorted(running, key=lambda c: c.plan.number)[:room]
        for client in shown:
            plan, stage = client.plan, client.stage
            sent = format_size(client.story.sent) if client.story else ""
            seconds = f"{client.seconds:.1f}" if client.began is not None else ""
            style = STYLES.get(stage, "cyan")
            table.add_row(plan.name, plan.mac, plan.firmware, plan.root, Text(stage, style), seconds, sent)
        done = sum(client.succeeded for client in clients)
        failed = sum(client.failure is not None for client in clients)
        counts = f"{done} of {len(clients)} done, {len(running)} running" + (f", {failed} failed" if failed else "")
        return Group(table, Text(counts, "dim"))

    def say(self, text: str, style: str = "") -> None:
        """Print a line, as it is."""
        self.console.print(Text(text, style), soft_wrap=True)

    def timelines(self, clients: Sequence[Client]) -> None:
        """Print each client's boot: stages, when, and what was loaded; for a failed one its console's end."""
        for client in clients:
            plan = client.plan
            self.say("")
            self.say(f"{plan.name}  {plan.mac}  {plan.firmware}, root {ROOT_WORDS[plan.root]}", "bold")
            for after, stage, detail in timeline(client):
                self._line(Text.assemble(f"  +{after:6.1f} s  ", (f"{stage:<15} ", "cyan"), detail))
            if client.was_stuck:
                self.say(f"  done, but not off by itself within {OFF_LIMIT:.0f} s: it was switched off", "dim")
            if client.failure is not None:
                self.say(f"  {client.failure}; the end of its console, which is in {client.log}:", "red")
                for line in client.console.last_lines(LAST_LINES):
                    self.say(f"  | {line}", "dim")


def timeline(client: Client) -> list[tuple[float, str, str]]:
    """(seconds after power-on, stage, detail) of all that the appliance and the client's own console told."""
    told = client.story.steps if client.story else ()
    steps = [(step.at - client.powered_on, step.stage, _words(step)) for step in told]
    for mark, stage in OWN_STEPS:
        if mark in client.seen:
            steps.append((client.seen[mark][0] - client.powered_on, stage, _own_words(client, mark)))
    return sorted(steps, key=lambda step: step[0])


def _words(step: Step) -> str:
    words = [step.detail, format_size(step.size) if step.size else "", "second stage" if step.second_stage else ""]
    return ", ".join(word for word in words if word)


def _own_words(client: Client, mark: Mark) -> str:
    if mark is Mark.CHECKSUM:
        return f"{client.value(mark, 'files')} files, md5 {client.value(mark, 'md5')}"
    return f"{client.value(mark, 'uptime')} s after its kernel started"
