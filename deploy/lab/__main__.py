"""The entry of deploy/run, once everything is installed."""

import sys

from deploy.lab.arguments import parse_arguments
from deploy.lab.run import run
from deploy.lab.screen import Screen

if __name__ == "__main__":
    sys.exit(run(parse_arguments(sys.argv[1:]), Screen()))
