"""What all tests share: outside tools are required by name, and missing ones fail CI."""

import os
import shutil
from collections.abc import Callable

import pytest
from hypothesis import settings

# These machines are shared: how long one example takes says nothing about the code.
settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """What a person may want more of than there is time for at every change."""
    text = "machines with private disks that tests/boots/test_private.py boots twice (default: 4)"
    parser.addoption("--private-clients", type=int, default=4, metavar="N", help=text)


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """A function that gives the path of an outside program, or skips (CI: fails) naming it."""

    def find(name: str) -> str:
        path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if path is None:
            message = f"this test needs {name}: run sudo deploy/setup"
            if os.environ.get("REQUIRE_INTEROP") == "1":
                pytest.fail(message)
            pytest.skip(message)
        return path

    return find
