"""What is published of an operator's configurations, and what is withheld."""

from pathlib import Path

import pytest

from appliance.kiwi.publisher import Publisher
from tests.appliance.kiwi.conftest import MAC_CONFIG, Write

MAC = "52:54:00:a1:b2:c3"
GOOD = b"NFSROOT='10.0.0.9;/srv'\n"


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    """Over an empty tree, from 10.11.0.1."""
    return Publisher(tmp_path, server="10.11.0.1", kept=tmp_path / ".rootwire/kiwi")


def test_what_is_published_is_compiled_anew(publisher: Publisher, write: Write) -> None:
    """Letters become numbers, fields are filled, quotes are all alike."""
    write({"KIWI/config.default": 'DISK=/dev/sda\nPART="5;S;x,"\nIMAGE=/dev/sda1;a;1\nx=y\n', "image/a-1": "x"})
    assert publisher.file("KIWI/config.default") == (
        b"DISK='/dev/sda'\nPART='5;82;x'\nIMAGE='/dev/sda1;a;1;10.11.0.1;32768'\nx='y'\n"
    )


def test_an_error_leaves_the_last_good_one(publisher: Publisher, write: Write, tmp_path: Path) -> None:
    """Also after a restart; it is said which error that is, until it is mended."""
    write({"KIWI/config.default": GOOD})
    assert publisher.file("KIWI/config.default") == GOOD
    write({"KIWI/config.default": GOOD + b"reboot\n"})
    assert publisher.file("KIWI/config.default") == GOOD
    assert [finding.trap for finding in publisher.refused()] == ["config-is-code"]
    again = Publisher(tmp_path, server="10.11.0.1", kept=tmp_path / ".rootwire/kiwi")
    assert again.file("KIWI/config.default") == GOOD
    write({"KIWI/config.default": GOOD})
    assert publisher.file("KIWI/config.default") == GOOD
    assert publisher.refused() == []


def test_an_error_with_nothing_good_before_is_not_found(publisher: Publisher, write: Write) -> None:
    """The machine is known, but there is nothing for it."""
    write({MAC_CONFIG: "IMAGE='/dev/ram1;a;1;s;4096'\n"})
    assert publisher.machine(MAC) is None
    assert publisher.has_own(MAC)


def test_a_configuration_that_went_is_forgotten(publisher: Publisher, write: Write, tmp_path: Path) -> None:
    """It would otherwise come back when its successor has an error."""
    write({"KIWI/config.default": GOOD})
    assert publisher.file("KIWI/config.default") == GOOD
    (tmp_path / "KIWI/config.default").unlink()
    assert publisher.file("KIWI/config.default") is None
    write({"KIWI/config.default": "reboot\n"})
    assert publisher.file("KIWI/config.default") is None


def test_a_group_missing_its_configuration_is_an_error(publisher: Publisher, write: Write) -> None:
    """Which for the client would be fatal: so it is not told of it."""
    write({"KIWI/config.group": "KIWI_GROUP='a'\na_KIWI_MAC_LIST='52:54:00:A1:B2:C3'\n"})
    assert publisher.machine(MAC) is None
    assert "KIWI/config.a is missing" in publisher.refused()[0].effect
    assert publisher.file("KIWI/config.group") is None


def test_a_group_file_keeps_its_lists(publisher: Publisher, write: Write) -> None:
    """For machines that are in none of its groups, and ask."""
    groups = "KIWI_GROUP='a'\na_KIWI_MAC_LIST='52:54:00:A1:B2:C3'\n"
    write({"KIWI/config.group": groups, "KIWI/config.a": GOOD})
    assert publisher.file("KIWI/config.group") == groups.encode()
    assert publisher.machine(MAC) == GOOD


@pytest.mark.parametrize("name", ["KIWI/config." + "x" * 900, "KIWI/config.a/../b", "KIWI/config.nobody"])
def test_names_of_nothing_are_not_found(publisher: Publisher, name: str) -> None:
    """Whatever clients ask for."""
    assert publisher.file(name) is None
    assert publisher.refused() == []


def test_a_tree_that_can_not_be_written_to_forgets(tmp_path: Path, write: Write) -> None:
    """It is served all the same."""
    (tmp_path / ".rootwire").write_text("no folder")
    write({"KIWI/config.default": GOOD})
    publisher = Publisher(tmp_path, server="10.11.0.1", kept=tmp_path / ".rootwire/kiwi")
    assert publisher.file("KIWI/config.default") == GOOD
