"""A boot server's side of one exchange: a packet in, at most one reply and some events out.

Speaks PXE 2.1 §2.2 (proxyDHCP, boot server), RFC 4578 and RFC 2131 §4.1 beside a DHCP server that is not ours: it
gives no addresses, never sends a NAK (that would end leases which are another server's to keep: quirks D-19) and
never answers machines that ask neither for PXE nor for UEFI HTTP boot. Left out: multicast discovery (quirks B-5).

Nothing is remembered between packets: an answer rests on its request and the plan alone, so a storm costs no memory.
With a Lessor it is a DHCP server as well, whose offers hold an address and, for machines that boot, all the above.
"""

from dataclasses import dataclass, replace

from protocols.dhcp.leasing.lease import Lease
from protocols.dhcp.leasing.lessor import Denied, Given, Lessor, Unanswered
from protocols.dhcp.leasing.network import Grant
from protocols.dhcp.offer import Offer, Plan, Refusal
from protocols.dhcp.reply import (
    CLIENT_PORT,
    EVERYONE,
    LOCAL_BOOT,
    SERVER_PORT,
    BootItem,
    build_refusal,
    build_reply,
    largest_reply,
    parse_boot_item,
    reply_destination,
)
from protocols.dhcp.request import (
    BootRequest,
    Via,
    client_address,
    is_http_client,
    is_pxe_client,
    read_request,
)
from protocols.dhcp.wire import NO_ADDRESS, MessageType, Op, Option, Packet, parse_packet
from protocols.ethernet import MAC_BYTES, format_mac

# Firmware asks for half a minute; iPXE asks twice within two seconds and then gives the boot up for good. Its offer is
# sent again, so that a lost one costs nothing: a copy of an offer is no news to it.
IPXE_REPEATS = (0.2, 0.5)  # seconds before each further copy

ANSWERED_BY: dict[tuple[Via, int], MessageType] = {
    ("67", MessageType.DISCOVER): MessageType.OFFER,
    ("67", MessageType.REQUEST): MessageType.ACK,
    ("67", MessageType.INFORM): MessageType.ACK,
    ("4011", MessageType.REQUEST): MessageType.ACK,
    ("4011", MessageType.INFORM): MessageType.ACK,
}


@dataclass(frozen=True, slots=True)
class HostSeen:
    """A machine's DHCP client spoke, PXE or not: a sign of life. `address` is what it has or asks for, if any.

    `is_leasing`: it answered the offer of a DHCP server (REQUEST).
    """

    mac: str
    address: str | None
    is_leasing: bool = False


@dataclass(frozen=True, slots=True)
class Discovered:
    """A machine looks for a boot server (DISCOVER)."""

    request: BootRequest


@dataclass(frozen=True, slots=True)
class Offered:
    """A machine was sent an offer."""

    request: BootRequest
    offer: Offer


@dataclass(frozen=True, slots=True)
class BootServerAsked:
    """A machine asked us by name for its boot file, as a rule on port 4011; `offer` is None when it was refused."""

    request: BootRequest
    offer: Offer | None


@dataclass(frozen=True, slots=True)
class Refused:
    """A machine that wants to boot got no reply, and why."""

    request: BootRequest
    reason: str


@dataclass(frozen=True, slots=True)
class HttpBootAsked:
    """UEFI HTTP boot looks for a server where there is no URL for it, and why; other offers it would drop (P-10).

    No refusal: the same machine tries PXE before or after, and one of its ways is enough (quirks P-11).
    """

    request: BootRequest
    reason: str


@dataclass(frozen=True, slots=True)
class AddressGiven:
    """A machine was given an address, or may keep it for longer; `is_new`: it did not have it before."""

    lease: Lease
    is_new: bool


@dataclass(frozen=True, slots=True)
class AddressDenied:
    """A machine asked for an address that it may not have, and begins anew."""

    mac: str
    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class AddressReturned:
    """A machine gave its address back, or found it to be somebody else's (`is_conflict`)."""

    mac: str
    address: str
    is_conflict: bool


@dataclass(frozen=True, slots=True)
class PoolExhausted:
    """There was no address left for a machine in a network."""

    mac: str
    network: str


