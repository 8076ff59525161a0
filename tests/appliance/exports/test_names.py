"""appliance.exports.names: one name for one machine, and nothing else is one."""

import pytest

from appliance.exports.names import Kind, name_of, parse_name

MAC = "52:54:00:a1:b2:c3"


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("spelling", [MAC, MAC.upper(), MAC.replace(":", "-"), "525400A1B2C3"])
def test_names_go_both_ways(kind: Kind, spelling: str) -> None:
    """However the MAC is spelled."""
    assert name_of(kind, spelling) == f"{kind}-525400A1B2C3"
    assert parse_name(name_of(kind, spelling)) == (kind, MAC)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "rw-",
        "rw-525400a1b2c3",
        "rw-525400A1B2C",
        "rw-525400A1B2C3D",
        "ro-525400A1B2C3",
        "rw-525400A1B2C3\n",
        "root",
    ],
)
def test_other_names(name: str) -> None:
    """Are none of ours, be it by one letter."""
    assert parse_name(name) is None
