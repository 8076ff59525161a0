"""What is said of a firewall: one finding for each rule that stops something, and commands that mend it."""

from pathlib import Path
from typing import Any

from appliance.doctor.finding import Level
from appliance.doctor.firewall import check_firewall, kinds
from tests.appliance.doctor.boxes import make_box, only

CHAIN = {"family": "inet", "table": "filter", "name": "input", "hook": "input", "prio": 0, "policy": "drop"}


def rule(left: dict[str, Any], right: Any, verdict: str) -> dict[str, Any]:
    """One match, one verdict."""
    match = {"match": {"op": "==", "left": left, "right": right}}
    return {
        "rule": {"family": "inet", "table": "filter", "chain": "input", "handle": 4, "expr": [match, {verdict: None}]}
    }


ESTABLISHED = rule({"ct": {"key": "state"}}, ["established", "related"], "accept")
UDP = rule({"payload": {"protocol": "udp", "field": "dport"}}, {"set": [67, 69]}, "accept")
NAMED = rule({"payload": {"protocol": "ip", "field": "saddr"}}, "@friends", "drop")


def test_no_rules() -> None:
    """Nothing is stopped."""
    assert only(list(check_firewall(make_box()))).text == "there are no rules"


def test_no_right() -> None:
    """Not the same as no rules."""
    assert only(list(check_firewall(make_box(rules=None)))).level is Level.ERROR


def test_a_policy_that_stops_some() -> None:
    """What is let in already is not told of; the commands name the rest."""
    finding = only(list(check_firewall(make_box(rules=({"chain": CHAIN}, ESTABLISHED, UDP)))))
    assert finding.level is Level.ERROR
    assert finding.text == "the policy of chain inet filter input stops UDP 4011, TCP 80, TCP 10809, ICMP echo"
    assert finding.remedy == (
        "nft insert rule inet filter input iifname eth0 udp dport { 4011 } accept; "
        "nft insert rule inet filter input iifname eth0 tcp dport { 80, 10809 } accept; "
        "nft insert rule inet filter input iifname eth0 icmp type echo-request accept"
    )


def test_a_doubtful_rule() -> None:
    """A warning that names it."""
    finding = only(list(check_firewall(make_box(rules=({"chain": {**CHAIN, "policy": "accept"}}, NAMED)))))
    assert finding.level is Level.WARNING
    assert finding.text.startswith("rule 4 of chain inet filter input may stop UDP 67, UDP 4011, ")


def test_machines_without_an_address() -> None:
    """What they broadcast comes from 0.0.0.0: a rule for the LAN's addresses does not let it in."""
    (proxy,) = (kind for kind in kinds(make_box()) if kind.name == "UDP 67")
    assert (proxy.facts["ip saddr"], proxy.facts["ip daddr"]) == ("0.0.0.0", "255.255.255.255")


def test_rules_of_the_old_kind(tmp_path: Path) -> None:
    """The operator is told that they are not read."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "ip_tables_names").write_text("nat\nfilter\n")
    findings = list(check_firewall(make_box(proc=tmp_path)))
    assert [finding.level for finding in findings] == [Level.WARNING, Level.OK]
