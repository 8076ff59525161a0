"""Who gets which address: its own first, the longest unused last, and nobody else's ever."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.dhcp.leasing.book import DECLINED_SECONDS, ENDS_SPARE, OFFER_SECONDS, Book
from protocols.dhcp.leasing.client import Client
from protocols.dhcp.leasing.lease import Lease, LeaseState
from tests.protocols.dhcp.leasing.parts import HOUR, LOCAL, NOW, client, span

FIRST, SECOND, THIRD = "10.77.0.50", "10.77.0.51", "10.77.0.52"
UUID = "4c4c4544-0042-3510-8053-b3c04f393233"


@pytest.fixture
def book() -> Book:
    """Three addresses."""
    return Book(LOCAL, {})


def lease(book: Book, number: int, now: float = NOW) -> str:
    """Offer and bind."""
    offered = book.offer(client(number), None, now)
    assert offered is not None
    bound = book.bind(client(number), offered[0], now)
    assert bound is not None
    return bound.address


def test_addresses_in_order(book: Book) -> None:
    """Each machine its own."""
    assert [lease(book, number) for number in (1, 2, 3)] == [FIRST, SECOND, THIRD]


def test_the_same_machine_keeps_its_address(book: Book) -> None:
    """While its lease runs, and long after it."""
    lease(book, 1)
    mine = lease(book, 2)
    assert lease(book, 2, NOW + 60) == mine
    assert lease(book, 2, NOW + 10 * HOUR) == mine


def test_nothing_is_left(book: Book) -> None:
    """A fourth machine gets nothing, until a lease ends."""
    for number in (1, 2, 3):
        lease(book, number, NOW + number)
    assert book.offer(client(4), None, NOW + 4) is None
    assert book.free(NOW + 4) == 0
    assert book.offer(client(4), None, NOW + 1 + HOUR) == (FIRST, False)


def test_the_longest_unused_goes_first(book: Book) -> None:
    """By the end of the lease, not by its address."""
    for number, at in ((3, 0), (1, 1), (2, 2)):
        lease(book, number, NOW + at)
    book.release(client(1), SECOND, NOW + 5)
    assert lease(book, 4, NOW + 6) == SECOND
    assert [lease(book, number, NOW + 9 * HOUR) for number in (5, 6)] == [FIRST, THIRD]


def test_what_nobody_had_comes_before_what_ended(book: Book) -> None:
    """So a machine that was away for long finds its address again."""
    lease(book, 1)
    book.release(client(1), FIRST, NOW)
    assert [lease(book, number) for number in (2, 3)] == [SECOND, THIRD]
    assert lease(book, 1) == FIRST


def test_what_a_client_asks_for(book: Book) -> None:
    """If it may have it: not another's lease, not what is offered to another, nothing from elsewhere."""
    assert book.offer(client(1), THIRD, NOW) == (THIRD, False)
    assert book.offer(client(2), THIRD, NOW) == (FIRST, False)
    book.bind(client(1), THIRD, NOW)
    for wanted in (THIRD, FIRST, "10.77.0.99", "192.0.2.1"):
        assert book.offer(client(3), wanted, NOW) == (SECOND, False)


def test_an_offer_is_held_for_a_while(book: Book) -> None:
    """Then it is free again, and whoever it was for may still have it."""
    book.offer(client(1), None, NOW)
    assert book.bind(client(2), FIRST, NOW) is None
    assert book.free(NOW + OFFER_SECONDS) == 3
    assert book.bind(client(1), FIRST, NOW + OFFER_SECONDS) is not None


def test_one_offer_for_each_machine(book: Book) -> None:
    """However often it discovers."""
    offers = [book.offer(client(1), None, NOW + at) for at in range(5)]
    assert offers == [(FIRST, False)] * 5
    assert book.free(NOW + 5) == 2


def test_a_starved_pool_serves_who_asks_at_once(book: Book) -> None:
    """Nothing but offers: the oldest is taken back."""
    for number in range(10, 60):
        book.offer(client(number), None, NOW)
    offered = book.offer(client(1), None, NOW)
    assert offered is not None
    assert book.bind(client(1), offered[0], NOW) is not None


