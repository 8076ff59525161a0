"""python -m deploy.benchmark: what deploy/bench ends in."""

import sys

from rich.console import Console

from deploy.benchmark.arguments import parse_arguments
from deploy.benchmark.run import run

if __name__ == "__main__":
    sys.exit(run(parse_arguments(sys.argv[1:]), Console()))
