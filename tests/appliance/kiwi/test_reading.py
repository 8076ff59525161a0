"""What a client's shell makes of a configuration, told without running it, and compared with a shell that does."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.kiwi.reading import CONFIG_MAX, assignments, read_lines

# What linuxrc does to a file before bash takes it, as the contract's section 2.0 has it; written for this test.
STEPS = (
    r"/^$/d; /^[[:blank:]]*#/d; "
    r"""s/^\([A-Za-z0-9_]*=\)["'"'"']\(.*\)["'"'"']/\1\2/; """
    r"""s/\\\(.\)/\1/g; s/'"'"'/'"'"'\\'"'"''"'"'/g; s/^\([A-Za-z0-9_][A-Za-z0-9_]*\)=\(.*\)/\1='"'"'\2'"'"'/"""
)
IMPORT = f"""
LC_ALL=C.UTF-8 /usr/bin/sed '{STEPS}' "$1" > "$2"
PATH=
set -r
. "$2"
builtin compgen -v rw_ | while read -r key; do builtin printf '%s=%s\\0' "$key" "${{!key}}"; done
"""
Shell = Callable[[bytes], dict[str, str]]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Runs a configuration as clients do, in a bash that finds no program; gives the variables named rw_*."""
    folder = tmp_path_factory.mktemp("import")

    def run(config: bytes) -> dict[str, str]:
        (folder / "config").write_bytes(config)
        command = ["/bin/bash", "--norc", "--noprofile", "-c", IMPORT, "import", "config", "sourced"]
        done = subprocess.run(command, capture_output=True, check=False, cwd=folder, env={}, timeout=60)
        pairs = (pair.partition(b"=") for pair in done.stdout.split(b"\0") if pair)
        return {key.decode(): value.decode() for key, _, value in pairs}

    return run


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("rw_a=a b", "a b"),
        ('rw_a="a b"', "a b"),
        ("rw_a='a b'", "a b"),
        ("rw_a=$HOME", "$HOME"),
        ("rw_a=$(cmd)", "$(cmd)"),
        ("rw_a='x' # note", "x # note"),
        (r"rw_a=a\;b", "a;b"),
        (r"rw_a\='x'", "'x'"),
        ("rw_a='a','b'", "a','b"),
        ("rw_a=it's", "it's"),
        ("rw_a=x\r", "x\r"),
        ("rw_a=a\\", "a\\"),
    ],
)
def test_values_are_what_the_client_reads(shell: Shell, line: str, value: str) -> None:
    """The rows of the contract's table, and of KIWI 7's own sample."""
    assert assignments(read_lines(line.encode())) == {"rw_a": value} == shell(line.encode())


@pytest.mark.parametrize("line", [" rw_a=x", "export rw_a=x", "rw_a = x", "1a=x", "reboot", "rw-a=x", "=x"])
def test_lines_that_are_no_assignments_are_code(line: str) -> None:
    """Bash runs them as they are, as root."""
    assert [read.is_code for read in read_lines(line.encode())] == [True]


def test_blank_lines_and_comments_are_nothing() -> None:
    """With blanks before them, too; line numbers go on counting."""
    assert [line.number for line in read_lines(b"\n# a\n \t# b\n  \nA='x'\n")] == [5]


def test_a_continued_line_loses_what_follows(shell: Shell) -> None:
    """Section 2.0: the value is damaged and all later keys are lost."""
    config = b"rw_a='x,\\\ny'\nrw_b=z\n"
    assert assignments(read_lines(config)) == {"rw_a": "'x,\\"}
    assert "rw_b" not in shell(config)


def test_a_file_without_end_is_refused() -> None:
    """A configuration is some hundred bytes."""
    with pytest.raises(ValueError, match="longer"):
        read_lines(b"#" * (CONFIG_MAX + 1))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text("ab'\"\\ #;=,$(`)\t\r", max_size=12), min_size=1, max_size=4))
def test_assignments_agree_with_the_shell(shell: Shell, values: list[str]) -> None:
    """Whatever is behind a key at column 1: nothing of it is run, and the value is the one that was told."""
    config = "".join(f"rw_{number}={value}\n" for number, value in enumerate(values)).encode()
    assert assignments(read_lines(config)) == shell(config)


@given(st.binary(max_size=200))
def test_any_bytes_are_lines(config: bytes) -> None:
    """Hostile text is data."""
    assert all(line.is_code != (line.key is not None) for line in read_lines(config))


def test_safe_lines_are_exactly_the_grammar(tmp_path: Path) -> None:
    """Section 2.0's rule for servers."""
    lines = read_lines(b"A='x y;z'\nA=x\nA=\"x\"\nA='x' # y\nA='x'\r\n1A='x'\n")
    assert [line.is_safe for line in lines] == [True, False, False, False, False, False]
