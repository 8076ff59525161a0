"""The probe as a server reads it, and offers as they come back, with everything else that a LAN carries."""

import pytest

from protocols.dhcp.offer import Offer
from protocols.dhcp.probe import IP, UDP, HeardOffer, build_probe, checksum, parse_offer
from protocols.dhcp.request import Architecture
from protocols.dhcp.session import answer
from protocols.dhcp.wire import MessageType, Op, Option, Packet, build_packet, parse_packet
from protocols.errors import WireError

CHADDR = bytes.fromhex("027277000002")
XID = 0xCAFE
XIDS = frozenset({XID, 7})
BOX, ROUTER = "10.77.0.2", "10.77.0.1"
PROBE = build_probe(CHADDR, XID, Architecture.X64_UEFI)


def in_ip(payload: bytes, ports: tuple[int, int] = (67, 68), *, size: int | None = None) -> bytes:
    """A reply from the router as it lies on the wire."""
    udp = UDP.pack(*ports, UDP.size + len(payload) if size is None else size, 0)
    ends = (bytes((10, 77, 0, 1)), b"\xff" * 4)
    return IP.pack(0x45, 0, IP.size + len(udp) + len(payload), 0, 0, 64, 17, 0, *ends) + udp + payload


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


def test_probes_ip_header() -> None:
    """A right checksum comes to nothing when summed again; the lengths are the packet's."""
    assert checksum(PROBE[: IP.size]) == 0
    assert int.from_bytes(PROBE[2:4], "big") == len(PROBE)
    assert UDP.unpack_from(PROBE, IP.size) == (68, 67, len(PROBE) - IP.size, 0)


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
        b"\x60" + in_ip(reply())[1:],
        b"\x41" + in_ip(reply())[1:],
        in_ip(reply())[:9] + b"\6" + in_ip(reply())[10:],
        in_ip(reply())[:6] + b"\x20\0" + in_ip(reply())[8:],
    ],
)
def test_other_packets(data: bytes) -> None:
    """Nothing, a client, an ACK, another's offer, IPv6, TCP, fragments: not ours, and not malformed."""
    assert parse_offer(data, XIDS) is None


@pytest.mark.parametrize(
    "data",
    [in_ip(b"short"), in_ip(reply(), size=7), in_ip(reply(), size=4000), b"\x4f" + in_ip(b"")[1:]],
)
def test_malformed(data: bytes) -> None:
    """No DHCP, and lengths that lie."""
    with pytest.raises(WireError):
        parse_offer(data, XIDS)
