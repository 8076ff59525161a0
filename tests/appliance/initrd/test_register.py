"""A machine without a configuration: what it sends, how often it asks, and how that ends."""

import pytest

from tests.appliance.initrd.conftest import ADDRESS, MAC, Shell
from tests.appliance.initrd.stubs import STUBS, Stub, http_stub

NAME = f"upload/client.{MAC}"
SETUP = """
server=127.0.0.1:$1 kiwiservertype=$2 from=test lease_ip=$3
sleep() { printf 'slept %s\\n' "$1"; }
"""


@pytest.mark.parametrize("kind", ["http", "tftp"])
def test_registration(shell: Shell, kind: str) -> None:
    """KIWI's four lines under the machine's name, in capitals, by either protocol."""
    with STUBS[kind](Stub({})) as stub:
        done = shell(SETUP + 'register "$4"; uname -m', str(stub.port), kind, ADDRESS, MAC)
    said, machine = done.stdout.decode().splitlines()
    assert said == f"rootwire: registered as {NAME} on test"
    sent = {name.lstrip("/").replace("%3a", ":"): content for name, content in stub.sent.items()}
    assert sent == {NAME: f"NCNAME=undefined\nCRNAME=undefined\nIPADDR={ADDRESS}\nARCHITECTURE={machine}\n".encode()}


@pytest.mark.parametrize(("kind", "reason"), [("http", "HTTP/1.0 403 Forbidden"), ("tftp", "Access violation")])
def test_refused_registration(shell: Shell, kind: str, reason: str) -> None:
    """Why is said, and it is no reason to end."""
    with STUBS[kind](Stub({}, takes_uploads=False)) as stub:
        done = shell(SETUP + 'register "$4"; say on', str(stub.port), kind, ADDRESS, MAC)
    said, last = done.stdout.decode().splitlines()
    assert f"did not take upload/client.{MAC} (" in said
    assert reason in said
    assert last == "rootwire: on"


def test_enrolment_ends_the_wait(shell: Shell) -> None:
    """Sent once, asked at the interval, found."""
    script = """
    find_config() { asked=$((asked + 1)); [ $asked -eq 3 ]; }
    asked=0 poll_seconds=7
    await_enrolment "$4" && say found
    """
    with http_stub(Stub({})) as stub:
        done = shell(SETUP + script, str(stub.port), "http", ADDRESS, MAC)
    lines = done.stdout.decode().splitlines()
    assert [line for line in lines if line.startswith("slept")] == ["slept 7"] * 3
    assert lines[-1] == "rootwire: found"
    assert len(stub.sent) == 1


def test_waiting_has_an_end(shell: Shell) -> None:
    """After an hour it begins anew, and says for whom nobody wrote a configuration."""
    script = 'find_config() { return 1; }; await_enrolment "$4"'
    with http_stub(Stub({})) as stub:
        done = shell(SETUP + script, str(stub.port), "http", ADDRESS, MAC)
    assert done.returncode == 9
    assert done.stdout.decode().count("slept 60") == 60
    assert f"FAILED: nobody enrolled {MAC} in 3600 s: write KIWI/config.{MAC} on the server" in done.stdout.decode()
