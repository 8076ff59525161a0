"""What a run shows: lines in a log, a table on a terminal, and the timelines at the end."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from deploy.lab.client import Client
from deploy.lab.console import Mark, Sighting
from deploy.lab.plan import plan_clients
from deploy.lab.screen import Screen, format_size, timeline
from deploy.lab.story import Step, Story


def make_screen(*, terminal: bool, width: int = 100, height: int = 30) -> tuple[Screen, io.StringIO]:
    """A screen that writes to a string."""
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=width, height=height, highlight=False)
    return Screen(console), output


def make_clients(folder: Path, count: int = 2) -> list[Client]:
    """Clients, none of them powered on yet."""
    return [Client(plan, folder / plan.name) for plan in plan_clients(count, "mixed", "mixed")]


def boot(client: Client) -> None:
    """Let the client have booted: on at 100, kernel at 110, userspace at 130.5."""
    client.began, client.ended, client.powered_on = 0.0, 40.0, 100.0
    client.story = Story("kernel", (Step("kernel", 110.0, "boot/linux", 14_186_432, False),), 14_186_432)
    client.seen[Mark.DONE] = (140.0, Sighting(Mark.DONE, {"uptime": "16.2"}))
    client.seen[Mark.USERSPACE] = (130.5, Sighting(Mark.USERSPACE, {"uptime": "6.69"}))


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (14_186_432, "14.2 MB"), (999_999_999, "1000.0 MB"), (10**9, "1.00 GB")],
)
def test_sizes_are_readable(size: int, text: str) -> None:
    """Powers of ten, as network people count."""
    assert format_size(size) == text


def test_a_step_is_one_line_in_a_log(tmp_path: Path) -> None:
    """No redrawing, no escape sequences; the last detail stays."""
    screen, output = make_screen(terminal=False, width=20)
    with screen.step("demo: kernel") as show:
        show("downloading")
        show("unpacked " + "x" * 40)
    assert output.getvalue().count("\n") == 1
    assert "\x1b" not in output.getvalue()
    assert output.getvalue().endswith("s  unpacked " + "x" * 40 + "\n")


def test_a_stage_is_one_line_in_a_log(tmp_path: Path) -> None:
    """Only changes of stage are said, however often the client reports."""
    screen, output = make_screen(terminal=False)
    first, _ = clients = make_clients(tmp_path)
    with screen.clients(clients) as on_change:
        first.began = 0.0
        on_change(first)
        on_change(first)
        boot(first)
        on_change(first)
    lines = output.getvalue().splitlines()
    assert [line.split(" s  ", 1)[1] for line in lines] == [
        "client-00  bios+nbd  firmware",
        "client-00  bios+nbd  userspace",
    ]


def test_a_terminal_has_a_row_per_client(tmp_path: Path) -> None:
    """With its stage, seconds and bytes, and a count below."""
    screen, output = make_screen(terminal=True)
    clients = make_clients(tmp_path)
    with screen.clients(clients):
        boot(clients[0])
    drawn = output.getvalue()
    assert "52:54:00:77:00:00" in drawn
    assert "14.2 MB" in drawn
    assert "waiting for its turn" in drawn
    assert "1 of 2 done, 0 running" in drawn


def test_many_clients_fit_a_small_terminal(tmp_path: Path) -> None:
    """Only those that run are shown when there is no room for all."""
    screen, output = make_screen(terminal=True, height=14)
    clients = make_clients(tmp_path, 40)
    clients[30].began = 0.0
    with screen.clients(clients):
        pass
    assert "client-30" in output.getvalue()
    assert "client-00" not in output.getvalue()
    assert "0 of 40 done, 1 running" in output.getvalue()


def test_a_timeline_joins_both_views(tmp_path: Path) -> None:
    """The appliance's steps and the client's own words, in seconds after power-on."""
    client = make_clients(tmp_path)[0]
    boot(client)
    assert timeline(client) == [
        (10.0, "kernel", "boot/linux, 14.2 MB"),
        (30.5, "userspace", "6.69 s after its kernel started"),
        (40.0, "power off", "16.2 s after its kernel started"),
    ]


def test_a_failed_client_shows_the_end_of_its_console(tmp_path: Path) -> None:
    """With the reason and where the rest is."""
    screen, output = make_screen(terminal=False)
    client = make_clients(tmp_path)[0]
    client.console.feed(b"first\nlast words\n")
    client.failure = "did not finish within 300 s"
    screen.timelines([client])
    assert f"did not finish within 300 s; the end of its console, which is in {client.log}:" in output.getvalue()
    assert output.getvalue().endswith("  | first\n  | last words\n")
