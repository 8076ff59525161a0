"""The command line of deploy/bench. Standard library only: it is checked before anything is installed."""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from deploy.benchmark.cells import EVERYTHING

PROTOCOLS = ("nbd", "tftp", "aoe", "http", "squashfs", "dhcp")
MAX_ROUNDS = 50
MAX_SECONDS = 60.0
QUICK = (1, 0.5)  # rounds and seconds of --quick: whether it works, not how fast anything is

EXAMPLES = """\
examples:
  sudo deploy/bench                          every cell, five rounds of two seconds for each server
  sudo deploy/bench --only tftp --rounds 3
  sudo deploy/bench --cell 128 --cell cold   only cells with that in their names
  sudo deploy/bench --markdown README.md     the table goes between the lines <!-- deploy/bench --> of it as well
  sudo deploy/bench --quick                  a minute or two: whether it works, not how fast anything is

Servers share one core and the load has another; it all runs in a network namespace of its own. The table is printed;
results.json and chart.png are written to .bench/ at the repository root, or to --output DIR.
"""


@dataclass(frozen=True, slots=True)
class Arguments:
    """What was asked for on the command line."""

    rounds: int
    seconds: float
    only: tuple[str, ...]
    output: Path | None
    cells: tuple[str, ...] = ()
    markdown: Path | None = None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line and status 2, where argparse would print its usage as well."""
        self.exit(2, f"bench: {message}; see deploy/bench --help\n")


def _rounds(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_ROUNDS:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to {MAX_ROUNDS}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.1 <= value <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0.1 to {MAX_SECONDS:g}")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="deploy/bench",
        description="Measure the appliance beside the servers people use today.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    rounds: Callable[[str], int] = _rounds
    parser.add_argument("--rounds", type=rounds, metavar="N", help="times each cell is run (default: 5; odd is best)")
    parser.add_argument("--seconds", type=_seconds, metavar="S", help="how long each run lasts (default: 2)")
    parser.add_argument("--only", choices=PROTOCOLS, action="append", help="this protocol, or format; may be repeated")
    parser.add_argument("--cell", metavar="TEXT", action="append", help="cells named so, in part; may be repeated")
    parser.add_argument("--quick", action="store_true", help="one round of half a second")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where results.json and chart.png go")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table to FILE, or into it")
    return parser


def names_of(protocols: Sequence[str]) -> list[str]:
    """What --cell can name in these protocols."""
    return [item.name for item in EVERYTHING if item.protocol in protocols]


def parse_arguments(words: Sequence[str]) -> Arguments:
    """The arguments in `words`; prints one line and exits 2 when one is wrong, 0 after --help."""
    parser = _parser()
    given = parser.parse_args(words)
    rounds, seconds = QUICK if given.quick else (5, 2.0)
    protocols = tuple(p for p in PROTOCOLS if p in given.only) if given.only else PROTOCOLS
    for text in given.cell or ():
        if not any(text in name for name in names_of(protocols)):
            parser.error(f"argument --cell: no cell of {', '.join(protocols)} has {text!r} in its name")
    return Arguments(
        rounds=given.rounds or rounds,
        seconds=given.seconds or seconds,
        only=protocols,
        output=given.output,
        cells=tuple(given.cell or ()),
        markdown=given.markdown,
    )


if __name__ == "__main__":
    parse_arguments(sys.argv[1:])
