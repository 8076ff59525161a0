"""Other DHCP servers: which there are, and what in their offers would spoil ours (quirks D-28, P-6, P-8, G-1)."""

from collections.abc import Iterator

from appliance.doctor.box import Box
from appliance.doctor.finding import Finding, error, ok, warning
from protocols.dhcp.probe import HeardOffer
from protocols.dhcp.request import PXE_CLASS
from protocols.dhcp.wire import NO_ADDRESS

SUBJECT = "DHCP servers"


def check_servers(box: Box) -> Iterator[Finding]:
    """One server that gives addresses and says nothing of boot files is as it must be."""
    if box.offers is None:
        yield error(SUBJECT, "no right to listen on the network", "run as root, or with CAP_NET_RAW")
        return
    others = [offer for offer in box.offers if offer.server != box.address]
    givers = sorted({offer.server for offer in others if offer.address != NO_ADDRESS})
    if box.gives_addresses:
        yield from _beside_ours(givers)
    elif not givers and box.neighbour:
        yield ok(SUBJECT, f"{box.neighbour} on this box holds port 67; whether it gives addresses can't be heard here")
    elif not givers:
        yield warning(
            SUBJECT,
            f"none gives addresses on {box.interface.name}: machines cannot boot without one",
            "start the network's DHCP server, or see that its switch forwards DHCP to this port",
        )
    elif len(givers) > 1:
        yield warning(
            SUBJECT,
            f"{' and '.join(givers)} both give addresses: UEFI gives up when the one it chose is not the one it heard",
            "stop all but one",
        )
    else:
        yield ok(SUBJECT, f"{givers[0]} gives addresses")
    for offer in _by_server(others):
        yield from _spoiled(offer, box.address)


def _beside_ours(givers: list[str]) -> Iterator[Finding]:
    if not givers:
        yield ok(SUBJECT, "none but rootwire, by [dhcp]")
        return
    yield warning(
        SUBJECT,
        f"{' and '.join(givers)} gives addresses, and so would rootwire, by [dhcp]: two servers give one address twice",
        "stop that server, or take [dhcp] out; beside_others = true is for pools that share no address",
    )


def _by_server(offers: list[HeardOffer]) -> list[HeardOffer]:
    """One offer for each server, the fullest: it is the same server that answers BIOS and UEFI."""
    chosen: dict[str, HeardOffer] = {}
    for offer in offers:
        before = chosen.get(offer.server)
        if before is None or (offer.file, offer.vendor_class) > (before.file, before.vendor_class):
            chosen[offer.server] = offer
    return [chosen[server] for server in sorted(chosen)]


def _spoiled(offer: HeardOffer, ours: str) -> Iterator[Finding]:
    who = offer.server
    if offer.address == NO_ADDRESS:
        if offer.vendor_class.startswith(PXE_CLASS) or offer.file:
            yield error(
                SUBJECT,
                f"{who} is another boot server (ProxyDHCP) and offers {_text(offer.file) or 'its own menu'}: "
                "machines take whichever answers first",
                f"stop ProxyDHCP on {who}",
            )
        return
    if offer.vendor_class.startswith(PXE_CLASS) or offer.vendor_specific:
        yield error(
            SUBJECT,
            f"{who} sends option {'60 PXEClient' if offer.vendor_class else '43'} with its addresses: "
            f"firmware then asks port 4011 of {who}, not us",
            f"take option 60 and 43 out of the configuration of {who}",
        )
    if offer.file and offer.next_server != ours:
        yield error(
            SUBJECT,
            f"{who} names a boot file, {_text(offer.file)}: firmware, shim and GRUB follow it and not our offer",
            f"take the boot file (option 67, filename) out of the configuration of {who}",
        )
    named = {offer.next_server, _text(offer.server_name)} - {NO_ADDRESS, "", who, ours}
    if named:
        yield warning(
            SUBJECT,
            f"{who} sends machines to the boot server {' and '.join(sorted(named))}: some firmware follows that",
            f"take next-server and option 66 out of the configuration of {who}",
        )


def _text(value: bytes) -> str:
    """A name from the wire, safe on a terminal."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "?" for byte in value)
