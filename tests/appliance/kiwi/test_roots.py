"""Configurations of machines that have nothing of their own but a root."""

from typing import Literal

import pytest
from pydantic import ValidationError

from appliance.kiwi.compiler import compile_config
from appliance.kiwi.model import read_model
from appliance.kiwi.roots import NOTHING_PRIVATE, Private, root_config, with_private


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


NBD_PRIVATE = Private(write="rw-525400A1B2C3", swap="swap-525400A1B2C3")


@pytest.mark.parametrize(
    ("root", "private", "line"),
    [
        ("s;e;/dev/nbd0", NBD_PRIVATE, "s;e;/dev/nbd0;swap-525400A1B2C3;/dev/nbd1;rw-525400A1B2C3;/dev/nbd2"),
        ("s;e;/dev/nbd5;x;/dev/nbd6", NBD_PRIVATE, "s;e;/dev/nbd5;x;/dev/nbd6;rw-525400A1B2C3;/dev/nbd2"),
    ],
)
def test_a_groups_machine_gets_its_own_exports(root: str, private: Private, line: str) -> None:
    """Behind what the group says; the overlay writes there."""
    group = read_model({"NBDROOT": root, "UNIONFS_CONFIG": "tmpfs,nbd,overlay", "luks_pass": "x"})
    text = compile_config(with_private(group, private), "10.11.0.1").decode()
    assert text == f"NBDROOT='{line}'\nUNIONFS_CONFIG='nbd,nbd,overlay'\nluks_pass='x'\n"


def test_a_groups_machine_gets_its_own_target() -> None:
    """AoE has the second device for it; a configuration without an overlay gets none."""
    group = read_model({"AOEROOT": "/dev/etherd/e0.1"})
    own = with_private(group, Private(write="e17.1"))
    assert compile_config(own, "") == b"AOEROOT='/dev/etherd/e0.1,/dev/etherd/e17.1'\n"


@pytest.mark.parametrize(
    ("values", "private"),
    [
        ({"NBDROOT": "s;e;/dev/nbd0"}, NOTHING_PRIVATE),
        ({"NBDROOT": "s;e;/dev/nbd0"}, Private(write="rw-1")),
        ({"NBDROOT": "s;e;/dev/nbd0;a;/dev/nbd1;b;/dev/nbd2"}, NBD_PRIVATE),
        ({"AOEROOT": "/dev/etherd/e0.1,/dev/sda1"}, Private(write="e17.1")),
        ({"IMAGE": "/dev/ram1;a;1"}, NBD_PRIVATE),
        ({"NBDROOT": "s;e;/dev/nbd0", "AOEROOT": "/dev/etherd/e0.1,/dev/etherd/e9.9"}, NBD_PRIVATE),
    ],
    ids=["nothing private", "no swap before it", "names its own", "names a partition", "no remote root", "two roots"],
)
def test_a_group_that_says_enough_is_left_alone(values: dict[str, str], private: Private) -> None:
    """What an operator wrote is what is meant."""
    group = read_model(values)
    assert with_private(group, private) is group
