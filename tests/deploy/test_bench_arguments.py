"""deploy/bench's command line: what it takes, and one line with status 2 for what it does not."""

from pathlib import Path

import pytest

from deploy.benchmark.arguments import PROTOCOLS, parse_arguments


def test_no_arguments_mean_every_cell_five_rounds_of_two_seconds() -> None:
    """The default run is the whole table."""
    arguments = parse_arguments([])
    assert (arguments.rounds, arguments.seconds, arguments.only) == (5, 2.0, PROTOCOLS)
    assert (arguments.output, arguments.cells, arguments.markdown) == (None, (), None)


def test_every_argument_is_taken() -> None:
    """Each option ends up in its own field, protocols in the table's order."""
    limits = ["--rounds", "3", "--seconds", "0.5"]
    arguments = parse_arguments([*limits, "--only", "http", "--only", "nbd", "--output", "out"])
    assert (arguments.rounds, arguments.seconds, arguments.only) == (3, 0.5, ("nbd", "http"))
    assert arguments.output == Path("out")
    arguments = parse_arguments(["--cell", "128", "--cell", "cold", "--markdown", "README.md"])
    assert (arguments.cells, arguments.markdown) == (("128", "cold"), Path("README.md"))


def test_quick_is_short_unless_told_otherwise() -> None:
    """--quick sets what is not given."""
    assert parse_arguments(["--quick"]).rounds == 1
    assert parse_arguments(["--quick", "--rounds", "2"]).rounds == 2


@pytest.mark.parametrize(
    "words",
    ["--rounds 0", "--rounds 51", "--rounds two", "--seconds 0", "--seconds nan", "--seconds 61", "--seconds x",
     "--only nfs", "--onl nbd", "surplus", "--cell zebra", "--cell 128 --cell zebra", "--only aoe --cell window"],
)  # fmt: skip
def test_a_wrong_argument_is_one_line_and_status_2(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The line names the command and where to read more; nothing goes to standard output."""
    with pytest.raises(SystemExit) as ended:
        parse_arguments(words.split())
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.out == ""
    assert said.err.startswith("bench: ")
    assert said.err.endswith("see deploy/bench --help\n")
    assert said.err.count("\n") == 1


def test_an_unknown_cell_is_said_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    """So that one sees which of several texts, and where it was looked for."""
    with pytest.raises(SystemExit):
        parse_arguments(["--only", "tftp", "--cell", "window", "--cell", "128 KiB"])
    assert "no cell of tftp has '128 KiB' in its name" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["4 KiB random, 1x1", "1000 clients", "cold", "pumps"])
def test_every_kind_of_cell_can_be_named(text: str) -> None:
    """Cells beside the peers, crowds, neighbours, and more pumps."""
    assert parse_arguments(["--cell", text]).cells == (text,)