DhcpEvent = (
    HostSeen
    | Discovered
    | Offered
    | BootServerAsked
    | Refused
    | HttpBootAsked
    | AddressGiven
    | AddressDenied
    | AddressReturned
    | PoolExhausted
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply and where it goes; it leaves from the port that the request came to.

    `repeats` are the pauses, in seconds, before each further copy that is to be sent.
    """

    datagram: bytes
    destination: tuple[str, int]
    repeats: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one packet: `counted` names it for the counters, `answer` is None where silence is right.

    `kept` is to be on disk before the answer is sent. `unchecked` is an address that somebody else may use: whoever
    finds out tells the Lessor (check, set_aside), and has the packet answered once more.
    """

    counted: str
    answer: Answer | None = None
    events: tuple[DhcpEvent, ...] = ()
    kept: Lease | None = None
    unchecked: str | None = None


def answer(
    datagram: bytes,
    *,
    via: Via,
    source: tuple[str, int],
    address: str,
    plan: Plan,
    lessor: Lessor | None = None,
    now: float = 0.0,
    is_shared: bool = False,
) -> Outcome:
    """Decide on one datagram that came to port `via` from `source`; `address` is ours, in dotted text.

    `lessor` gives addresses, where we do; `now` is for its books, in unix seconds. `is_shared`: `address` and port 67
    are those of a DHCP server on the same host as well.
    Raises: WireError when the datagram, or an option that the answer rests on, is malformed.
    """
    packet = parse_packet(datagram)
    message = packet.number(Option.MESSAGE_TYPE, 1)
    if packet.op is not Op.REQUEST or message is None:
        return Outcome("not_dhcp_requests")  # another server's broadcast, or BOOTP without DHCP (quirks D-17)
    seen = _sign_of_life(packet, message, via)
    if lessor is not None and via == "67" and not _asks_boot_server(packet, message):
        outcome = _answer_lessee(packet, message, address, plan, lessor, now)
        return replace(outcome, events=(*seen, *outcome.events))
    if not _asks_to_boot(packet):
        return Outcome("plain_clients", events=seen)
    kind = ANSWERED_BY.get((via, message))
    if kind is None or not _is_for_us(packet, message, via, None if is_shared else address):
        return Outcome("for_others", events=seen)
    request = read_request(packet, via)
    item = parse_boot_item(packet) if kind is MessageType.ACK else None
    if item is not None and item.type == LOCAL_BOOT:
        return Outcome("local_boots", events=seen)
    settled = _settle(packet, kind, request, address, plan, item)
    if isinstance(settled, Refusal):
        counted, told = _refuse(request, kind, settled)
        return Outcome(counted, events=(*seen, *told))
    offer, reply = settled
    sent = Answer(reply, reply_destination(packet, kind, via, source), _repeats(request, kind))
    if kind is MessageType.OFFER:
        return Outcome("offers", sent, (*seen, Discovered(request), Offered(request, offer)))
    return Outcome("boot_server_replies", sent, (*seen, BootServerAsked(request, offer)))


def _repeats(request: BootRequest, kind: MessageType) -> tuple[float, ...]:
    return IPXE_REPEATS if request.is_ipxe and kind is MessageType.OFFER else ()


def _refuse(request: BootRequest, kind: MessageType, refusal: Refusal) -> tuple[str, tuple[DhcpEvent, ...]]:
    """How a machine is counted that is offered nothing to boot, and what is told of it."""
    if refusal.is_wanted:
        return "left_alone", ()
    if request.wants_http:
        return "http_clients", (HttpBootAsked(request, refusal.reason),)
    asked = Discovered(request) if kind is MessageType.OFFER else BootServerAsked(request, None)
    return "refused", (asked, Refused(request, refusal.reason))


def _asks_boot_server(packet: Packet, message: int) -> bool:
    """Whether a machine that has its address asks port 67 what others ask 4011: it names a boot server, and itself."""
    if packet.ciaddr == NO_ADDRESS or not _asks_to_boot(packet):
        return False
    return message == MessageType.INFORM or (message == MessageType.REQUEST and Option.SERVER_ID in packet.options)


def _answer_lessee(packet: Packet, message: int, address: str, plan: Plan, lessor: Lessor, now: float) -> Outcome:
    """Decide on a packet to the server that gives addresses."""
    decision = lessor.decide(packet, message, now)
    match decision:
        case Unanswered(counted, client, lease, exhausted):
            told: tuple[DhcpEvent, ...] = ()
            if client is not None and exhausted:
                told = (PoolExhausted(client.key, exhausted),)
            elif client is not None and lease is not None:
                told = (AddressReturned(client.key, lease.address, message == MessageType.DECLINE),)
            return Outcome(counted, events=told, kept=lease)
        case Denied(client, wanted, reason):
            nak = build_refusal(packet, address, reason)
            to = (EVERYONE, CLIENT_PORT) if packet.giaddr == NO_ADDRESS else (packet.giaddr, SERVER_PORT)
            return Outcome("denied", Answer(nak, to) if nak else None, (AddressDenied(client.key, wanted, reason),))
        case Given():
            if decision.is_unchecked:
                return Outcome("checks", unchecked=decision.grant.address)
            return _give(packet, decision, address, plan)


def _give(packet: Packet, given: Given, address: str, plan: Plan) -> Outcome:
    """The reply with an address, and with what the machine boots where it asks for that and there is something."""
    kind = given.kind
    events: list[DhcpEvent] = []
    repeats: tuple[float, ...] = ()
    reply = None
    if _asks_to_boot(packet):
        request = replace(read_request(packet, "67"), is_leasing=kind is MessageType.ACK)
        settled = _settle(packet, kind, request, address, plan, None, given.grant)
        if isinstance(settled, tuple):
            offer, reply = settled
            events += [Discovered(request), Offered(request, offer)] if kind is MessageType.OFFER else []
            repeats = _repeats(request, kind)
        elif kind is MessageType.OFFER:
            events += _refuse(request, kind, settled)[1]
    if reply is None:  # an address alone, so that who is offered nothing to boot goes on to its disk at once
        reply = build_reply(packet, kind, address, None, grant=given.grant)
    if reply is None:
        return Outcome("oversize", kept=given.lease)
    if given.lease is not None:
        events.append(AddressGiven(given.lease, is_new=given.is_new))
    counted = "offers" if kind is MessageType.OFFER else "informs" if given.lease is None else "leases"
    sent = Answer(reply, reply_destination(packet, kind, "67", (NO_ADDRESS, CLIENT_PORT)), repeats)
    return Outcome(counted, sent, tuple(events), kept=given.lease)


def _asks_to_boot(packet: Packet) -> bool:
    return is_pxe_client(packet) or is_http_client(packet)


def _sign_of_life(packet: Packet, message: int, via: Via) -> tuple[HostSeen, ...]:
    """The machine behind a packet to port 67, where whole networks are heard; port 4011 has events of its own."""
    if via != "67" or packet.hlen != MAC_BYTES:
        return ()
    is_leasing = message == MessageType.REQUEST
    return (HostSeen(format_mac(packet.hardware_address), client_address(packet), is_leasing),)


def _is_for_us(packet: Packet, message: int, via: Via, address: str | None) -> bool:
    """Whether an answer is ours to give: on port 67 a REQUEST is for the server that option 54 names (D-18).

    Renewals, and requests to the real DHCP server, name none or that one; a proxy must leave them alone (D-17).
    `address` is None where that server has ours: what names it is meant for the one that gives addresses (D-22).
    """
    if via == "4011" or message == MessageType.DISCOVER:
        return True
    server = packet.address(Option.SERVER_ID)
    return server == address if server is not None else message == MessageType.INFORM


def _settle(
    packet: Packet,
    kind: MessageType,
    request: BootRequest,
    address: str,
    plan: Plan,
    item: BootItem | None,
    grant: Grant | None = None,
) -> tuple[Offer, bytes] | Refusal:
    """What the machine is offered, and the datagram that says so; or why there is neither."""
    if item is not None and item.wants_signature:
        return Refusal("its firmware insists on a signed boot file (BIS), which is not served")
    planned = plan(request)
    if isinstance(planned, Refusal):
        return planned
    if request.wants_http != (planned.flow == "http"):  # never a URL for PXE, nor a TFTP name for HTTP boot (P-10)
        wanted, offered = ("UEFI HTTP boot", "PXE") if request.wants_http else ("PXE", "UEFI HTTP boot")
        return Refusal(f"its firmware asks for {wanted}, and it is offered {offered} alone")
    reply = build_reply(packet, kind, address, planned, item, grant)
    if reply is None:
        what = "menu" if planned.flow == "menu" else "boot file's name"
        return Refusal(f"the {what} does not fit in a reply of {largest_reply(packet)} bytes")
    return planned, reply
