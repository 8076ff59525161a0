"""`rootwire check` and `rootwire convert`: what clients would do with a tree's configurations, and those as tables."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from appliance.config import Config, load_config
from appliance.errors import OperatorError
from appliance.kiwi.compiler import compile_config
from appliance.kiwi.conversion import Tables
from appliance.kiwi.conversion import convert as convert_site
from appliance.kiwi.finding import Finding, Level
from appliance.kiwi.linter import check_file, check_text, check_tree, errors_of
from appliance.kiwi.names import FOLDER
from appliance.kiwi.site import Site
from appliance.kiwi.toml import write_tables

NO_ADDRESS = "0.0.0.0"  # stands for our own, which only an appliance that runs knows
STYLES = {Level.ERROR: "red", Level.WARNING: "yellow"}


def check(path: Path, root: Path | None, console: Console, *, as_json: bool) -> bool:
    """Print every finding in a tree or a configuration, rootwire's own too; says whether none is an error.

    Raises: OperatorError when there is nothing to check.
    """
    findings = _check(path, root)
    if as_json:
        console.out(json.dumps([asdict(finding) for finding in findings]), highlight=False)
    else:
        show(findings, console)
    return not errors_of(findings)


def _check(path: Path, root: Path | None) -> list[Finding]:
    try:
        if path.is_dir():
            return check_tree(Site(path))
        if path.suffix == ".toml" and path.is_file():
            return _check_tables(load_config(path), root)
        if not path.is_file():
            raise OperatorError(
                f"{path}: no such file or folder", "name a boot tree, a configuration in its KIWI/, or a .toml"
            )
        whole = path.absolute()
        base = root or (whole.parent.parent if whole.parent.name == FOLDER else whole.parent)
        name = f"{FOLDER}/{path.name}" if whole.parent.name == FOLDER else path.name
        return check_file(name, Site(base), whole)
    except OSError as failure:
        raise OperatorError(f"{failure.filename or path}: {failure.strerror}", "make it readable") from failure


def _check_tables(config: Config, root: Path | None) -> list[Finding]:
    """What there is to say of the clients that are typed in, each by the name of its table."""
    place = root or config.root
    if place is None:
        raise OperatorError("it names no boot tree", "name the one that it is meant for: --root DIR")
    site, server = Site(place), config.address or NO_ADDRESS
    return [
        finding
        for table, client in config.kiwi.clients().items()
        for finding in check_text(table, compile_config(client, server), site)
    ]


def show(findings: list[Finding], console: Console) -> None:
    """Three lines for each finding, and one that counts them."""
    for finding in findings:
        heading = Text(finding.place, style="bold").append(f"  {finding.level}  ", style=STYLES[finding.level])
        console.print(heading.append(finding.trap, style="default"))
        for name, text in (("client", finding.effect), ("mend", finding.mend)):
            console.print(Padding(Text(f"{name}: {text}"), (0, 0, 0, 4)))
    bad = len(errors_of(findings))
    console.print(Text(f"{_count(bad, 'error')}, {_count(len(findings) - bad, 'warning')}", style="bold"))


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def convert(tree: Path, out: TextIO, said: TextIO, *, as_json: bool) -> bool:
    """Write the configurations of a tree as tables to `out`, and what none of them says to `said`.

    Returns whether all is in the tables. Raises: OperatorError when there is nothing to convert.
    """
    if not (tree / FOLDER).is_dir():
        raise OperatorError(f"{tree} has no folder {FOLDER}", "name a boot tree")
    try:
        tables = convert_site(Site(tree))
    except OSError as failure:
        raise OperatorError(f"{failure.filename or tree}: {failure.strerror}", "make it readable") from failure
    if as_json:
        out.write(json.dumps({**tables.as_table(), "left_out": [asdict(left) for left in tables.left_out]}) + "\n")
        return not tables.left_out
    out.write(
        f"# The files in {tree / FOLDER}. They come before these tables: take them away once these are in force.\n"
    )
    out.write(write_tables(tables.as_table()))
    for left in tables.left_out:
        said.write(f"{left.place}: left out: {left.reason}\n")
    said.write(f"{_describe(tables)}\n")
    return not tables.left_out


def _describe(tables: Tables) -> str:
    everybody = "everybody, " if tables.client else ""
    found = f"{everybody}{_count(len(tables.groups), 'group')}, {_count(len(tables.machines), 'machine')}"
    return f"tables for {found}; {_count(len(tables.left_out), 'thing')} left out"
