"""deploy/run's command line: what it takes, and one line with status 2 for what it does not."""

import pytest

from deploy.lab.arguments import parse_arguments


def test_no_arguments_mean_two_mixed_clients() -> None:
    """The default run is one BIOS and one UEFI client without loss."""
    arguments = parse_arguments([])
    assert (arguments.clients, arguments.firmware, arguments.root, arguments.loss) == (2, "mixed", "mixed", 0)


def test_every_argument_is_taken() -> None:
    """Each option ends up in its own field."""
    rest = ["--keep", "--arm", "relay"]
    clients = ["--clients", "16", "--firmware", "uefi", "--root", "ram"]
    arguments = parse_arguments([*clients, "--loss", "10", "--files", "20", "--bios-loader", "pxelinux", *rest])
    assert (arguments.clients, arguments.firmware, arguments.root) == (16, "uefi", "ram")
    assert arguments.arm == "relay"
    assert (arguments.loss, arguments.files, arguments.bios_loader, arguments.keep) == (10, 20, "pxelinux", True)


@pytest.mark.parametrize(
    "words",
    [
        "--clients 0",
        "--clients 201",
        "--clients -1",
        "--clients two",
        "--clients \N{SUPERSCRIPT TWO}",
        "--loss 51",
        "--loss 1.5",
        "--firmware arm",
        "--root nfs",
        "--arm ring",
        "--cli 3",
        "surplus",
    ],
)
def test_a_wrong_argument_is_one_line_and_status_2(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The line names the command and where to read more; nothing goes to standard output."""
    with pytest.raises(SystemExit) as ended:
        parse_arguments(words.split())
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.out == ""
    assert said.err.startswith("run: ")
    assert said.err.endswith("see deploy/run --help\n")
    assert said.err.count("\n") == 1


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    """--help ends with status 0 and shows commands that can be copied."""
    with pytest.raises(SystemExit) as ended:
        parse_arguments(["--help"])
    assert ended.value.code == 0
    assert "sudo deploy/run --clients 6" in capsys.readouterr().out
