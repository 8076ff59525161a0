"""Configurations of machines that have nothing of their own but a root."""

from typing import Literal

import pytest
from pydantic import ValidationError

from appliance.kiwi.compiler import compile_config
from appliance.kiwi.roots import Private, root_config


@pytest.mark.parametrize(
    ("root", "line"),
    [
        ("nbd", "NBDROOT='10.11.0.1;edge.x86_64-1.2.0;/dev/nbd0'"),
        ("aoe", "AOEROOT='/dev/etherd/e0.3'"),
        ("ram", "IMAGE='/dev/ram1;edge.x86_64;1.2.0;10.11.0.1;32768'"),
    ],
)
def test_each_kind_of_root_has_its_key(root: Literal["nbd", "aoe", "ram"], line: str) -> None:
    """One key names the root, the next one the overlay over it."""
    text = compile_config(root_config(root, image="edge.x86_64-1.2.0", target="e0.3"), "10.11.0.1").decode()
    assert text.splitlines()[0] == line
    assert text.splitlines()[1].startswith("UNIONFS_CONFIG='tmpfs,")


def test_private_exports_follow_the_root() -> None:
    """Fixtures F5 and F6b: seven fields, none of them empty; the second device of AoE."""
    private = Private(write="rw-525400A1B2C3", swap="swap-525400A1B2C3")
    nbd = root_config("nbd", image="edge-root", target="e0.1", private=private)
    assert compile_config(nbd, "10.11.0.1").decode() == (
        "NBDROOT='10.11.0.1;edge-root;/dev/nbd0;swap-525400A1B2C3;/dev/nbd1;rw-525400A1B2C3;/dev/nbd2'\n"
        "UNIONFS_CONFIG='nbd,nbd,overlay'\n"
    )
    aoe = root_config("aoe", image="edge-root", target="e0.1", private=Private(write="e17.1"))
    assert compile_config(aoe, "").startswith(b"AOEROOT='/dev/etherd/e0.1,/dev/etherd/e17.1'\n")


def test_a_value_the_client_would_execute_is_refused() -> None:
    """A quote would end the value, and the client's shell would run what follows."""
    with pytest.raises(ValidationError, match="export"):
        root_config("nbd", image="x';reboot;'", target="e0.1")