def test_offers_make_nobody_forgotten(book: Book) -> None:
    """A flood of discovering machines leaves whose an address was last."""
    address = lease(book, 1)
    book.release(client(1), address, NOW)
    for number in range(10, 60):
        book.offer(client(number), None, NOW)
    assert lease(book, 1, NOW + OFFER_SECONDS) == address


def test_no_offer_of_a_running_lease_is_taken_back(book: Book) -> None:
    """Its client discovers again, and everybody else may not have it for that."""
    lease(book, 1)
    book.offer(client(1), None, NOW)
    for number in range(10, 60):
        offered = book.offer(client(number), None, NOW)
        assert offered is not None
        assert offered[0] != FIRST


def test_only_what_is_new_has_to_be_checked(book: Book) -> None:
    """A running lease was checked, and so is what was found free."""
    assert book.offer(client(1), None, NOW) == (FIRST, False)
    book.check(client(2), FIRST)
    assert book.offer(client(1), None, NOW) == (FIRST, False)
    book.check(client(1), FIRST)
    assert book.offer(client(1), None, NOW) == (FIRST, True)
    book.bind(client(1), FIRST, NOW)
    assert book.offer(client(1), None, NOW) == (FIRST, True)
    assert book.offer(client(1), None, NOW + HOUR) == (FIRST, False)


def test_renewal(book: Book) -> None:
    """For as long again from now on; since when it is held does not change."""
    lease(book, 1)
    assert book.bind(client(1), FIRST, NOW + 60) == Lease(
        FIRST, client(1).key, "", LeaseState.BOUND, NOW, NOW + 60 + HOUR
    )


def test_a_name_once_told_is_kept(book: Book) -> None:
    """Firmware has none."""
    named = replace(client(1), name="till")
    book.bind(named, FIRST, NOW)
    renewed = book.bind(client(1), FIRST, NOW + 1)
    assert renewed is not None
    assert renewed.name == "till"


def test_one_address_a_machine(book: Book) -> None:
    """Who takes another gives the first back."""
    lease(book, 1)
    book.bind(client(1), THIRD, NOW)
    assert [each.address for each in book] == [THIRD]
    assert book.free(NOW) == 2


def test_release_is_for_the_holder_alone(book: Book) -> None:
    """And for a lease that runs."""
    lease(book, 1)
    assert book.release(client(2), FIRST, NOW) is None
    assert book.release(client(1), SECOND, NOW) is None
    assert book.release(client(1), FIRST, NOW + 1) == Lease(FIRST, client(1).key, "", LeaseState.RELEASED, NOW, NOW + 1)
    assert book.release(client(1), FIRST, NOW + 2) is None


def test_declined(book: Book) -> None:
    """Put aside for ten minutes, whoever asks; its client gets another."""
    lease(book, 1)
    assert book.set_aside(client(2), FIRST, NOW) is None
    aside = book.set_aside(client(1), FIRST, NOW)
    assert aside == Lease(FIRST, "", "", LeaseState.DECLINED, NOW, NOW + DECLINED_SECONDS)
    assert lease(book, 1) == SECOND
    assert book.bind(client(3), FIRST, NOW) is None
    assert lease(book, 3) == THIRD
    assert book.offer(client(4), None, NOW) is None
    assert book.offer(client(4), None, NOW + DECLINED_SECONDS) == (FIRST, False)


def test_an_offered_address_is_in_use(book: Book) -> None:
    """Found before it was given."""
    book.offer(client(1), None, NOW)
    assert book.set_aside(client(1), FIRST, NOW) is not None
    assert book.offer(client(1), None, NOW) == (SECOND, False)


def test_reserved_by_mac() -> None:
    """In the pool or outside it: nobody else's, even when there is nothing else."""
    book = Book(LOCAL, {client(1).key: SECOND, client(2).key: "10.77.0.200"})
    assert [lease(book, number) for number in (3, 4, 1, 2)] == [FIRST, THIRD, SECOND, "10.77.0.200"]
    assert book.offer(client(5), SECOND, NOW) is None
    assert book.bind(client(5), "10.77.0.200", NOW + 9 * HOUR) is None
    assert book.pool_size == 2


