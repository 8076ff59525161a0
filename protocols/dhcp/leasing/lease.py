"""One address and its holder, and how that is written down: a line of JSON each, the latest of an address holds."""

import json
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Any

from protocols.dhcp.leasing.client import KEY_MOST, NAME_MOST

LINE_MOST = 1024  # bytes; the longest that is written has a third
_NUMBER = (int, float)
_FIELDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("address", "client", "name", "state"), str),
    **dict.fromkeys(("since", "until"), _NUMBER),
}


class LeaseState(StrEnum):
    """What an address is."""

    BOUND = "bound"  # its client's, until it ends; and after, as long as nobody else needs it
    RELEASED = "released"  # given back by its client
    DECLINED = "declined"  # found in use by somebody who was not given it: nobody's for a time


@dataclass(frozen=True, slots=True)
class Lease:
    """An address that was given, or is nobody's to have; times are unix seconds.

    `client` is a Client's key, `since` when it got the address, `until` when that ends or ended.
    """

    address: str
    client: str
    name: str
    state: LeaseState
    since: float
    until: float


def build_line(lease: Lease) -> bytes:
    """A lease as a line of the file, its end included."""
    fields = {name: getattr(lease, name) for name in _FIELDS}
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def parse_line(line: bytes) -> Lease:
    """A line of the file, with or without its end. Raises: ValueError saying what about it is no lease."""
    if len(line) > LINE_MOST:
        raise ValueError(f"a line of {len(line)} bytes")
    try:
        fields: Any = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("no JSON") from None
    if not isinstance(fields, dict) or fields.keys() != _FIELDS.keys():
        raise ValueError("not the fields of a lease")
    for name, kind in _FIELDS.items():
        if not isinstance(fields[name], kind) or isinstance(fields[name], bool):
            raise ValueError(f"its {name} is no such thing")
    return _checked(Lease(**{**fields, "state": _state(fields["state"])}))


def _state(text: str) -> LeaseState:
    try:
        return LeaseState(text)
    except ValueError:
        raise ValueError("its state is none") from None


def _checked(lease: Lease) -> Lease:
    if str(IPv4Address(lease.address)) != lease.address:
        raise ValueError("its address is spelled oddly")
    if len(lease.client) > KEY_MOST or len(lease.name) > NAME_MOST or not lease.name.isprintable():
        raise ValueError("its client is none")
    if not all(0 <= at < 1 << 53 for at in (lease.since, lease.until)):  # NaN and the infinities are not
        raise ValueError("its times are none")
    return lease
