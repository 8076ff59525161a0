"""The names KIWI's clients ask for."""

import pytest

from appliance.kiwi import names


@pytest.mark.parametrize(
    "spelling",
    ["52:54:00:A1:B2:C3", "52.54.00.A1.B2.C3", "52-54-00-a1-b2-c3", "525400a1b2c3", "52:54:00:a1:b2:c3"],
)
def test_every_spelling_of_a_mac_is_the_same_machine(spelling: str) -> None:
    """Clients ask colons, the documentation writes dots, people write dashes."""
    assert names.mac_asked_for(f"KIWI/config.{spelling}") == "52:54:00:a1:b2:c3"


@pytest.mark.parametrize(
    "name", ["KIWI/config.default", "KIWI/config.group", "KIWI/config.0A0B0039", "config.525400a1b2c3"]
)
def test_other_configs_are_no_machine(name: str) -> None:
    """Groups, addresses and files elsewhere are not mistaken for a MAC."""
    assert names.mac_asked_for(name) is None


@pytest.mark.parametrize(("name", "is_one"), [("0A0B0039", True), ("0", True), ("default", False), ("0a", False)])
def test_subnets_are_asked_for_by_hex_digits(name: str, is_one: bool) -> None:
    """Upper case, eight digits down to one."""
    assert names.is_subnet_config(f"KIWI/config.{name}") == is_one


@pytest.mark.parametrize(
    ("image", "fields"),
    [
        ("edge.x86_64-1.2.0", ("edge.x86_64", "1.2.0")),
        ("LimeJeOS-Leap-42.1.x86_64-1.42.1", ("LimeJeOS-Leap-42.1.x86_64", "1.42.1")),
        ("root", ("root", "0")),
        ("odd-", ("odd-", "0")),
    ],
)
def test_image_names_split_where_the_client_joins_them(image: str, fields: tuple[str, str]) -> None:
    """The version is what follows the last dash; a name without one gets version 0."""
    assert names.split_name(image) == fields


@pytest.mark.parametrize("name", ["", ".hidden", "a b", "a;b", "a'b", "a,b", "a/b", "ä", "x" * 202])
def test_names_that_break_a_client_are_not_safe(name: str) -> None:
    """Separators, quotes and blanks end a field in the client's shell."""
    assert not names.is_safe_name(name)
