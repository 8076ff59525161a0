"""`rootwire check`: what a client would do with a tree's configurations, for people or as JSON."""

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from appliance.errors import OperatorError
from appliance.kiwi.finding import Finding, Level
from appliance.kiwi.linter import check_file, check_tree, errors_of
from appliance.kiwi.names import FOLDER
from appliance.kiwi.site import Site

STYLES = {Level.ERROR: "red", Level.WARNING: "yellow"}


def check(path: Path, root: Path | None, console: Console, *, as_json: bool) -> bool:
    """Print every finding in a tree or a configuration; returns whether there is none of level error.

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
        if not path.is_file():
            raise OperatorError(f"{path}: no such file or folder", "name a boot tree, or a configuration in its KIWI/")
        whole = path.absolute()
        base = root or (whole.parent.parent if whole.parent.name == FOLDER else whole.parent)
        name = f"{FOLDER}/{path.name}" if whole.parent.name == FOLDER else path.name
        return check_file(name, Site(base), whole)
    except OSError as failure:
        raise OperatorError(f"{failure.filename or path}: {failure.strerror}", "make it readable") from failure


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
