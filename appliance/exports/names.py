"""Names of what machines write to: made of the MAC, and so the same for ever."""

import re
from enum import StrEnum

from protocols.ethernet import format_mac, parse_mac

_NAME = re.compile(r"(?P<kind>rw|swap)-(?P<digits>[0-9A-F]{12})")


class Kind(StrEnum):
    """What an export is for; the value begins its name."""

    WRITE = "rw"
    SWAP = "swap"


def digits_of(mac: str) -> str:
    """A MAC as it stands in names: twelve upper-case hex digits."""
    return parse_mac(mac).hex().upper()


def name_of(kind: Kind, mac: str) -> str:
    """The NBD export of a machine, such as rw-525400A1B2C3."""
    return f"{kind}-{digits_of(mac)}"


def parse_name(name: str) -> tuple[Kind, str] | None:
    """What an export is for, and of which machine; None for any other name."""
    found = _NAME.fullmatch(name)
    return None if found is None else (Kind(found["kind"]), format_mac(parse_mac(found["digits"])))
