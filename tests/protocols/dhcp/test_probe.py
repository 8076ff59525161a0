"""The probe as a server reads it, and offers as they come back, with everything else that a LAN carries."""

import pytest

from protocols.dhcp.ipv4 import IP, UDP, Datagram, build_datagram, parse_datagram
from protocols.dhcp.offer import Offer
from protocols.dhcp.probe import HeardOffer, build_probe, parse_offer
from protocols.dhcp.request import Architecture
from protocols.dhcp.session import answer
from protocols.dhcp.wire import MessageType, Op, Option, Packet, build_packet, parse_packet
from protocols.errors import WireError

CHADDR = bytes.fromhex("027277000002")
XID = 0xCAFE
XIDS = frozenset({XID, 7})
BOX, ROUTER = "10.77.0.2", "10.77.0.1"
PROBE = build_probe(CHADDR, XID, Architecture.X64_UEFI)


def in_ip(payload: bytes, ports: tuple[int, int] = (67, 68)) -> bytes:
    """A reply from the router as it lies on the wire."""
    return build_datagram(Datagram((ROUTER, ports[0]), ("255.255.255.255", ports[1]), payload))


def reply(kind: MessageType = MessageType.OFFER, xid: int = XID, op: Op = Op.REPLY, **options: bytes) -> bytes:
    """What a server sends."""
    codes: dict[int, bytes] = {Option.MESSAGE_TYPE: bytes((kind,)), **{Option[k]: v for k, v in options.items()}}
    return build_packet(Packet(op=op, xid=xid, yiaddr="10.77.0.50", siaddr=ROUTER, options=codes, file=b"header.0"))


def test_probe_is_answered() -> None:
    """By our own server, as a UEFI machine's DISCOVER; its answer is heard."""
    packet = parse_packet(PROBE[IP.size + UDP.size :])
    assert (packet.xid, packet.hardware_address, packet.flags) == (XID, CHADDR, 0x8000)
    outcome = answer(
        PROBE[IP.size + UDP.size :], via="67", source=("0.0.0.0", 68), address=BOX, plan=lambda request: Offer("x.efi")
    )
    assert outcome.answer is not None
    assert parse_offer(in_ip(outcome.answer.datagram), XIDS) == HeardOffer(
        BOX, "0.0.0.0", BOX, b"x.efi", BOX.encode(), b"PXEClient", b"\6\1\x08\xff"
    )


def test_probes_ends() -> None:
    """From a machine without an address, to everyone."""
    assert parse_datagram(PROBE) == Datagram(("0.0.0.0", 68), ("255.255.255.255", 67), PROBE[IP.size + UDP.size :])


def test_offer() -> None:
    """Options come before the header's fields; the server is who it says it is, else who sent it."""
    heard = parse_offer(in_ip(reply(SERVER_ID=bytes((10, 77, 0, 9)), BOOT_FILE=b"opt.0\0")), XIDS)
    assert heard == HeardOffer("10.77.0.9", "10.77.0.50", ROUTER, b"opt.0", b"", b"", b"")
    bare = parse_offer(in_ip(reply()), XIDS)
    assert bare is not None
    assert (bare.server, bare.file) == (ROUTER, b"header.0")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PROBE,
        in_ip(reply(MessageType.ACK)),
        in_ip(reply(xid=1)),
        in_ip(reply(op=Op.REQUEST)),
        in_ip(reply(), (67, 67)),
    ],
)
def test_other_packets(data: bytes) -> None:
    """Nothing, a client, an ACK, another's offer, a server that speaks to a relay: not ours, and not malformed."""
    assert parse_offer(data, XIDS) is None


@pytest.mark.parametrize("data", [in_ip(b"short"), in_ip(reply())[:-1]])
def test_malformed(data: bytes) -> None:
    """No DHCP, and not all of it."""
    with pytest.raises(WireError):
        parse_offer(data, XIDS)
