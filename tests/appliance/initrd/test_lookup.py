"""Which configuration a machine finds, and what it asks for on the way, over HTTP and TFTP."""

import socket

import pytest

from tests.appliance.initrd.conftest import ADDRESS, FIND, MAC, Shell
from tests.appliance.initrd.stubs import LookUp, Stub, http_stub

MISSES = [
    "KIWI/config.52:54:00:A1:B2:C3",
    "KIWI/config.group",
    *(f"KIWI/config.{'0A0B0039'[:digits]}" for digits in range(8, 0, -1)),
]


def test_default_comes_last(look_up: LookUp) -> None:
    """A machine nobody named asks ten names in KIWI's order before config.default."""
    stub, outcome, _ = look_up({"KIWI/config.default": b"A=1\n"})
    assert outcome == "0 KIWI/config.default"
    assert stub.asked == [*MISSES, "KIWI/config.default"]


def test_own_configuration_comes_first(look_up: LookUp) -> None:
    """The MAC address in capitals, nothing else asked."""
    stub, outcome, _ = look_up({MISSES[0]: b"A=1\n", "KIWI/config.default": b"A=2\n"})
    assert (outcome, stub.asked) == (f"0 {MISSES[0]}", MISSES[:1])


def test_network_of_the_address(look_up: LookUp) -> None:
    """The address in hex, shortened until one fits."""
    stub, outcome, _ = look_up({"KIWI/config.0A0B": b"A=1\n", "KIWI/config.default": b"A=2\n"})
    assert (outcome, stub.asked) == ("0 KIWI/config.0A0B", MISSES[:7])


def test_empty_file_counts_as_missing(look_up: LookUp) -> None:
    """A file without a byte is no configuration; one with a newline is."""
    _, outcome, _ = look_up({MISSES[0]: b"", "KIWI/config.0A0B0039": b"\n"})
    assert outcome == "0 KIWI/config.0A0B0039"


def test_nothing_there(look_up: LookUp) -> None:
    """Status 1: the server answers and has none."""
    assert look_up({})[1] == "1 "


def test_too_big_is_left_out(look_up: LookUp) -> None:
    """Past 64 KiB a file is no configuration; it neither fills the memory nor stops the search."""
    _, outcome, said = look_up({MISSES[0]: b"A=1\n" * 20000, "KIWI/config.default": b"A=2\n"})
    assert outcome == "0 KIWI/config.default"
    assert f"{MISSES[0]} on" in said
    assert "is bigger than 64 KiB" in said


def test_server_error_is_not_missing(shell: Shell) -> None:
    """Status 2 on HTTP 503: the search is tried again from its first name, not taken to the default."""
    with http_stub(Stub({}, refusal=503)) as stub:
        done = shell(f"server=127.0.0.1:{stub.port}; kiwiservertype=http\n" + FIND, MAC, ADDRESS)
    assert (done.stdout, stub.asked) == (b"2 ", ["/KIWI/config.52%3a54%3a00%3aA1%3aB2%3aC3"])


def test_silent_server_is_not_missing(shell: Shell) -> None:
    """Status 2 where nothing listens, with the tool's own words as the reason."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        setup = f"server=127.0.0.1:{unused.getsockname()[1]}; kiwiservertype=http\n"
        done = shell(setup + FIND + "; why_no_answer", MAC, ADDRESS)
    assert done.stdout.startswith(b"2 ")
    assert b"Connection refused" in done.stdout


@pytest.mark.parametrize(
    ("setup", "expected"),
    [
        ("kiwiserver=10.0.0.1 ip_server=10.0.0.2 lease_siaddr=10.0.0.3", "tftp://10.0.0.1"),
        ("ip_server=10.0.0.2 lease_siaddr=10.0.0.3", "tftp://10.0.0.2"),
        ("lease_siaddr=10.0.0.3 lease_serverid=10.0.0.4", "tftp://10.0.0.3"),
        ("lease_siaddr=0.0.0.0 lease_serverid=10.0.0.4", "tftp://10.0.0.4"),
        ("kiwiserver=10.0.0.1:8080 kiwiservertype=http", "http://10.0.0.1:8080"),
        ("kiwiserver='$(x)'", "rootwire: FAILED: kiwiserver=$(x) is no address: correct the kernel command line"),
        ("", "rootwire: FAILED: no boot server known: give kiwiserver=ADDRESS on the kernel command line"),
        (
            "kiwiserver=a kiwiservertype=ftp",
            "rootwire: FAILED: kiwiservertype=ftp is not spoken by this client: use http or tftp",
        ),
    ],
)
def test_server_is_chosen_in_order(shell: Shell, setup: str, expected: str) -> None:
    """Kernel command line, PXELINUX's ip=, DHCP's next server, DHCP server; else one clear failure."""
    assert shell(f'{setup}\nchoose_server; printf %s "$from"').stdout.decode().strip() == expected
