"""The interface itself: up, with a carrier, of which MTU, with which addresses (quirks D-21, D-25)."""

from collections.abc import Iterator

from appliance.doctor.box import Box
from appliance.doctor.finding import Finding, error, ok, warning

ETHERNET_MTU = 1500  # what firmware takes


def check_link(box: Box) -> Iterator[Finding]:
    """A cable, and somebody at its other end."""
    name = box.interface.name
    if not box.interface.is_up:
        yield error("link", f"{name} is down", f"ip link set {name} up")
    elif not box.interface.has_carrier:
        yield error("link", f"{name} has no carrier", "plug in its cable, or see to the switch")
    elif box.interface.is_loopback:
        yield error("link", f"{name} reaches nobody", "add --interface NAME, the one that faces the machines")
    else:
        yield ok("link", f"{name} is up ({box.interface.mac})")


def check_mtu(box: Box) -> Iterator[Finding]:
    """Too small and packets are cut up, which firmware does not put together."""
    name, mtu = box.interface.name, box.interface.mtu
    if mtu < ETHERNET_MTU:
        text = f"{mtu}: a DHCP reply or a TFTP block may have to go in pieces, which firmware drops"
        yield warning("MTU", text, f"ip link set {name} mtu {ETHERNET_MTU}")
    elif mtu > ETHERNET_MTU:
        text = f"{mtu}: fine for us, who send machines {ETHERNET_MTU} until they ask for more"
        yield ok("MTU", f"{text}; AoE uses all of it, so every switch between must")
    else:
        yield ok("MTU", str(mtu))


def check_address(box: Box) -> Iterator[Finding]:
    """Replies and URLs name one address: which one must be no chance (D-21)."""
    others = [each for each in box.interface.addresses if each != box.address]
    if others and not box.is_address_named:
        text = f"{box.address} is used, as the first of {', '.join(box.interface.addresses)}"
        yield warning("reply address", text, f'say which: address = "{box.address}" in the configuration')
    else:
        yield ok("reply address", box.address)
