"""What a server that gives addresses says in each state of RFC 2131 §4.3, and when it says nothing."""

from dataclasses import replace

import pytest

from protocols.dhcp.leasing.client import KEY_MOST, Client, read_client
from protocols.dhcp.leasing.lease import LeaseState
from protocols.dhcp.leasing.lessor import Denied, Given, Lessor, Unanswered
from protocols.dhcp.leasing.network import Grant
from protocols.dhcp.wire import MessageType, Option, Packet
from protocols.errors import WireError
from tests.protocols.dhcp.leasing.parts import BOX_ID, FAR, HOUR, LOCAL, NOW, OTHER_ID, client, lessor, packed, packet

FIRST, SECOND, THIRD = "10.77.0.50", "10.77.0.51", "10.77.0.52"
RELAY = "10.78.0.1"


def discover(served: Lessor, number: int = 1, now: float = NOW) -> Given:
    """An offer."""
    decision = served.decide(packet(MessageType.DISCOVER, number), MessageType.DISCOVER, now)
    assert isinstance(decision, Given)
    return decision


def request(
    served: Lessor, number: int = 1, *, now: float = NOW, ciaddr: str = "0.0.0.0", giaddr: str = "0.0.0.0", **o: bytes
) -> Given | Denied | Unanswered:
    """What comes of a REQUEST."""
    asked = packet(MessageType.REQUEST, number, ciaddr=ciaddr, giaddr=giaddr, **o)
    return served.decide(asked, MessageType.REQUEST, now)


def lease(served: Lessor, number: int = 1, now: float = NOW) -> str:
    """Discover and select; the address."""
    address = discover(served, number, now).grant.address
    decision = request(served, number, now=now, SERVER_ID=BOX_ID, REQUESTED_ADDRESS=packed(address))
    assert isinstance(decision, Given)
    return address


def test_discover_then_request() -> None:
    """An offer that is to be checked, then an ACK of the same address, to be written down."""
    served = lessor()
    grant = Grant(LOCAL, FIRST, HOUR)
    assert discover(served) == Given(MessageType.OFFER, client(1), grant, is_unchecked=True)
    decision = request(served, SERVER_ID=BOX_ID, REQUESTED_ADDRESS=packed(FIRST))
    assert isinstance(decision, Given)
    assert (decision.kind, decision.grant, decision.is_unchecked) == (MessageType.ACK, grant, False)
    assert decision.lease == next(served.leases())


def test_another_server_is_selected() -> None:
    """What was held for the client is free again, and nothing is said."""
    served = lessor()
    discover(served)
    assert request(served, SERVER_ID=OTHER_ID, REQUESTED_ADDRESS=packed(FIRST)) == Unanswered("for_others")
    assert discover(served, 2).grant.address == SECOND
    assert served.books[0].free(NOW) == 2


@pytest.mark.parametrize("address", [SECOND, "10.77.0.99", "192.0.2.1"])
def test_selecting_what_is_not_the_clients(address: str) -> None:
    """No, so that it begins anew."""
    served = lessor()
    lease(served, 1)
    lease(served, 2)
    decision = request(served, SERVER_ID=BOX_ID, REQUESTED_ADDRESS=packed(address))
    assert isinstance(decision, Denied)
    assert address in decision.reason


def test_reboot_with_its_address() -> None:
    """INIT-REBOOT: yes at once, even when the lease ended meanwhile."""
    served = lessor()
    lease(served)
    decision = request(served, now=NOW + 9 * HOUR, REQUESTED_ADDRESS=packed(FIRST))
    assert isinstance(decision, Given)
    assert decision.lease is not None
    assert decision.lease.until == NOW + 10 * HOUR


@pytest.mark.parametrize("address", [SECOND, "10.9.9.9"])
def test_reboot_with_another_address(address: str) -> None:
    """Moved from another network, or given away: no."""
    served = lessor()
    lease(served)
    assert isinstance(request(served, REQUESTED_ADDRESS=packed(address)), Denied)


@pytest.mark.parametrize(
    "asked",
    [packet(MessageType.REQUEST, ciaddr=FIRST), packet(MessageType.REQUEST, REQUESTED_ADDRESS=packed(FIRST))],
)
def test_clients_that_are_in_no_book(asked: Packet) -> None:
    """Alone on the network no lease but ours can be: no. Beside other servers it may be theirs: silence."""
    assert isinstance(lessor().decide(asked, MessageType.REQUEST, NOW), Denied)
    beside = lessor(is_authoritative=False)
    assert beside.decide(asked, MessageType.REQUEST, NOW) == Unanswered("for_others")


