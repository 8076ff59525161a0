"""Which network card is used, what a lease says, and how a machine gives up."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import appliance.initrd
from tests.appliance.initrd.conftest import Shell

LEASE_SCRIPT = Path(appliance.initrd.__file__).parent / "client/lease.sh"


@pytest.fixture
def cards(tmp_path: Path) -> Path:
    """A folder like the kernel's: two wired cards, a wireless one, the loopback device, and one that is no Ethernet."""
    folder = tmp_path / "net"
    for index, (name, kind) in enumerate([("eth0", "1"), ("eth1", "1"), ("ib0", "32"), ("lo", "772"), ("wlan0", "1")]):
        (folder / name / "device").mkdir(parents=True)
        (folder / name / "type").write_text(f"{kind}\n")
        (folder / name / "address").write_text(f"52:54:00:77:aa:0{index}\n")
    (folder / "wlan0/phy80211").mkdir()
    (folder / "br0").mkdir()
    return folder


def test_wired_cards_are_listed(shell: Shell, cards: Path) -> None:
    """Ethernet with a device behind it and no radio."""
    assert shell('CARDS=$1; list_nics; printf %s "$nics"', cards).stdout == b" eth0 eth1"


@pytest.mark.parametrize(
    ("bootif", "chosen"),
    [
        ("", " eth0 eth1"),
        ("01-52-54-00-77-aa-01", "eth1"),
        ("01-52-54-00-77-AA-01", "eth1"),
        ("52:54:00:77:AA:00", "eth0"),
        ("01-52-54-00-77-aa-04", " eth0 eth1"),
        ("$(x)", " eth0 eth1"),
    ],
)
def test_bootif_chooses_the_card(shell: Shell, cards: Path, bootif: str, chosen: str) -> None:
    """With or without the hardware type, in capitals or not; an address no wired card has chooses all of them."""
    done = shell('CARDS=$1 bootif=$2; list_nics; choose_nics; printf "|%s" "$chosen"', cards, bootif)
    assert done.stdout.decode().rpartition("|")[2] == chosen


def test_lease_is_read_as_data(shell: Shell, tmp_path: Path) -> None:
    """Values of a lease are text: all name servers, nothing run."""
    (tmp_path / "lease").write_text(
        "ip=10.0.0.5\nmask=24\nrouter=10.0.0.1\ndns=10.0.0.1 10.0.0.2\n"
        "domain=$(touch x)\nsiaddr=\nserverid=10.0.0.3\nodd\n"
    )
    script = 'read_lease "$1"; printf "%s|" "$lease_ip" "$lease_mask" "$lease_dns" "$lease_domain" "$lease_serverid"'
    assert shell(script, tmp_path / "lease").stdout == b"10.0.0.5|24|10.0.0.1 10.0.0.2|$(touch x)|10.0.0.3|"
    assert list((tmp_path / "work").iterdir()) == []


def test_lease_script_writes_what_udhcpc_says(tool: Callable[[str], str], tmp_path: Path) -> None:
    """On "bound" one file and one line; a domain keeps only what a name may hold."""
    script = LEASE_SCRIPT.read_text().replace("/run/rootwire", str(tmp_path))
    said = {"interface": "eth0", "ip": "10.0.0.5", "mask": "24", "router": "10.0.0.1 10.0.0.9", "domain": "a.b;reboot"}
    for event in ("deconfig", "bound"):
        command = [tool("busybox"), "sh", "-c", script, "lease", event]
        subprocess.run(command, env={"PATH": os.environ["PATH"], **said}, check=True, timeout=30)
    assert (tmp_path / "leases").read_text() == "eth0\n"
    assert (tmp_path / "lease.eth0").read_text().splitlines() == [
        "ip=10.0.0.5",
        "mask=24",
        "router=10.0.0.1",
        "dns=",
        "domain=a.breboot",
        "siaddr=",
        "serverid=",
    ]


FAIL = """
. "$1/console.sh"
reboot() { say "reboot $*"; exit 3; }
sleep() { say "sleep $*"; [ "$1" != 3600 ] || exit 4; }
panic=$2 debug=
fail 'this is why'
"""


@pytest.mark.parametrize(
    ("panic", "status", "said"),
    [
        ("30", 3, ["FAILED: this is why", "rebooting in 30 s", "sleep 30", "reboot -f"]),
        ("-1", 3, ["FAILED: this is why", "rebooting at once", "reboot -f"]),
        ("0", 4, ["FAILED: this is why", "waiting for ever, since the command line has panic=0", "sleep 3600"]),
    ],
)
def test_failure_is_said_and_ends(shell: Shell, panic: str, status: int, said: list[str]) -> None:
    """One line of why, then what panic= asks for; even waiting for ever is announced."""
    done = shell(FAIL, LEASE_SCRIPT.parent, panic)
    assert done.returncode == status
    assert done.stdout.decode().splitlines() == [f"rootwire: {line}" for line in said]


@pytest.mark.parametrize(("uptime", "hundredths"), [("0.08 1.00", 8), ("7.60 0.00", 760), ("12345.09 1.0", 1234509)])
def test_clock_reads_hundredths(shell: Shell, tmp_path: Path, uptime: str, hundredths: int) -> None:
    """Leading zeros of the fraction are not octal."""
    (tmp_path / "uptime").write_text(f"{uptime}\n")
    text = (LEASE_SCRIPT.parent / "console.sh").read_text().replace("/proc/uptime", str(tmp_path / "uptime"))
    (tmp_path / "console").write_text(text)
    assert shell('. "$1"; clock; printf %s "$now"', tmp_path / "console").stdout.decode() == str(hundredths)
