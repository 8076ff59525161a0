"""One input of the DHCP fuzzer: a packet, how it came, what is offered; answered, and the answer judged; and a frame.

0  bit 0: port 4011, not 67; bits 1 and 2: whom it came from; bits 3, 4: the flow; bits 5 to 7: names' length / 36
1  the packet
"""

from typing import get_args

from protocols.dhcp.ipv4 import Datagram, build_datagram, checksum, parse_datagram
from protocols.dhcp.offer import Flow, MenuItem, Offer, Refusal
from protocols.dhcp.request import BootRequest, Via
from protocols.dhcp.session import answer
from protocols.errors import WireError
from tests.protocols.dhcp.judge import MESSAGE, OFFER, judge_destination, judge_reply, may_be_answered, take_apart

BOX = "10.77.0.2"
BOX_BYTES = bytes((10, 77, 0, 2))
SOURCES = (("0.0.0.0", 68), ("10.77.0.173", 68), ("10.77.0.173", 4011), ("10.9.0.1", 67))
FLOWS: tuple[Flow, ...] = get_args(Flow)
MALFORMED = "malformed"


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
