"""KIWI's file formats, each value checked against the clients' contract."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import kiwi


@pytest.mark.parametrize(
    "spelling",
    ["52:54:00:A1:B2:C3", "52.54.00.A1.B2.C3", "52-54-00-a1-b2-c3", "525400a1b2c3", "52:54:00:a1:b2:c3"],
)
def test_every_spelling_of_a_mac_is_the_same_machine(spelling: str) -> None:
    """Clients ask colons, the documentation writes dots, people write dashes."""
    assert kiwi.mac_asked_for(f"KIWI/config.{spelling}") == "52:54:00:a1:b2:c3"


@pytest.mark.parametrize(
    "name", ["KIWI/config.default", "KIWI/config.group", "KIWI/config.0A0B0039", "config.525400a1b2c3"]
)
def test_other_configs_are_no_machine(name: str) -> None:
    """Groups, addresses and files elsewhere are not mistaken for a MAC."""
    assert kiwi.mac_asked_for(name) is None


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
    assert kiwi.split_name(image) == fields


@pytest.mark.parametrize(
    ("root", "line"),
    [
        ("nbd", "NBDROOT='10.11.0.1;edge.x86_64-1.2.0;/dev/nbd0'"),
        ("aoe", "AOEROOT='/dev/etherd/e0.3'"),
        ("ram", "IMAGE='/dev/ram1;edge.x86_64;1.2.0;10.11.0.1;32768'"),
    ],
)
def test_each_kind_of_root_has_its_key(root: str, line: str) -> None:
    """One key names the root, the next one the overlay over it."""
    text = kiwi.client_config(root, server="10.11.0.1", image="edge.x86_64-1.2.0", target="e0.3").decode()  # type: ignore[arg-type]  # parametrized literals
    assert text.splitlines()[0] == line
    assert text.splitlines()[1].startswith("UNIONFS_CONFIG='tmpfs,")


def test_a_value_the_client_would_execute_is_refused() -> None:
    """A quote would end the value, and the client's shell would run what follows."""
    with pytest.raises(ValueError, match="NBDROOT"):
        kiwi.client_config("nbd", server="10.0.0.1", image="x';reboot;'", target="e0.1")


@pytest.mark.parametrize(("size", "blocks", "block"), [(183500800, 22400, 8192), (419430400, 51200, 8192)])
def test_checksum_line_factors_as_kiwis_builder_does(size: int, blocks: int, block: int) -> None:
    """The figures of the contract's fixtures A and B."""
    digest = hashlib.md5(b"").hexdigest()
    assert kiwi.checksum_line(digest, size) == f"{digest} {blocks} {block}\n".encode()


@given(st.integers(1, 1 << 42))
def test_blocks_times_block_size_is_the_exact_size(size: int) -> None:
    """The client reads exactly that many bytes back, whatever the size's factors are."""
    _, blocks, block = kiwi.checksum_line("0" * 32, size).split()
    assert int(blocks) * int(block) == size
    assert int(block) <= kiwi.BLOCK_LIMIT


@pytest.mark.parametrize("name", ["", ".hidden", "a b", "a;b", "a'b", "a,b", "a/b", "ä", "x" * 202])
def test_names_that_break_a_client_are_not_safe(name: str) -> None:
    """Separators, quotes and blanks end a field in the client's shell."""
    assert not kiwi.is_safe_name(name)
