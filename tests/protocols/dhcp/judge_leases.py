"""What a reply of a server that gives addresses must be, whatever the packet; by the parser of judge.py."""

from tests.protocols.dhcp.judge import (
    AGENT,
    BOOT_FILE,
    EVERYONE,
    INFORM,
    LEASE_OPTIONS,
    MESSAGE,
    OVERLOAD,
    PAD,
    REQUEST,
    SERVER_ID,
    SERVER_NAME,
    VENDOR,
    Fields,
    asker,
    most_bytes,
    take_apart,
)

DISCOVER, OFFER, ACK, NAK = 1, 2, 5, 6
MASK, LEASE_TIME, CLIENT_ID, VENDOR_SPECIFIC = 1, 51, 61, 43
BOOTING = {VENDOR, VENDOR_SPECIFIC, BOOT_FILE, SERVER_NAME}
ANSWERS = {DISCOVER: {OFFER}, REQUEST: {ACK, NAK}, INFORM: {ACK}}


def judge_lease(request: Fields, data: bytes, us: bytes, pool: frozenset[bytes]) -> Fields:
    """Assert all that holds for every reply with an address, or that refuses one; give it taken apart."""
    assert request.op == 1
    [message] = request.options[MESSAGE]
    assert request.options.get(SERVER_ID) in (None, us) or message == DISCOVER, "it is for another server"
    reply = take_apart(data)
    [kind] = reply.options[MESSAGE]
    assert kind in ANSWERS[message]
    assert 300 <= len(data) <= most_bytes(request), (len(data), most_bytes(request))
    assert (reply.op, reply.options[SERVER_ID]) == (2, us)
    for name in ("link", "xid", "giaddr", "chaddr"):
        assert getattr(reply, name) == getattr(request, name), name
    assert reply.behind is not None
    assert not any(reply.behind), "padding stands behind END"
    assert not {PAD, OVERLOAD} & set(reply.pieces)
    codes = [code for code in reply.pieces if code != AGENT]
    assert len(codes) == len(set(codes))
    assert reply.options.get(AGENT) == request.options.get(AGENT)
    assert reply.options.get(CLIENT_ID) in (None, request.options.get(CLIENT_ID))
    _judge_address(request, reply, kind, pool)
    if kind == NAK or asker(request) == "plain":
        assert not BOOTING & reply.options.keys()
        assert not any(reply.siaddr + reply.sname + reply.file)
    return reply


def _judge_address(request: Fields, reply: Fields, kind: int, pool: frozenset[bytes]) -> None:
    """In the pool and with a time, or neither."""
    if kind == NAK:
        assert not any(reply.yiaddr + reply.ciaddr)
        assert not LEASE_OPTIONS & reply.options.keys()
    elif LEASE_TIME in reply.options:
        assert reply.yiaddr in pool
        assert MASK in reply.options
    else:  # it has its address, and asked for the rest
        assert any(request.ciaddr)
        assert reply.yiaddr in (bytes(4), request.ciaddr)


def judge_lease_destination(request: Fields, reply: Fields, destination: tuple[str, int]) -> None:
    """Assert where it goes: to the relay, to who has its address, else to everyone; a NAK never to its client."""
    [kind] = reply.options[MESSAGE]
    if any(request.giaddr):
        assert destination == (_dotted(request.giaddr), 67)
    elif kind == ACK and any(request.ciaddr):
        assert destination == (_dotted(request.ciaddr), 68)
    else:
        assert destination == (EVERYONE, 68)


def _dotted(address: bytes) -> str:
    return ".".join(map(str, address))
