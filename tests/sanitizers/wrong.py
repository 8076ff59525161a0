"""Tests that only end well without the sanitizers; tests/deploy/test_sanitize.py starts them, and nobody else does."""

from importlib import import_module

import pytest

# Functions of broken.pyx, which only deploy/sanitize builds: each does one thing that no extension may.
WRONG = {
    "read_behind": (5,),
    "write_behind": (5,),
    "read_freed": (5,),
    "overflow": (2**31 - 1,),
    "read_across": (1,),
    "lose": (1000, 100),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong(name: str) -> None:
    """A report ends this process, or follows its end."""
    getattr(import_module("broken"), name)(*WRONG[name])
