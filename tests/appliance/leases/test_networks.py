"""[dhcp] of the configuration: what is said in it, and one line for whatever makes no sense."""

from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from appliance.config import Config, load_config
from appliance.errors import OperatorError
from appliance.leases.networks import make_books
from protocols.dhcp.leasing.book import Book
from protocols.dhcp.leasing.client import Client

OWN = IPv4Interface("10.77.0.2/24")
UUID = "4c4c4544-0042-3510-8053-b3c04f393233"


def read(tmp_path: Path, text: str) -> Config:
    """A configuration."""
    path = tmp_path / "rootwire.toml"
    path.write_text(text)
    return load_config(path)


def books(tmp_path: Path, text: str) -> list[Book]:
    """What is kept for it."""
    config = read(tmp_path, text)
    tables = {mac: table.address for mac, table in config.machines.items() if table.address is not None}
    return make_books(config.dhcp, tables, OWN)


def test_off_by_default() -> None:
    """Nobody is given an address unless that is said."""
    assert not Config().dhcp.is_on


@pytest.mark.parametrize(
    "table",
    [
        'pool = "10.77.0.50-10.77.0.60"',
        'pool = ["10.77.0.50", "10.77.0.52 - 10.77.0.60"]',
        'reservations = { "52:54:00:77:00:01" = "10.77.0.9" }',
        'networks."10.78.0.0/24".pool = "10.78.0.50-10.78.0.60"',
    ],
)
def test_on(tmp_path: Path, table: str) -> None:
    """By a pool, a reservation or a network."""
    assert read(tmp_path, f"[dhcp]\n{table}").dhcp.is_on


def test_all_that_can_be_said(tmp_path: Path) -> None:
    """Our own segment, and one behind a relay that takes what is said for all."""
    here, there = books(
        tmp_path,
        f"""
[dhcp]
pool = ["10.77.0.1-10.77.0.4", "10.77.0.9"]
router = "10.77.0.1"
dns = ["10.77.0.3", "192.0.2.53"]
domain = "lab.example"
lease_time = "2h"
[dhcp.reservations]
"525400770001" = "10.77.0.200"
"{UUID.upper()}" = "10.78.0.7"
[dhcp.networks."10.78.0.0/24"]
pool = "10.78.0.50-10.78.0.60"
lease_time = 600
[machines."52:54:00:77:00:02"]
address = "10.77.0.9"
""",
    )
    assert list(here.network.addresses()) == ["10.77.0.4", "10.77.0.9"]
    assert (here.network.router, here.network.lease_seconds, here.network.is_local) == ("10.77.0.1", 7200, True)
    assert here.reserved == {"52:54:00:77:00:01": "10.77.0.200", "52:54:00:77:00:02": "10.77.0.9"}
    assert (there.network.router, there.network.lease_seconds, there.network.is_local) == (None, 600, False)
    assert (there.network.dns, there.network.domain) == (("10.77.0.3", "192.0.2.53"), "lab.example")
    assert there.choose(Client("52:54:00:77:00:03", UUID), None, 0.0) == "10.78.0.7"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('pool = "10.77.0.60-10.77.0.50"', "ends before it begins"),
        ('pool = "10.77.0.60-x"', "no range of addresses"),
        ("pool = 7", "dhcp.pool"),
        ("pool = [7]", "must be text"),
        ('pool = "10.0.0.0-10.9.0.0"', "of 65536 at most"),
        ("lease_time = 10", "60 seconds or more"),
        ('lease_time = "1y"', "60 seconds or more"),
        ("lease_time = true", "60 seconds or more"),
        ('domain = "a b"', "domain's name"),
        ('domain = "-x"', "domain's name"),
        ('dns = ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5"]', "at most 4"),
        ('reservations = { "x" = "10.77.0.9" }', "MAC address, or its UUID"),
        ('networks."10.78.0.1/24" = {}', "no subnet"),
        ('networks."10.78.0.0/31" = {}', "/8 to /30"),
        ("authoritative = true", "authoritative"),
    ],
)
def test_settings_that_are_none(tmp_path: Path, table: str, words: str) -> None:
    """File, key and what is wrong, in one line."""
    with pytest.raises(OperatorError, match=words) as caught:
        read(tmp_path, f"[dhcp]\n{table}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[machines."52:54:00:77:00:01"]\naddress = "10.77.0.9"', r"there is no \[dhcp\]"),
        ('capture = "always"\n[dhcp]\npool = "10.77.0.9"', "port 67 is left"),
    ],
)
def test_settings_that_contradict(tmp_path: Path, text: str, words: str) -> None:
    """Each other."""
    with pytest.raises(OperatorError, match=words):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('pool = "10.78.0.50-10.78.0.60"', "is not in our own segment, 10.77.0.0/24"),
        ('pool = "10.77.0.250-10.78.0.60"', "is not in our own segment"),
        ('pool = "10.77.0.50"\nrouter = "10.78.0.1"', "router = '10.78.0.1' is not in 10.77.0.0/24"),
        ('networks."10.78.0.0/24".pool = "10.77.0.9"', r'\[dhcp.networks."10.78.0.0/24"\] pool'),
        ('networks."10.77.0.0/24".pool = "10.77.0.9"', "is our own segment"),
        ('reservations = { "52:54:00:77:00:01" = "192.0.2.9" }', "is in no network that is served"),
        ('reservations = { "52:54:00:77:00:01" = "10.77.0.2" }', "is no machine's to have"),
        ('reservations = { "52:54:00:77:00:01" = "10.77.0.255" }', "is no machine's to have"),
    ],
)
def test_settings_that_do_not_fit_the_network(tmp_path: Path, table: str, words: str) -> None:
    """Found at the start, when our own address is known."""
    with pytest.raises(OperatorError, match=words):
        books(tmp_path, f"[dhcp]\n{table}")
