"""One input of the DHCP fuzzer: a packet, how it came, what is offered; answered, and the answer judged; and a frame.

Each is answered twice: by a proxy, and by a server that gives addresses and has given its sender one already.

0  bit 0: port 4011, not 67; bits 1 and 2: whom it came from; bits 3, 4: the flow; bits 5 to 7: names' length / 36
1  the packet
"""

from ipaddress import IPv4Address, IPv4Network
from typing import get_args

from protocols.dhcp.ipv4 import Datagram, build_datagram, checksum, parse_datagram
from protocols.dhcp.leasing.book import Book
from protocols.dhcp.leasing.client import read_client
from protocols.dhcp.leasing.lessor import Lessor
from protocols.dhcp.leasing.network import Network, Span
from protocols.dhcp.offer import Flow, MenuItem, Offer, Plan, Refusal
from protocols.dhcp.request import BootRequest, Via
from protocols.dhcp.session import answer
from protocols.dhcp.wire import parse_packet
from protocols.errors import WireError
from tests.protocols.dhcp.judge import MESSAGE, OFFER, judge_destination, judge_reply, may_be_answered, take_apart
from tests.protocols.dhcp.judge_leases import judge_lease, judge_lease_destination

BOX = "10.77.0.2"
BOX_BYTES = bytes((10, 77, 0, 2))
SOURCES = (("0.0.0.0", 68), ("10.77.0.173", 68), ("10.77.0.173", 4011), ("10.9.0.1", 67))
FLOWS: tuple[Flow, ...] = get_args(Flow)
MALFORMED = "malformed"


def _network(subnet: str, first: str, *, is_local: bool) -> Network:
    pool = (Span(IPv4Address(first), IPv4Address(first) + 2),)
    return Network(IPv4Network(subnet), pool, "10.77.0.1", (BOX, "10.77.0.1"), "lab.example", is_local=is_local)


LOCAL = _network("10.77.0.0/24", "10.77.0.171", is_local=True)
FAR = _network("10.9.0.0/16", "10.9.0.50", is_local=False)
LEASED = ("10.77.0.173", "10.9.0.50")
POOL = frozenset(IPv4Address(address).packed for network in (LOCAL, FAR) for address in network.addresses())


def exercise(data: bytes) -> str:
    """What the packet was counted as; AssertionError for a wrong answer, and any error but WireError gets out."""
    if not data:
        return MALFORMED
    via: Via = "4011" if data[0] & 1 else "67"
    source = SOURCES[data[0] >> 1 & 3]
    flow = FLOWS[data[0] >> 3 & 3]
    name = "n" * ((data[0] >> 5) * 36 + 1)
    items = tuple(MenuItem("item", name + "i") for _ in range(data[0] >> 5)) if flow == "menu" else ()

    def plan(request: BootRequest) -> Offer | Refusal:
        assert request.mac
        assert request.via == via
        return Offer(name, flow, items)

    packet = data[1:]
    exercise_frame(packet, source)
    _exercise_leasing(packet, via, source, plan)
    try:
        outcome = answer(packet, via=via, source=source, address=BOX, plan=plan)
    except WireError:
        return MALFORMED
    request = take_apart(packet)  # what is Broken must have been a WireError
    if outcome.answer is not None:
        assert may_be_answered(request, via, BOX_BYTES), outcome.counted
        reply = judge_reply(request, outcome.answer.datagram, BOX_BYTES)
        file = reply.options.get(67, reply.file.rstrip(b"\0")).decode()
        is_withheld = reply.options[MESSAGE][0] == OFFER and flow in ("binl", "menu")
        assert file in (("",) if is_withheld else (name, name + "i"))
        judge_destination(request, via, source, outcome.answer.destination)
    return outcome.counted


def exercise_frame(packet: bytes, source: tuple[str, int]) -> None:
    """A captured port reads the packet out of a frame as it is, and out of one that lies about its lengths, or not."""
    sent = Datagram(source, (BOX, 67), packet)
    frame = build_datagram(sent)
    assert parse_datagram(frame) == sent
    sizes = packet[4:8].ljust(4, b"\0")  # the transaction's number is anything
    header = frame[:2] + sizes[:2] + frame[4:10] + bytes(2) + frame[12:20]
    header = header[:10] + checksum(header).to_bytes(2, "big") + header[12:]
    try:
        read = parse_datagram(header + frame[20:24] + sizes[2:] + frame[26:])
    except WireError:
        return
    assert read is not None
    assert len(read.payload) == int.from_bytes(sizes[2:], "big") - 8


def _exercise_leasing(packet: bytes, via: Via, source: tuple[str, int], plan: Plan) -> None:
    """The same packet to a server with six addresses, behind a relay or on its own segment."""
    lessor = Lessor([Book(LOCAL, {}), Book(FAR, {})], server=BOX, is_authoritative=len(packet) % 2 == 0)
    try:
        client = read_client(parse_packet(packet))
        for book, address in zip(lessor.books, LEASED, strict=True):
            book.bind(client, address, 0.0)
        outcome = answer(packet, via=via, source=source, address=BOX, plan=plan, lessor=lessor, now=1.0)
    except WireError:
        return
    assert len(list(lessor.leases())) <= len(POOL)
    request = take_apart(packet)
    if outcome.kept is not None:
        assert via == "67"
        assert request.op == 1
        assert IPv4Address(outcome.kept.address).packed in POOL
    if outcome.answer is None:
        return
    if outcome.counted == "boot_server_replies" or via == "4011":
        assert may_be_answered(request, via, BOX_BYTES), outcome.counted
        judge_reply(request, outcome.answer.datagram, BOX_BYTES)
        return
    reply = judge_lease(request, outcome.answer.datagram, BOX_BYTES, POOL)
    judge_lease_destination(request, reply, outcome.answer.destination)
