"""Who asks for an address: what tells one client from all others, whatever program speaks for it.

A machine that boots from the network speaks DHCP four times: firmware, loader, initramfs and system, each with another
client identifier (option 61) or none. It is one machine, so its MAC address is what it is known by, not option 61, as
RFC 2131 §4.2 has it: every program of it gets the same address. Machines of one image share that image's machine-id,
too, and with it the identifier that systemd makes of it: by option 61 they would all be one. It is heeded only where
there is no MAC address: InfiniBand, UEFI that puts its UUID in chaddr (quirks D-10).
"""

from dataclasses import dataclass

from protocols.dhcp.request import hardware_address, machine_uuid
from protocols.dhcp.wire import Option, Packet
from protocols.errors import WireError

KEY_MOST = 3 * 64 - 1  # characters: 64 bytes as pairs of digits; a DUID by UUID has 18, InfiniBand's identifier 20
NAME_MOST = 63  # characters of a host name (RFC 1035 §2.3.4)


@dataclass(frozen=True, slots=True)
class Client:
    """One machine: `key` is its MAC as lower-case text with colons, or whatever else it is known by, spelled so.

    `name` is what it calls itself (option 12), nothing unprintable in it.
    """

    key: str
    uuid: str | None = None
    name: str = ""


def read_client(packet: Packet) -> Client:
    """Who sent a packet. Raises: WireError when nothing in it tells, or by a name longer than any that there is."""
    key = hardware_address(packet)
    if len(key) > KEY_MOST:
        raise WireError(f"an identifier of {(len(key) + 1) // 3} bytes is no machine's", 0)
    return Client(key, machine_uuid(packet), host_name(packet.options.get(Option.HOST_NAME, b"")))


def host_name(value: bytes) -> str:
    """Option 12 as text that is safe on a terminal and in a log."""
    letters = value[:NAME_MOST].rstrip(b"\0").decode("ascii", "replace")
    return "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in letters)
