"""[dhcp]: the networks that addresses are given in, and what is reserved there."""

import re
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, model_validator

from appliance.section import Section
from protocols.dhcp.leasing.network import DNS_MOST, LEASE_LEAST, LEASE_MOST, POOL_MOST, Span
from protocols.ethernet import format_mac, parse_mac

SPANS_MOST = 64  # of one network; what is spelled in more is a list of reservations
PREFIXES = range(8, 31)  # lengths of a subnet that has hosts
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
DOMAIN_MOST = 128  # letters; an option would take twice that, and the boot file has to fit beside it


def _span(text: object) -> Span:
    if not isinstance(text, str):
        raise ValueError("must be text such as '192.168.1.100-192.168.1.200'")
    first, dash, last = text.partition("-")
    try:
        span = Span(IPv4Address(first.strip()), IPv4Address(last.strip() if dash else first.strip()))
    except ValueError:
        raise ValueError(f"{text!r} is no range of addresses such as '192.168.1.100-192.168.1.200'") from None
    if int(span.last) < int(span.first):
        raise ValueError(f"{text!r} ends before it begins")
    return span


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _seconds(value: object) -> int:
    """Seconds, as a number or as text such as "12h"."""
    if isinstance(value, str) and (found := re.fullmatch(r"([0-9]{1,9})([smhd])", value)):
        value = int(found[1]) * _UNITS[found[2]]
    if not isinstance(value, int) or isinstance(value, bool) or not LEASE_LEAST <= value <= LEASE_MOST:
        raise ValueError(f"must be {LEASE_LEAST} seconds or more, such as 3600 or '12h'")
    return value


def _domain(text: str) -> str:
    if len(text) > DOMAIN_MOST or not _DOMAIN.fullmatch(text):
        raise ValueError(f"must be a domain's name, of at most {DOMAIN_MOST} letters")
    return text


def _subnet(text: object) -> str:
    try:
        subnet = IPv4Network(text if isinstance(text, str) else "")
    except ValueError:
        raise ValueError(f"{text!r} is no subnet such as '192.168.2.0/24'") from None
    if subnet.prefixlen not in PREFIXES:
        raise ValueError(f"must be a subnet with hosts, /{PREFIXES[0]} to /{PREFIXES[-1]}")
    return str(subnet)


def _machine(text: str) -> str:
    try:
        return format_mac(parse_mac(text))
    except ValueError:
        pass
    try:
        return str(UUID(text))
    except ValueError:
        raise ValueError("must be a machine's MAC address, or its UUID as rootwire explain shows it") from None


Addresses = Annotated[tuple[IPv4Address, ...], BeforeValidator(_listed), Field(max_length=DNS_MOST)]
Pool = Annotated[
    tuple[Annotated[Span, PlainValidator(_span)], ...], BeforeValidator(_listed), Field(max_length=SPANS_MOST)
]
LeaseTime = Annotated[int, PlainValidator(_seconds)]
DomainName = Annotated[str, AfterValidator(_domain)]
SubnetText = Annotated[str, BeforeValidator(_subnet)]
MachineName = Annotated[str, BeforeValidator(_machine)]


class NetworkSettings(Section):
    """[dhcp.networks."SUBNET"]: what is given behind relays; and the keys of [dhcp] that say it of our own segment."""

    pool: Pool = ()
    router: IPv4Address | None = None
    dns: Addresses = ()
    domain: DomainName | None = None
    lease_time: LeaseTime | None = None


class DhcpSettings(NetworkSettings):
    """[dhcp]: whether addresses are given at all, and which; dns, domain and lease_time hold behind relays, too."""

    beside_others: bool = False  # whether we may serve though another DHCP server is heard
    reservations: dict[MachineName, IPv4Address] = Field(default_factory=dict)
    networks: dict[SubnetText, NetworkSettings] = Field(default_factory=dict)

    @property
    def is_on(self) -> bool:
        """Whether there is anything to give."""
        return bool(self.pool or self.reservations or self.networks)

    @model_validator(mode="after")
    def _bounded(self) -> "DhcpSettings":
        spans = [span for each in (self, *self.networks.values()) for span in each.pool]
        total = sum(map(len, spans))
        if total > POOL_MOST:
            raise ValueError(f"its pools have {total} addresses, of {POOL_MOST} at most")
        return self