def test_renewal() -> None:
    """RENEWING and REBINDING are the same to the server: ciaddr, no option 50, none or our option 54."""
    served = lessor(is_authoritative=False)
    lease(served)
    renewing = (
        packet(MessageType.REQUEST, ciaddr=FIRST),
        packet(MessageType.REQUEST, ciaddr=FIRST, SERVER_ID=BOX_ID),
    )
    for asked in renewing:
        decision = served.decide(asked, MessageType.REQUEST, NOW + 60)
        assert isinstance(decision, Given)
        assert decision.lease is not None
        assert (decision.grant.address, decision.lease.since) == (FIRST, NOW)


def test_renewal_of_what_is_anothers() -> None:
    """No."""
    served = lessor()
    lease(served, 1)
    assert isinstance(request(served, 2, ciaddr=FIRST), Denied)


def test_request_for_nothing() -> None:
    """Neither address: silence."""
    assert request(lessor(), SERVER_ID=BOX_ID) == Unanswered("for_others")


def test_exhausted() -> None:
    """Said of nobody twice: the decision says it of the client that went without."""
    served = lessor()
    for number in (1, 2, 3):
        lease(served, number)
    decision = served.decide(packet(MessageType.DISCOVER, 4), MessageType.DISCOVER, NOW)
    assert decision == Unanswered("pool_exhausted", client(4), exhausted="10.77.0.0/24")


def test_decline() -> None:
    """The holder found somebody else using it: it is put aside, and the next offer is another's."""
    served = lessor()
    lease(served)
    declined = packet(MessageType.DECLINE, SERVER_ID=BOX_ID, REQUESTED_ADDRESS=packed(FIRST))
    decision = served.decide(declined, MessageType.DECLINE, NOW)
    assert isinstance(decision, Unanswered)
    assert decision.lease is not None
    assert (decision.counted, decision.lease.state) == ("declined", LeaseState.DECLINED)
    assert discover(served).grant.address == SECOND


def test_release() -> None:
    """Free for others, though its client gets it back if it comes first."""
    served = lessor()
    lease(served)
    released = packet(MessageType.RELEASE, ciaddr=FIRST, SERVER_ID=BOX_ID)
    decision = served.decide(released, MessageType.RELEASE, NOW)
    assert isinstance(decision, Unanswered)
    assert decision.lease is not None
    assert (decision.counted, decision.lease.state) == ("released", LeaseState.RELEASED)
    assert served.books[0].free(NOW) == 3


@pytest.mark.parametrize("message", [MessageType.DECLINE, MessageType.RELEASE])
@pytest.mark.parametrize(
    ("number", "server", "address", "counted"),
    [
        (2, BOX_ID, FIRST, "not_its_lease"),
        (1, BOX_ID, SECOND, "not_its_lease"),
        (1, OTHER_ID, FIRST, "for_others"),
    ],
)
def test_returns_that_are_not_heeded(
    message: MessageType, number: int, server: bytes, address: str, counted: str
) -> None:
    """By who does not have it, or to another server."""
    served = lessor()
    lease(served)
    returned = packet(message, number, ciaddr=address, SERVER_ID=server, REQUESTED_ADDRESS=packed(address))
    assert served.decide(returned, message, NOW) == Unanswered(counted)
    assert [each.state for each in served.leases()] == [LeaseState.BOUND]


def test_inform() -> None:
    """No lease, no table entry."""
    served = lessor()
    asked = packet(MessageType.INFORM, ciaddr="10.77.0.200")
    assert served.decide(asked, MessageType.INFORM, NOW) == Given(
        MessageType.ACK, client(1), Grant(LOCAL, "0.0.0.0", None)
    )
    assert list(served.leases()) == []


@pytest.mark.parametrize(("ciaddr", "server"), [("0.0.0.0", BOX_ID), ("10.77.0.200", OTHER_ID)])
def test_inform_without_an_answer(ciaddr: str, server: bytes) -> None:
    """There is nowhere to answer to, or it is another server's."""
    asked = packet(MessageType.INFORM, ciaddr=ciaddr, SERVER_ID=server)
    assert lessor().decide(asked, MessageType.INFORM, NOW) == Unanswered("for_others")


