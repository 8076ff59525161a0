"""Which configuration a machine of an existing tree ends with: the clients' own order, made one final text."""

import pytest

from appliance.kiwi.groups import resolve
from appliance.kiwi.site import Site
from tests.appliance.kiwi.conftest import MAC_CONFIG, Write

MAC = "52:54:00:a1:b2:c3"
GROUPS = "KIWI_GROUP='pos, office'\npos_KIWI_MAC_LIST='52:54:00:A1:B2:C3'\noffice_KIWI_MAC_LIST='52:54:00:A1:B2:C3'\n"
POS = "A='pos'\nB='pos'\nHARDWARE_MAP='foo bar'\nfoo_HARDWARE_MAP='52:54:00:A1:B2:C3'\n"


def ends_with(write: Write, **files: str) -> tuple[dict[str, str], list[str]] | None:
    """The machine's final values, and from which files they come."""
    found = resolve(Site(write({f"KIWI/{name}": content for name, content in files.items()})), MAC)
    return None if found is None else (dict(found.values), [source.path for source in found.sources])


def test_a_file_of_its_own_comes_first(write: Write) -> None:
    """In the spelling that clients ask before any other."""
    files = {"config.52-54-00-a1-b2-c3": "A='1'\n", "config.52:54:00:A1:B2:C3": "A='2'\n", "config.group": GROUPS}
    assert ends_with(write, **files) == ({"A": "2"}, [MAC_CONFIG])


def test_an_empty_file_counts_as_missing(write: Write) -> None:
    """Fixture F14: the group is next."""
    files = {"config.52:54:00:A1:B2:C3": "", "config.group": GROUPS, "config.pos": "A='1'\n"}
    assert ends_with(write, **files) == ({"A": "1"}, ["KIWI/config.pos"])


def test_the_first_group_with_its_map(write: Write) -> None:
    """Fixture F11: what the map says is laid over it; who is where is no part of the result."""
    files = {"config.group": GROUPS, "config.pos": POS, "hardware_config.foo": "B='foo'\n"}
    assert ends_with(write, **files) == (
        {"A": "pos", "B": "foo"},
        ["KIWI/config.pos", "KIWI/hardware_config.foo"],
    )


def test_only_the_first_map_is_tested(write: Write) -> None:
    """As in every version of the code."""
    pos = "HARDWARE_MAP='foo bar'\nbar_HARDWARE_MAP='52:54:00:A1:B2:C3'\nA='1'\n"
    files = {"config.group": GROUPS, "config.pos": pos, "hardware_config.bar": "A='2'\n"}
    assert ends_with(write, **files) == ({"A": "1"}, ["KIWI/config.pos"])


@pytest.mark.parametrize("there", [{"config.group": GROUPS}, {"config.group": GROUPS, "config.pos": POS}])
def test_what_is_named_and_missing_is_said(write: Write, there: dict[str, str]) -> None:
    """Fatal for the client: a group's configuration, a map."""
    with pytest.raises(LookupError, match=r"(config\.pos|hardware_config\.foo) is missing"):
        ends_with(write, **there)


def test_a_stranger_has_nothing(write: Write) -> None:
    """Subnets and the default are asked for by others, later."""
    assert ends_with(write, **{"config.default": "A='1'\n", "config.52:54:00:A1:B2:C4": "A='1'\n"}) is None
