"""What nftables' rules would do with one packet, in three values: where a rule can't be told, neither can its outcome.

It reads what `nft -j list ruleset` prints (libnftables-json(5)), and knows the matches that firewalls of hosts are made
of: interface, protocol, ports, addresses, connection state, verdict maps. Limits, named sets and iptables' own
extensions are not told.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

HOOKS = ("ingress", "prerouting", "input")  # what a packet for this host passes, in this order
FAMILIES = ("ip", "inet", "netdev")  # that see IPv4
DEEPEST = 16  # chains called from chains; the kernel's own limit (NFT_JUMP_STACK_SIZE)
REMARKS = frozenset({"counter", "log", "comment", "mangle", "meta", "notrack"})  # what decides nothing

TRANSPORTS = frozenset({"udp", "tcp", "icmp", "icmpv6", "sctp", "dccp", "udplite"})

Facts = Mapping[str, Any]  # of the packet, by names such as "udp dport"; what is not there is not known


@dataclass(slots=True)
class Verdict:
    """What becomes of the packet; `doubts` are the rules that could not be told and would decide otherwise."""

    is_dropped: bool = False
    by: str = ""
    doubts: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Walk:
    facts: Facts
    chains: dict[tuple[str, str, str], list[dict[str, Any]]]
    doubts: dict[bool, list[str]] = field(default_factory=lambda: {True: [], False: []})  # by whether they would drop


def judge(ruleset: Sequence[dict[str, Any]], facts: Facts) -> Verdict:
    """What the rules do with a packet of these facts; `facts["iifname"]` is the interface it comes in by."""
    chains: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for rule in (each["rule"] for each in ruleset if "rule" in each):
        chains.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule)
    doubts: list[str] = []
    for chain in _base_chains(ruleset, facts["iifname"]):
        walk = _Walk(facts, chains)
        key = (chain["family"], chain["table"], chain["name"])
        settled = _follow(walk, key, 0)
        is_dropped = settled[0] if settled else chain.get("policy") == "drop"
        by = settled[1] if settled else f"the policy of chain {' '.join(key)}"
        if is_dropped and not walk.doubts[False]:
            return Verdict(is_dropped=True, by=by)
        doubts += [by] if is_dropped else walk.doubts[True]
    return Verdict(doubts=doubts)


def _base_chains(ruleset: Sequence[dict[str, Any]], interface: str) -> Iterator[dict[str, Any]]:
    found = [each["chain"] for each in ruleset if each.get("chain", {}).get("hook") in HOOKS]
    for chain in sorted(found, key=lambda chain: (HOOKS.index(chain["hook"]), chain.get("prio", 0))):
        devices = chain.get("dev", interface)
        if chain["family"] in FAMILIES and interface in ([devices] if isinstance(devices, str) else devices):
            yield chain


def _follow(walk: _Walk, key: tuple[str, str, str], depth: int) -> tuple[bool, str] | None:
    """Whether the chain drops the packet, and by which rule; None when it comes to the chain's end."""
    for rule in walk.chains.get(key, ()):
        ours: bool | None = True
        where = f"rule {rule.get('handle', '?')} of chain {' '.join(key)}"
        for statement in rule.get("expr", ()):
            kind, value = next(iter(statement.items()))
            if kind == "vmap":
                kind, value, matched = _look_up(value, walk.facts)
                ours = _both(ours, matched)
            if kind == "match":
                ours = _both(ours, _matches(value, walk.facts))
            elif kind in ("accept", "drop", "reject", "jump", "goto", "return") and ours is not False:
                settled, ends = _decide(walk, kind, value, (key, where, depth), is_certain=ours is True)
                if settled or ends:
                    return settled
            elif kind not in REMARKS:
                ours = _both(ours, None)
            if ours is False:
                break
    return None


def _decide(
    walk: _Walk, kind: str, value: Any, place: tuple[tuple[str, str, str], str, int], *, is_certain: bool
) -> tuple[tuple[bool, str] | None, bool]:
    """What a verdict comes to, and whether the chain ends here; a doubtful one is written down and passed by."""
    key, where, depth = place
    if kind == "return":
        return None, is_certain
    settled: tuple[bool, str] | None = (kind != "accept", where)
    if kind in ("jump", "goto"):
        settled = _follow(walk, (*key[:2], value["target"]), depth + 1) if depth < DEEPEST else None
    if settled and not is_certain:
        walk.doubts[settled[0]].append(settled[1])
        return None, False
    return settled, kind == "goto" and is_certain


def _both(one: bool | None, other: bool | None) -> bool | None:
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def _look_up(vmap: dict[str, Any], facts: Facts) -> tuple[str, Any, bool | None]:
    """The verdict that a map gives: as a statement, and whether there is one."""
    name = _name(vmap.get("key"))
    entries = vmap.get("data", {})
    if _is_of_another_kind(name, facts):
        return "match", {}, False
    if name not in facts or not isinstance(entries, dict):
        return "unknown", None, None
    for value, verdict in entries.get("set", ()):
        if _equals(facts[name], value):
            kind, target = next(iter(verdict.items()))
            return kind, target, True
    return "match", {}, False


def _matches(match: dict[str, Any], facts: Facts) -> bool | None:
    if not match:
        return True
    name = _name(match["left"])
    if _is_of_another_kind(name, facts):
        return False
    if name not in facts:
        return None
    found = _equals(facts[name], match["right"])
    if match["op"] in ("==", "in"):
        return found
    return None if found is None or match["op"] != "!=" else not found


def _is_of_another_kind(name: str, facts: Facts) -> bool:
    """Whether a match is about another protocol than the packet's, which nft sees to without saying so."""
    protocol = name.partition(" ")[0]
    return protocol == "ip6" or (protocol in TRANSPORTS and protocol != facts["l4proto"])


def _name(expression: Any) -> str:
    """A left side as the facts call it: "iifname", "udp dport", "ct state"; "" for one that they never hold."""
    if not isinstance(expression, dict):
        return ""
    kind, value = next(iter(expression.items()))
    if kind == "meta":
        return {"iif": "iifname"}.get(value["key"], str(value["key"]))
    if kind == "payload" and "field" in value:
        return f"{value['protocol']} {value['field']}"
    if kind == "ct":
        return f"ct {value['key']}"
    return f"fib {value['result']}" if kind == "fib" else ""


def _equals(fact: Any, value: Any) -> bool | None:
    """Whether a packet's value is the rule's, or among them."""
    if isinstance(value, list):
        return _any(fact, value)
    if isinstance(value, dict):
        if "set" in value:
            return _any(fact, value["set"])
        if "range" in value:
            low, high = value["range"]
            return low <= fact <= high if isinstance(fact, int) and isinstance(low, int) else None
        if "prefix" in value:
            network = IPv4Network(f"{value['prefix']['addr']}/{value['prefix']['len']}", strict=False)
            return IPv4Address(fact) in network
        return _equals(fact, value["elem"]["val"]) if "elem" in value else None
    if isinstance(value, str) and value.startswith("@"):
        return None
    if isinstance(value, str) and value.endswith("*"):
        return str(fact).startswith(value[:-1])
    return bool(fact == value)


def _any(fact: Any, values: Sequence[Any]) -> bool | None:
    found = [_equals(fact, value) for value in values]
    return True if True in found else None if None in found else False
