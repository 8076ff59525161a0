"""A box that has nothing wrong with it, to be changed in one respect."""

from pathlib import Path
from typing import Any

from appliance.doctor.box import Box
from appliance.doctor.finding import Finding, Level
from appliance.host import Interface
from protocols.dhcp.probe import HeardOffer

ADDRESS = "10.77.0.2"
ROUTER = "10.77.0.1"
ETH0 = Interface("eth0", "52:54:00:00:00:02", 1500, (ADDRESS,), is_loopback=False)
PLAIN = HeardOffer(ROUTER, "10.77.0.50", ROUTER, b"", b"", b"", b"")


def make_box(**changes: Any) -> Box:
    """The box; `sysctls` are settings by their path below /proc/sys, written into `proc`."""
    sysctls = changes.pop("sysctls", {})
    for name, value in sysctls.items():
        path = Path(changes["proc"]) / "sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    facts: dict[str, Any] = {
        "interface": ETH0,
        "address": ADDRESS,
        "is_address_named": False,
        "interfaces": (ETH0,),
        "root": None,
        "state": None,
        "offers": (PLAIN,),
        "rules": (),
        **changes,
    }
    return Box(**facts)


def only(findings: list[Finding]) -> Finding:
    """The finding, of which there must be one."""
    (finding,) = findings
    return finding


def troubles(findings: list[Finding]) -> list[Finding]:
    """Those that are not well, each of which must have a remedy."""
    found = [finding for finding in findings if finding.level is not Level.OK]
    assert all(finding.remedy for finding in found)
    return found
