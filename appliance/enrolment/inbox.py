"""What KIWI's clients that found no configuration have registered with: hostile text, read as data.

    NCNAME=<alias>   CRNAME=<alias>   IPADDR=<ip>   ARCHITECTURE=<as uname -m>

They upload it as client.<MAC> (hwtype.<MAC> until 2011-04, with a hash behind it in SLEPOS), once, and look for a
configuration every minute from then on.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.enrolment.uploads import KIWI_NAME
from appliance.names import UPLOADS
from protocols.ethernet import format_mac, parse_mac

REGISTRATIONS_MAX = 4096  # as many as uploads are taken of
TEXT_MAX = 4096  # bytes that are read: four lines

_LINE = re.compile(rb"(NCNAME|CRNAME|IPADDR|ARCHITECTURE)=['\"]?([A-Za-z0-9 ._:+-]{1,64})['\"]?\s*")
_NO_ALIAS = "undefined"  # what clients say when nobody typed a name


@dataclass(frozen=True, slots=True)
class Registration:
    """What one machine said of itself; nothing of it is to be trusted."""

    mac: str
    at: float  # unix seconds
    alias: str | None
    address: str | None
    architecture: str | None


class Inbox:
    """The registrations in a tree's folder for uploads."""

    def __init__(self, root: Path) -> None:
        """`root` is the boot tree's folder."""
        self._folder = root / UPLOADS

    def get(self, mac: str) -> Registration | None:
        """What a machine registered with. Reads a file: may wait."""
        return _read(self._folder / f"client.{mac.upper()}", mac)

    def __iter__(self) -> Iterator[Registration]:
        """The registrations by MAC, one a machine, the newest name it has. Reads files: may wait."""
        found: dict[str, Registration] = {}
        for path in sorted(self._folder.glob("*.*"), reverse=True)[:REGISTRATIONS_MAX]:
            name = KIWI_NAME.fullmatch(path.name)
            if name is None or name[1] == "hwinfo":
                continue
            mac = format_mac(parse_mac(name[2]))
            registration = _read(path, mac)
            if registration is not None:
                found[mac] = registration  # client.* is read last: it is the present name
        return iter(sorted(found.values(), key=lambda registration: registration.mac))


def _read(path: Path, mac: str) -> Registration | None:
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        lines = [_LINE.fullmatch(line) for line in file.read(TEXT_MAX).split(b"\n")]
    said = {line[1].decode(): line[2].decode() for line in lines if line}
    alias = said.get("NCNAME") or said.get("CRNAME")
    return Registration(
        mac,
        path.stat().st_mtime,
        None if alias == _NO_ALIAS else alias,
        said.get("IPADDR"),
        said.get("ARCHITECTURE"),
    )
