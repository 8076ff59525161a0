"""What a reply to a DHCP packet must be, whatever the packet; read by a parser of its own, not by protocols.dhcp.wire.

The parser takes RFC 2131 and 3396 by the letter and knows nothing of policy. It is slower to judge than to answer, but
it must not be wrong in the same way.
"""

from dataclasses import dataclass
from typing import Literal

HEADER_BYTES = 240
COOKIE = bytes((99, 130, 83, 99))
PAD, END, OVERLOAD = 0, 255, 52
DISCOVER, OFFER, REQUEST, ACK, INFORM = 1, 2, 3, 5, 8
SERVER_ID, MESSAGE, LARGEST, VENDOR, USER, AGENT, UUID = 54, 53, 57, 60, 77, 82, 97
SERVER_NAME, BOOT_FILE = 66, 67
LEASE_OPTIONS = frozenset({1, 3, 6, 51, 58, 59})  # what only the server that gives addresses may say
NOBODY, EVERYONE = "0.0.0.0", "255.255.255.255"

Asker = Literal["pxe", "http", "plain"]


class Broken(Exception):
    """These bytes are no DHCP packet."""


@dataclass(frozen=True, slots=True)
class Fields:
    """The parts of a packet as they lie on the wire; `options` in their order, pieces of one joined."""

    op: int
    link: bytes  # htype and hlen
    xid: bytes
    ciaddr: bytes
    yiaddr: bytes
    siaddr: bytes
    giaddr: bytes
    chaddr: bytes
    sname: bytes
    file: bytes
    options: dict[int, bytes]
    behind: bytes | None  # what follows END; None when there is no END
    pieces: tuple[int, ...]  # the codes, as often as they occur, padding among them


def take_apart(data: bytes) -> Fields:
    """Raises: Broken for what RFC 2131 does not know as a packet."""
    if len(data) < HEADER_BYTES or data[236:240] != COOKIE or data[0] not in (1, 2) or data[2] > 16:
        raise Broken
    options: dict[int, bytes] = {}
    pieces = []
    at = HEADER_BYTES
    while at < len(data) and data[at] != END:
        code = data[at]
        pieces.append(code)
        if code == PAD:
            at += 1
            continue
        if at + 1 == len(data) or at + 2 + data[at + 1] > len(data):
            raise Broken
        options[code] = options.get(code, b"") + data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
    return Fields(
        op=data[0],
        link=data[1:3],
        xid=data[4:8],
        ciaddr=data[12:16],
        yiaddr=data[16:20],
        siaddr=data[20:24],
        giaddr=data[24:28],
        chaddr=data[28:44],
        sname=data[44:108],
        file=data[108:236],
        options=options,
        behind=data[at + 1 :] if at < len(data) else None,
        pieces=tuple(pieces),
    )


def asker(request: Fields) -> Asker:
    """Who asks: by option 60, or by a user class that is iPXE in either spelling (RFC 3004, or the bare string)."""
    vendor = request.options.get(VENDOR, b"")
    if vendor.startswith(b"HTTPClient"):
        return "http"
    if vendor.startswith(b"PXEClient") or is_ipxe(request):
        return "pxe"
    return "plain"


def is_ipxe(request: Fields) -> bool:
    """Whether option 77 is "iPXE", or well-formed classes with that among them."""
    value = request.options.get(USER, b"")
    if value == b"iPXE":
        return True
    while value:
        size = value[0]
        if size == 0 or size >= len(value):
            return False
        if value[1 : 1 + size] == b"iPXE":
            return _divides(value[1 + size :])
        value = value[1 + size :]
    return False


def _divides(value: bytes) -> bool:
    """Whether the rest of option 77 is classes too: what does not divide evenly is one bare string."""
    while value:
        if value[0] == 0 or value[0] >= len(value):
            return False
        value = value[1 + value[0] :]
    return True


def may_be_answered(request: Fields, via: str, us: bytes) -> bool:
    """Whether an answer is ours to give, on the port that it came to: a proxy's rules, D-17 to D-19 of the quirks."""
    message = request.options.get(MESSAGE, b"")
    if request.op != 1 or len(message) != 1 or asker(request) == "plain":
        return False
    if via == "4011":
        return message[0] in (REQUEST, INFORM)
    named = request.options.get(SERVER_ID)
    if message[0] == REQUEST:
        return named == us
    return message[0] == DISCOVER or (message[0] == INFORM and named in (None, us))


def most_bytes(request: Fields) -> int:
    """The largest UDP payload the client takes: option 57 counts IP's and UDP's headers; EDK2 drops more than 1472."""
    said = request.options.get(LARGEST, b"")
    return min(max(int.from_bytes(said, "big"), 576) - 28, 1472)


def judge_reply(request: Fields, data: bytes, us: bytes) -> Fields:
    """Assert all that holds for every reply, and give it taken apart."""
    reply = take_apart(data)
    assert 300 <= len(data) <= most_bytes(request), (len(data), most_bytes(request))
    assert reply.op == 2
    for name in ("link", "xid", "giaddr", "chaddr"):
        assert getattr(reply, name) == getattr(request, name), name
    assert reply.yiaddr in (bytes(4), request.ciaddr)
    assert reply.siaddr == reply.options[SERVER_ID] == us
    assert reply.sname[-1] == reply.file[-1] == 0
    assert reply.behind is not None
    assert not any(reply.behind), "padding stands behind END"
    assert PAD not in reply.pieces
    assert OVERLOAD not in reply.options
    assert not LEASE_OPTIONS & reply.options.keys()
    assert reply.options[MESSAGE] == bytes((OFFER if request.options[MESSAGE][0] == DISCOVER else ACK,))
    assert reply.options.get(UUID) in (None, request.options.get(UUID))
    _judge_options(request, reply)
    return reply


def _judge_options(request: Fields, reply: Fields) -> None:
    """Each once, but for the relay's own, which may be long and stands last; the vendor class is the asker's."""
    codes = [code for code in reply.pieces if code != AGENT]
    assert len(codes) == len(set(codes))
    assert reply.options.get(AGENT) == request.options.get(AGENT)
    assert AGENT not in reply.pieces[: len(codes)], "the relay's option stands last"
    assert reply.options[VENDOR] == (b"HTTPClient" if asker(request) == "http" else b"PXEClient")


def judge_destination(request: Fields, via: str, source: tuple[str, int], destination: tuple[str, int]) -> None:
    """Assert where a reply goes: 4011 answers whom it hears, 67 the relay, the client or everyone (D-1, D-2, B-1)."""
    if via == "4011":
        assert destination == (EVERYONE if source[0] == NOBODY else source[0], source[1])
    elif any(request.giaddr):
        assert destination == (_dotted(request.giaddr), 67)
    else:
        assert destination in ((EVERYONE, 68), (_dotted(request.ciaddr), 68))
        assert destination[0] != NOBODY


def _dotted(address: bytes) -> str:
    return ".".join(map(str, address))
