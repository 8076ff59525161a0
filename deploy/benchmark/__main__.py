"""python -m deploy.benchmark: what deploy/bench ends in."""

import sys

from rich.console import Console

from deploy.benchmark.arguments import parse_arguments
from deploy.benchmark.run import run

if __name__ == "__main__":
    console = Console()
    # A file or a pipe has no width of its own; a table folded at 80 columns can't be read.
    sys.exit(run(parse_arguments(sys.argv[1:]), console if console.is_terminal else Console(width=150)))
