"""deploy/bench's command line: what it takes, and one line with status 2 for what it does not."""

from pathlib import Path

import pytest

from deploy.benchmark.arguments import PROTOCOLS, parse_arguments


def test_no_arguments_mean_every_cell_five_rounds_of_two_seconds() -> None:
    """The default run is the whole table."""
    arguments = parse_arguments([])
    assert (arguments.rounds, arguments.seconds, arguments.only) == (5, 2.0, PROTOCOLS)
    assert arguments.output is None


def test_every_argument_is_taken() -> None:
    """Each option ends up in its own field, protocols in the table's order."""
    limits = ["--rounds", "3", "--seconds", "0.5"]
    arguments = parse_arguments([*limits, "--only", "http", "--only", "nbd", "--output", "out"])
    assert (arguments.rounds, arguments.seconds, arguments.only) == (3, 0.5, ("nbd", "http"))
    assert arguments.output == Path("out")


def test_quick_is_short_unless_told_otherwise() -> None:
    """--quick sets what is not given."""
    assert parse_arguments(["--quick"]).rounds == 1
    assert parse_arguments(["--quick", "--rounds", "2"]).rounds == 2


@pytest.mark.parametrize(
    "words",
    ["--rounds 0", "--rounds 51", "--rounds two", "--seconds 0", "--seconds nan", "--seconds 61", "--seconds x",
     "--only nfs", "--onl nbd", "surplus"],
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