def test_reserved_by_uuid() -> None:
    """Firmware tells it; the kernel of the same machine does not, and keeps the address."""
    book = Book(LOCAL, {UUID: FIRST})
    assert book.offer(client(1, UUID), None, NOW) == (FIRST, False)
    book.bind(client(1, UUID), FIRST, NOW)
    assert lease(book, 1) == FIRST
    assert book.bind(client(1), FIRST, NOW + 60) is not None
    assert lease(book, 2) == SECOND


def test_reserved_since_it_was_leased() -> None:
    """Who has it may not renew it, and who it is reserved for gets it when that ended."""
    book = Book(LOCAL, {client(1).key: FIRST})
    assert book.restore(Lease(FIRST, client(2).key, "", LeaseState.BOUND, NOW, NOW + HOUR))
    assert lease(book, 1) == SECOND
    assert book.bind(client(2), FIRST, NOW) is None
    assert lease(book, 1, NOW + HOUR) == FIRST


def test_restored_leases(book: Book) -> None:
    """The later of an address, or of a machine, holds; what is not of this network is not taken."""
    one = Lease(FIRST, client(1).key, "", LeaseState.BOUND, NOW, NOW + HOUR)
    assert book.restore(one)
    assert book.restore(replace(one, client=client(2).key))
    assert book.restore(replace(one, address=SECOND, client=client(2).key))
    assert not book.restore(replace(one, address="10.78.0.50"))
    assert [(each.address, each.client) for each in book] == [(SECOND, client(2).key)]
    assert book.free(NOW) == 2


def test_many_renewals_take_no_room(book: Book) -> None:
    """What is written of ends that moved is bounded."""
    lease(book, 1)
    for at in range(1000):
        book.bind(client(1), FIRST, NOW + at)
    assert len(book._ends) <= 4 + ENDS_SPARE
    assert book.free(NOW + 998 + HOUR) == 2
    assert book.free(NOW + 999 + HOUR) == 3


def test_pool_without_what_is_excluded() -> None:
    """Our own address, the router's, and the subnet's own two."""
    network = replace(LOCAL, pool=(span("10.77.0.0", "10.77.0.3"),), excluded=frozenset({"10.77.0.1", "10.77.0.2"}))
    assert list(network.addresses()) == ["10.77.0.3"]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["offer", "bind", "release", "decline", "withdraw"]),
        st.integers(1, 6),
        st.sampled_from([FIRST, SECOND, THIRD, "10.77.0.60"]),
        st.sampled_from([0.0, 1.0, OFFER_SECONDS, HOUR]),
    ),
    max_size=40,
)


@given(STEPS)
@settings(max_examples=300, deadline=None)
def test_nobody_has_what_is_anothers(steps: list[tuple[str, int, str, float]]) -> None:
    """Whatever clients do: a running lease is one client's, each has one address, and no address is lost."""
    book, now = Book(LOCAL, {client(6).key: "10.77.0.60"}), NOW
    for what, number, address, wait in steps:
        now += wait
        who = client(number)
        before = {each.address: each.client for each in book if each.until > now and each.client}
        bound = _step(book, what, who, address, now)
        if bound is not None:
            assert before.get(bound.address, who.key) == who.key
            assert (bound.address == "10.77.0.60") <= (number == 6)
        book.expire(now)
        running = [each.client for each in book if each.until > now and each.client]
        assert len(running) == len(set(running))
        busy = {each.address for each in book if each.until > now} | set(book._offers)
        assert book.free(now) + len(busy - {"10.77.0.60"}) == 3


def _step(book: Book, what: str, who: Client, address: str, now: float) -> Lease | None:
    match what:
        case "offer":
            book.offer(who, address, now)
        case "bind":
            return book.bind(who, address, now)
        case "release":
            book.release(who, address, now)
        case "decline":
            book.set_aside(who, address, now)
        case _:
            book.withdraw(who)
    return None
