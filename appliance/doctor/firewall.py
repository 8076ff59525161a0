"""Whether this box's own firewall lets through what machines send (quirks B-6, K-3).

Its rules are read and followed for one packet of each kind. A packet sent for a try would have to come in by the LAN's
own interface to meet the rules that name it, and a host cannot send to itself from there: what it sends to itself
comes in by `lo`, which firewalls let pass, and what comes by a pair of virtual cables meets the rules for their names.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from appliance.doctor.box import Box
from appliance.doctor.finding import Finding, error, ok, warning
from appliance.doctor.ports import PORTS
from appliance.doctor.rules import judge
from protocols.dhcp.endpoint import BOOT_SERVER_PORT
from protocols.dhcp.reply import EVERYONE

SUBJECT = "firewall"
ANY_HIGH_PORT = 40000  # stands for those that TFTP's transfers run on
UDP, TCP, ICMP = "udp", "tcp", "icmp"


@dataclass(frozen=True, slots=True)
class Kind:
    """Packets that machines send, what a rule that lets them in is called, and what is known of them."""

    name: str
    rule: str
    facts: dict[str, Any]


def check_firewall(box: Box) -> Iterator[Finding]:
    """One finding for each rule that stops something, with what it stops."""
    if box.rules is None:
        yield error(SUBJECT, "no right to read its rules", "run as root, or with CAP_NET_ADMIN")
        return
    legacy = box.proc / "net" / "ip_tables_names"
    if legacy.exists() and "filter" in legacy.read_text().split():
        yield warning(SUBJECT, "rules of iptables-legacy are there, which are not read here", "see iptables-legacy -S")
    stopped: dict[str, list[Kind]] = {}
    doubtful: dict[str, list[Kind]] = {}
    for kind in kinds(box):
        verdict = judge(box.rules, kind.facts)
        if verdict.is_dropped:
            stopped.setdefault(verdict.by, []).append(kind)
        for rule in verdict.doubts:
            doubtful.setdefault(rule, []).append(kind)
    for rule, lost in stopped.items():
        yield error(SUBJECT, f"{rule} stops {_names(lost)}", _accepting(lost, rule, box))
    for rule, lost in doubtful.items():
        yield warning(SUBJECT, f"{rule} may stop {_names(lost)}: it can't be told", "look at it: nft -a list ruleset")
    if not stopped and not doubtful:
        yield ok(SUBJECT, "lets pass all that machines send" if box.rules else "there are no rules")


def kinds(box: Box) -> Iterator[Kind]:
    """Every kind of packet that a boot needs."""
    base = {"iifname": box.interface.name, "nfproto": "ipv4", "protocol": "ip", "ct state": "new", "pkttype": "host"}
    to_us = {**base, "ip daddr": box.address, "fib type": "local"}
    for port in PORTS:
        facts = {**to_us, **_transport(port.transport, port.number)}
        if port.hears_broadcasts and port.number != BOOT_SERVER_PORT:  # who asks there has an address, and ours
            facts |= {"ip saddr": "0.0.0.0", "ip daddr": EVERYONE, "pkttype": "broadcast", "fib type": "broadcast"}
        yield Kind(f"{port.transport.upper()} {port.number}", f"{port.transport} dport {port.number}", facts)
    transfer = {**to_us, **_transport(UDP, ANY_HIGH_PORT), "ct state": "established"}
    yield Kind("what TFTP's clients send during a transfer", "ct state established", transfer)
    ping = {**to_us, "l4proto": ICMP, "ip protocol": ICMP, "icmp type": "echo-request"}
    yield Kind("ICMP echo", "icmp type echo-request", ping)


def _transport(protocol: str, port: int) -> dict[str, Any]:
    return {"l4proto": protocol, "ip protocol": protocol, f"{protocol} dport": port, "th dport": port}


def _names(lost: list[Kind]) -> str:
    return ", ".join(kind.name for kind in lost)


def _accepting(lost: list[Kind], rule: str, box: Box) -> str:
    """Commands that put before a rule, or a chain's policy, what lets the packets pass."""
    chain = rule.rpartition("chain ")[2]
    by_protocol: dict[str, list[str]] = {}
    others = []
    for kind in lost:
        words = kind.rule.split(" dport ")
        if len(words) == 2:
            by_protocol.setdefault(words[0], []).append(words[1])
        else:
            others.append(kind.rule)
    ports = [f"{protocol} dport {{ {', '.join(numbers)} }}" for protocol, numbers in by_protocol.items()]
    return "; ".join(
        f"nft insert rule {chain} iifname {box.interface.name} {match} accept" for match in (*ports, *others)
    )