def test_servers_messages_are_nobodys() -> None:
    """A client's packet with such a type is a mistake."""
    assert lessor().decide(packet(MessageType.OFFER), MessageType.OFFER, NOW) == Unanswered("for_others")


def test_behind_a_relay() -> None:
    """The relay's own address says which subnet; ARP does not reach there."""
    asked = packet(MessageType.DISCOVER, giaddr=RELAY)
    decision = lessor().decide(asked, MessageType.DISCOVER, NOW)
    assert decision == Given(MessageType.OFFER, client(1), Grant(FAR, "10.78.0.50", HOUR))


def test_relay_of_a_network_that_is_not_served() -> None:
    """Silence."""
    asked = packet(MessageType.DISCOVER, giaddr="10.99.0.1")
    assert lessor().decide(asked, MessageType.DISCOVER, NOW) == Unanswered("foreign_networks")


@pytest.mark.parametrize(
    ("agent", "network"),
    [
        (b"\1\4eth0\5\4\x0a\x4e\0\0", FAR),
        (b"\5\4\x0a\x4e\0\0", FAR),
        (b"\5\3\x0a\x4e\0", LOCAL),
        (b"\5\4\x0a\x4e", LOCAL),
        (b"\1\xff\5\4\x0a\x4e\0\0", LOCAL),
        (b"\5", LOCAL),
    ],
)
def test_link_selection(agent: bytes, network: object) -> None:
    """RFC 3527 goes before the relay's address, where it is of its form."""
    asked = packet(MessageType.DISCOVER, giaddr="10.77.0.3", RELAY_AGENT=agent)
    decision = lessor().decide(asked, MessageType.DISCOVER, NOW)
    assert isinstance(decision, Given)
    assert decision.grant.network is network


def test_renewal_past_the_relay() -> None:
    """It is unicast, so that no relay names the subnet: ciaddr does."""
    served = lessor()
    served.decide(packet(MessageType.DISCOVER, giaddr=RELAY), MessageType.DISCOVER, NOW)
    bound = request(served, giaddr=RELAY, SERVER_ID=BOX_ID, REQUESTED_ADDRESS=packed("10.78.0.50"))
    assert isinstance(bound, Given)
    renewed = request(served, ciaddr="10.78.0.50")
    assert isinstance(renewed, Given)
    assert renewed.grant.network is FAR


def test_an_address_found_in_use() -> None:
    """Before it was given: the next offer is of another, and the first is written down as taken."""
    served, asked = lessor(), packet(MessageType.DISCOVER)
    discover(served)
    lease = served.set_aside(asked, FIRST, NOW)
    assert lease is not None
    assert lease.state is LeaseState.DECLINED
    assert discover(served).grant.address == SECOND
    served.check(asked, SECOND)
    assert not discover(served).is_unchecked


def test_found_in_use_behind_an_unknown_relay() -> None:
    """Nothing to put aside."""
    asked = packet(MessageType.DISCOVER, giaddr="10.99.0.1")
    served = lessor()
    served.check(asked, FIRST)
    assert served.set_aside(asked, FIRST, NOW) is None


def test_foreseen() -> None:
    """What a machine would get, without holding it."""
    served = lessor(reserved={client(9).key: THIRD})
    assert served.foresee(client(9), NOW)[1] == THIRD
    assert served.foresee(client(1), NOW)[1] == FIRST
    assert served.books[0].free(NOW) == 2


def test_restored() -> None:
    """Into the book that the address is of."""
    before, after = lessor(), lessor()
    lease(before)
    [kept] = before.leases()
    assert after.restore(kept)
    assert not after.restore(replace(kept, address="192.0.2.1"))
    assert lease(after) == FIRST


def test_clients_name() -> None:
    """Shortened, and nothing in it that could steer a terminal."""
    name = b"till\x1b[2J\xc3\xa9" + b"x" * 100
    assert read_client(packet(MessageType.DISCOVER, HOST_NAME=name)).name == "till?[2J??" + "x" * 53


def test_client_without_a_mac_address() -> None:
    """Known by option 61, if that is of a length that identifiers have."""
    bare = replace(packet(MessageType.DISCOVER), hlen=0)
    with_id = replace(bare, options={**bare.options, Option.CLIENT_ID: b"\xff" + bytes(19)})
    assert read_client(with_id) == Client("ff" + ":00" * 19)
    for value in (b"", bytes(KEY_MOST // 3 + 2)):
        with pytest.raises(WireError):
            read_client(replace(bare, options={**bare.options, Option.CLIENT_ID: value}))
