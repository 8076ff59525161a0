"""Rules as nft lists them, followed for one packet; what they do to real packets decides whether that is right."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from appliance.doctor.rules import judge
from protocols.datagram import udp_socket
from tests.protocols.dhcp.lan import Lan, inside, made_lan

DROPPED_SECONDS = 0.1  # after it a packet that was not dropped would have come, on any but a frozen machine
HEARD_SECONDS = 10.0

FACTS = {
    "iifname": "eth0",
    "l4proto": "udp",
    "nfproto": "ipv4",
    "ip protocol": "udp",
    "udp dport": 69,
    "th dport": 69,
    "ip saddr": "10.77.0.9",
    "ip daddr": "10.77.0.2",
    "ct state": "new",
    "pkttype": "host",
    "fib type": "local",
}
# Chains as an operator writes them, and what becomes of a packet to UDP port 69 from eth0: True where it is dropped.
RULESETS = {
    "policy": ("type filter hook input priority 0; policy drop;", True),
    "accepted before": ("type filter hook input priority 0; policy drop; udp dport { 67, 69 } accept", False),
    "a range": ("type filter hook input priority 0; policy drop; udp dport 60-70 accept", False),
    "another port": ("type filter hook input priority 0; policy drop; udp dport 67 accept", True),
    "dropped": ("type filter hook input priority 0; udp dport 69 counter drop", True),
    "rejected": ("type filter hook input priority 0; iifname eth0 reject", True),
    "another interface": ("type filter hook input priority 0; iifname eth1 drop", False),
    "a pattern": ('type filter hook input priority 0; iifname "eth*" drop', True),
    "not it": ("type filter hook input priority 0; iifname != eth1 drop", True),
    "prerouting": ("type filter hook prerouting priority -300; udp dport 69 drop", True),
    "a network": ("type filter hook input priority 0; ip saddr 10.77.0.0/24 drop", True),
    "another network": ("type filter hook input priority 0; ip saddr 10.9.0.0/16 drop", False),
    "established": ("type filter hook input priority 0; policy drop; ct state established,related accept", True),
    "new": ("type filter hook input priority 0; policy drop; ct state { new, established } accept", False),
    "a map": ("type filter hook input priority 0; udp dport vmap { 67 : accept, 69 : drop }", True),
    "a map without it": ("type filter hook input priority 0; policy drop; udp dport vmap { 67 : accept }", True),
    "another protocol": ("type filter hook input priority 0; policy drop; tcp dport 69 accept", True),
    "another protocol's map": ("type filter hook input priority 0; tcp dport vmap { 69 : drop }", False),
    "another address family": ("type filter hook input priority 0; ip6 saddr ::1 drop", False),
    "output": ("type filter hook output priority 0; policy drop;", False),
}


# What can't be told: a set by its name, a limit, an extension of iptables.
DOUBTFUL = {
    "a named set": "type filter hook input priority 0; ip saddr @s drop",
    "a limit": "type filter hook input priority 0; limit rate over 1/day drop",
    "accepted in doubt": "type filter hook input priority 0; policy drop; ip saddr @s accept",
}


@pytest.fixture(scope="module")
def network(tool: Callable[[str], str]) -> Iterator[Lan]:
    """A box with rules, and a machine that sends to it."""
    tool("nft")
    with made_lan() as lan:
        lan.host("machine", "10.77.0.9")
        yield lan


def load(box: str, chain: str) -> list[dict[str, Any]]:
    """Give a namespace this chain and no other rule; what nft lists then."""
    chain = chain.replace("; ", "\n").replace(" policy", "; policy")
    script = f"flush ruleset\ntable inet t {{\nset s {{ type ipv4_addr; }}\nchain c {{\n{chain}\n}}\n}}\n"
    subprocess.run(["ip", "netns", "exec", box, "nft", "-f", "-"], input=script, text=True, check=True)
    listed = subprocess.run(
        ["ip", "netns", "exec", box, "nft", "-j", "list", "ruleset"], capture_output=True, check=True
    )
    return list(json.loads(listed.stdout)["nftables"])


@pytest.mark.root
@pytest.mark.parametrize("name", RULESETS)
def test_as_the_kernel_does(network: Lan, name: str) -> None:
    """Judged as expected, and a packet from another machine meets the same fate in the kernel."""
    chain, is_dropped = RULESETS[name]
    verdict = judge(load(network.box, chain), FACTS)
    assert (verdict.is_dropped, verdict.doubts) == (is_dropped, [])
    with inside(network.box):
        ears = udp_socket("10.77.0.2", 69)
    with inside(f"{network.wire}-machine"):
        mouth = udp_socket("10.77.0.9", 0)
    with ears, mouth:
        mouth.sendto(b"x", ("10.77.0.2", 69))
        ears.settimeout(DROPPED_SECONDS if is_dropped else HEARD_SECONDS)
        with pytest.raises(TimeoutError) if is_dropped else nullcontext():
            assert ears.recv(2) == b"x"


@pytest.mark.root
@pytest.mark.parametrize("name", DOUBTFUL)
def test_doubts(network: Lan, name: str) -> None:
    """Not called dropped, and the rule is named."""
    verdict = judge(load(network.box, DOUBTFUL[name]), FACTS)
    assert not verdict.is_dropped
    assert verdict.doubts[0].endswith("of chain inet t c")


def rules(*statements: dict[str, Any], chain: str = "c") -> dict[str, Any]:
    """One rule."""
    return {"rule": {"family": "ip", "table": "t", "chain": chain, "handle": 9, "expr": list(statements)}}


BASE = {"chain": {"family": "ip", "table": "t", "name": "c", "hook": "input", "prio": 0, "policy": "accept"}}
PORT = {"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 69}}
UNKNOWN = {"xt": {"type": "match", "name": "recent"}}


@pytest.mark.parametrize("call", ["jump", "goto"])
def test_other_chains(call: str) -> None:
    """What a chain that is called decides, counts."""
    ruleset = [BASE, rules(PORT, {call: {"target": "d"}}), rules({"drop": None}, chain="d")]
    assert judge(ruleset, FACTS).by == "rule 9 of chain ip t d"


def test_return_and_goto_end_a_chain() -> None:
    """What stands behind is not reached."""
    for last in ({"return": None}, {"goto": {"target": "empty"}}):
        assert not judge([BASE, rules(last), rules({"drop": None})], FACTS).is_dropped


def test_a_jump_comes_back() -> None:
    """And what stands behind it is reached."""
    assert judge([BASE, rules({"jump": {"target": "empty"}}), rules({"drop": None})], FACTS).is_dropped


def test_chains_that_call_each_other_end() -> None:
    """The kernel refuses such rules; a file could hold them."""
    assert not judge([BASE, rules({"jump": {"target": "c"}})], FACTS).is_dropped


def test_a_doubtful_jump() -> None:
    """Where the chain would drop, that is in doubt."""
    ruleset = [BASE, rules(UNKNOWN, {"jump": {"target": "d"}}), rules({"drop": None}, chain="d")]
    verdict = judge(ruleset, FACTS)
    assert (verdict.is_dropped, verdict.doubts) == (False, ["rule 9 of chain ip t d"])


def test_chains_for_other_devices() -> None:
    """An ingress chain is of one device; a bridge's is not for us."""
    chain = {"family": "netdev", "table": "t", "name": "c", "hook": "ingress", "dev": "eth1", "policy": "drop"}
    assert not judge([{"chain": chain}], FACTS).is_dropped
    assert judge([{"chain": {**chain, "dev": ["eth0"]}}], FACTS).is_dropped
    assert not judge([{"chain": {**chain, "family": "bridge", "dev": "eth0"}}], FACTS).is_dropped
