"""The configuration parser against an obviously correct model of KIWI's grammar, with hostile values."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.appliance.initrd.conftest import Shell

# Prints each call as a record, ended by NUL, which no line can hold.
PRINT_ALL = """
take() { printf 'took %s=%s\\0' "$1" "$2"; }
refuse() { printf 'refused %s %s\\0' "$1" "$2"; }
parse_config "$1" take refuse
"""
ASSIGNMENT = re.compile(rb"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.S)
QUOTED = re.compile(rb"(['\"])(.*)\1(.*)", re.S)  # greedy: up to the last quote of its kind


def parse_model(data: bytes) -> list[bytes]:
    """What the parser must print, by regular expressions."""
    records = []
    for number, line in enumerate(data.removesuffix(b"\n").split(b"\n") if data else [], start=1):
        content = line.removesuffix(b"\r")
        if not content.strip(b" \t") or content.strip(b" \t").startswith(b"#"):
            continue
        assignment = ASSIGNMENT.fullmatch(content)
        value = assignment[2] if assignment else b""
        quoted = QUOTED.fullmatch(value)
        is_open = value[:1] in (b"'", b'"') and not quoted
        if assignment is None or content.endswith(b"\\") or is_open:
            records.append(b"refused %d %s" % (number, line))
            continue
        if quoted:
            value = quoted[2] + quoted[3]
        records.append(b"took %s=%s" % (assignment[1], re.sub(rb"\\(.)", rb"\1", value, flags=re.S)))
    return records


def parse(shell: Shell, folder: Path, data: bytes) -> list[bytes]:
    """What the client's parser prints for a file with these bytes."""
    file = folder / "config"
    file.write_bytes(data)
    done = shell(PRINT_ALL, file)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.split(b"\0")[:-1]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b"A=a b", b"a b"),
        (b'A="a b"', b"a b"),
        (b"A='a b'", b"a b"),
        (b"A=", b""),
        (b"A=''", b""),
        (b"A=$HOME", b"$HOME"),
        (b"A=$(touch x)", b"$(touch x)"),
        (b"A=`touch x`", b"`touch x`"),
        (b"A='$(touch x)'; touch y", b"$(touch x); touch y"),
        (b"A='x' # note", b"x # note"),
        (b"A='a','b'", b"a','b"),
        (b"A='it's'", b"it's"),
        (b"A=\"'x'\"", b"'x'"),
        (b"A=a\\;b", b"a;b"),
        (b"A=a\\\\b", b"a\\b"),
        (b"A='10.0.0.1;root;/dev/nbd0'\r", b"10.0.0.1;root;/dev/nbd0"),
        (b"A=*", b"*"),
        (b"A=a=b", b"a=b"),
        (b"A=\xc3\xa9\x81\x88", b"\xc3\xa9\x81\x88"),
    ],
)
def test_value_is_taken_as_text(shell: Shell, tmp_path: Path, line: bytes, value: bytes) -> None:
    """Quotes and escapes go, everything else stays what it is."""
    assert parse(shell, tmp_path, line) == [b"took A=" + value]
    assert parse_model(line) == [b"took A=" + value]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b" A=x", b"it is not KEY=value"),
        (b"export A=x", b"it is not KEY=value"),
        (b"A = x", b"it is not KEY=value"),
        (b"1A=x", b"it is not KEY=value"),
        (b"=x", b"it is not KEY=value"),
        (b"A-B=x", b"it is not KEY=value"),
        (b"touch x", b"it is not KEY=value"),
        (b"<html>", b"it is not KEY=value"),
        (b"A='a,\\", b"it is continued on the next line"),
        (b"A=a\\", b"it is continued on the next line"),
        (b"A='a", b"its quote is not closed"),
        (b"A='", b"its quote is not closed"),
        (b"A=\"a'", b"its quote is not closed"),
    ],
)
def test_other_lines_are_refused_by_name(shell: Shell, tmp_path: Path, line: bytes, reason: bytes) -> None:
    """Number, text and reason are said; the lines after it still count."""
    script = 'read_config "$1" name; say "$config_image"'
    file = tmp_path / "config"
    file.write_bytes(line + b"\nIMAGE='kept'\n")
    said = shell(script, file).stdout.splitlines()
    assert said == [b"rootwire: config: line 1 left out, " + reason + b": " + line, b"rootwire: kept"]


ALPHABET = "AB_1= '\"\\$`()#;,|&<>*?~{}[]!\t\r\né\x1b"


@given(data=st.text(alphabet=ALPHABET, max_size=300).map(str.encode))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_parses_as_the_model_says(shell: Shell, tmp_path: Path, data: bytes) -> None:
    """Whatever the text, the same assignments and refusals as the model's, and nothing is run: no file appears."""
    assert parse(shell, tmp_path, data) == parse_model(data)
    assert list((tmp_path / "work").iterdir()) == []


LINES = st.builds(
    lambda key, quote, value, end: f"{key}={quote}{value}{quote}{end}",
    st.sampled_from(["IMAGE", "A", "_x9"]),
    st.sampled_from(["", "'", '"']),
    st.text(alphabet=ALPHABET.replace("\n", ""), max_size=20),
    st.sampled_from(["", "\r", " # note", "\\"]),
)


@given(lines=st.lists(LINES, max_size=12))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_assignments_parse_as_the_model_says(shell: Shell, tmp_path: Path, lines: list[str]) -> None:
    """The same with lines that are nearly assignments, with and without a newline at the end of the file."""
    data = "\n".join(lines).encode()
    assert parse(shell, tmp_path, data) == parse_model(data)
    assert parse(shell, tmp_path, data + b"\n") == parse_model(data + b"\n")


def test_only_a_few_refusals_are_shown(shell: Shell, tmp_path: Path) -> None:
    """A web page in place of a configuration gives a handful of lines and a count, then the clear failure."""
    file = tmp_path / "config"
    file.write_text("<p>no such file</p>\n" * 40)
    done = shell('from=tftp://10.0.0.1; read_config "$1" KIWI/config.default', file)
    assert done.returncode == 9
    assert len(done.stdout.splitlines()) == 7
    assert b"config: 40 lines left out in all" in done.stdout
    assert b"FAILED: KIWI/config.default on tftp://10.0.0.1 holds no KEY=value line" in done.stdout


def test_shown_text_cannot_drive_the_terminal(shell: Shell, tmp_path: Path) -> None:
    """Control characters of a refused line don't reach the console."""
    file = tmp_path / "config"
    file.write_bytes(b"\x1b[2Jhello\x07\nIMAGE=x\n")
    assert b": [2Jhello\n" in shell('read_config "$1" name', file).stdout


def test_known_keys_are_kept_and_others_named(shell: Shell, tmp_path: Path) -> None:
    """The keys this client acts on land in their variables; the later of two wins."""
    file = tmp_path / "config"
    file.write_text(
        "NBDROOT='a'\nNBDROOT='10.0.0.1;root'\nAOEROOT=x\nUNIONFS_CONFIG=y\nkiwiserver=10.9.9.9\nLUKS='c'\n"
    )
    said = shell(
        'read_config "$1" name; say "$config_nbdroot $config_aoeroot $config_unionfs $kiwiserver"', file
    ).stdout
    assert said == b"rootwire: config: LUKS has no meaning for this client\nrootwire: 10.0.0.1;root x y 10.9.9.9\n"
