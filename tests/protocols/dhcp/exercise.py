"""One input of the DHCP fuzzer: a packet, how it came, what is offered; answered, and the answer judged.

0  bit 0: port 4011, not 67; bits 1 and 2: whom it came from; bits 3 to 7: an eighth of its name's length
1  the packet
"""

from protocols.dhcp.offer import Offer, Refusal
from protocols.dhcp.request import BootRequest, Via
from protocols.dhcp.session import answer
from protocols.errors import WireError
from tests.protocols.dhcp.judge import judge_destination, judge_reply, may_be_answered, take_apart

BOX = "10.77.0.2"
BOX_BYTES = bytes((10, 77, 0, 2))
SOURCES = (("0.0.0.0", 68), ("10.77.0.173", 68), ("10.77.0.173", 4011), ("10.9.0.1", 67))
MALFORMED = "malformed"


def exercise(data: bytes) -> str:
    """What the packet was counted as; AssertionError for a wrong answer, and any error but WireError gets out."""
    if not data:
        return MALFORMED
    via: Via = "4011" if data[0] & 1 else "67"
    source = SOURCES[data[0] >> 1 & 3]
    name = "n" * ((data[0] >> 3) * 8 + 1)

    def plan(request: BootRequest) -> Offer | Refusal:
        assert request.mac
        assert request.via == via
        return Offer(name)

    packet = data[1:]
    try:
        outcome = answer(packet, via=via, source=source, address=BOX, plan=plan)
    except WireError:
        return MALFORMED
    request = take_apart(packet)  # what is Broken must have been a WireError
    if outcome.answer is not None:
        assert may_be_answered(request, via, BOX_BYTES), outcome.counted
        reply = judge_reply(request, outcome.answer.datagram, BOX_BYTES)
        assert name.encode() in (reply.options.get(67), reply.file.rstrip(b"\0"))
        judge_destination(request, via, source, outcome.answer.destination)
    return outcome.counted
