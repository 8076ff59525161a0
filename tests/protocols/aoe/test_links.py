"""Links that come and go under the server, and advertising to one machine."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from protocols.aoe.channel import PumpedPath
from protocols.aoe.endpoint import AoeLimits, AoeServer
from protocols.aoe.wire import Command
from protocols.ethernet import BROADCAST, parse_mac
from tests.protocols.aoe.lan import CLIENT, CONTENT, OTHER, Initiator, Lan, config, mac_of, serving, target
from tests.protocols.aoe.twin import PlainPath
from tests.protocols.network import cable, fresh_network, ip

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True, params=[PumpedPath, PlainPath], ids=["pump", "plain"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here runs over the native pump and over its twin."""
    monkeypatch.setattr(Lan, "path", request.param)


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    """A namespace with one cable."""
    with fresh_network():
        cable("near", "far")
        yield


# Links that come and go


async def test_a_link_that_comes_up_is_told_of_the_targets() -> None:
    """Down and up: the advertisement comes again, and reads go on."""
    async with serving(target()) as lan:
        ip("link", "set", "near", "down")
        ip("link", "set", "near", "up")
        assert (await lan.initiator.receive()).header.destination == BROADCAST
        assert await lan.initiator.read(0) == CONTENT[:512]


async def test_a_cable_that_is_pulled_and_put_back_is_noticed() -> None:
    """Carrier lost at the far end only: our side stays up, and speaks when it is back."""
    async with serving(target()) as lan:
        ip("link", "set", "far", "down")
        ip("link", "set", "far", "up")
        # The kernel says ENETDOWN once on our socket too, since its interface went down.
        with pytest.raises(OSError, match="down"):
            await lan.initiator.receive()
        assert (await lan.initiator.receive()).header.destination == BROADCAST


async def test_a_server_bound_to_a_dead_link_speaks_when_it_lives() -> None:
    """Nothing is sent before; the first thing after is the advertisement."""
    ip("link", "set", "near", "down")
    server = AoeServer(report=lambda event: None, path=Lan.path)
    server.add(target())
    await server.bind("near")
    task = asyncio.create_task(server.run())
    initiator = Initiator()
    ip("link", "set", "near", "up")
    assert (await initiator.receive()).header.slot == 1
    task.cancel()
    initiator.close()


async def test_an_interface_that_is_made_again_is_served_again() -> None:
    """Deleted and created under the same name: another index, another MAC, the same service."""
    async with serving(target()) as lan:
        before = mac_of("near")
        ip("link", "del", "near")
        lan.initiator.close()
        ip("link", "add", "near", "type", "veth", "peer", "name", "far")
        ip("link", "set", "far", "up")
        lan.initiator = Initiator()
        ip("link", "set", "near", "up")
        advert = await lan.initiator.receive()
        assert advert.header.source == parse_mac(mac_of("near")) != parse_mac(before)
        lan.initiator.server = advert.header.source
        assert await lan.initiator.read(7) == CONTENT[7 * 512 : 8 * 512]


async def test_advertising_into_a_dead_link_is_counted() -> None:
    """ENETDOWN on sending ends nothing."""
    async with serving(target()) as lan:
        ip("link", "set", "near", "down")
        lan.server.advertise(CLIENT, 60)
        assert lan.server.counts["unsent_enetdown"] == 1
        ip("link", "set", "near", "up")
        await lan.initiator.receive()


# Advertising to one machine


async def test_a_machine_is_told_again_and_again_until_it_comes() -> None:
    """At once, repeatedly, by unicast with tag 0; its first ATA command ends it for that target alone."""
    async with serving(target(1), target(2), limits=AoeLimits(advertise_interval=0.01)) as lan:
        lan.server.advertise(CLIENT.upper(), 60)
        adverts = [await lan.initiator.receive() for _ in range(6)]
        assert [advert.header.slot for advert in adverts] == [1, 2, 1, 2, 1, 2]
        assert {(advert.header.destination, advert.header.tag) for advert in adverts} == {(parse_mac(CLIENT), 0)}
        await lan.initiator.ata(0xEC, slot=1)
        later = [await lan.initiator.receive() for _ in range(3)]
        assert [advert.header.slot for advert in later] == [2, 2, 2]


async def test_advertising_ends_by_itself() -> None:
    """Once for a campaign of no time, while another's goes on."""
    async with serving(target(), limits=AoeLimits(advertise_interval=0.01)) as lan:
        other = lan.also(OTHER)
        lan.server.advertise(CLIENT, 0)
        lan.server.advertise(OTHER, 60)
        for _ in range(4):
            await other.receive()
        assert (await lan.initiator.receive()).header.tag == 0
        tag = lan.initiator.send(Command.CONFIG, config())
        assert (await lan.initiator.receive()).header.tag == tag


async def test_a_masked_out_machine_is_not_advertised_to() -> None:
    """Only what it may see."""
    async with serving(
        target(1, allowed=frozenset({OTHER})), target(2), limits=AoeLimits(advertise_interval=0.01)
    ) as lan:
        lan.server.advertise(CLIENT, 60)
        assert [(await lan.initiator.receive()).header.slot for _ in range(4)] == [2, 2, 2, 2]


async def test_many_machines_take_turns_within_the_budget() -> None:
    """One frame a round: the first round tells one machine, the second the other."""
    limits = AoeLimits(advertise_interval=0.3, adverts_per_interval=1)
    async with serving(target(), limits=limits) as lan:
        other = lan.also(OTHER)
        lan.server.advertise(CLIENT, 60)
        lan.server.advertise(OTHER, 60)
        await lan.initiator.receive()
        await other.receive()
        before = lan.server.counts["adverts"]
        await lan.initiator.receive()
        assert lan.server.counts["adverts"] == before + 1
        await other.receive()
        assert lan.server.counts["adverts"] == before + 2


# Binding


async def test_binding_to_nothing_is_an_oserror() -> None:
    """Named; and running what was never bound is our own bug."""
    server = AoeServer(report=lambda event: None, path=Lan.path)
    with pytest.raises(OSError, match="absent"):
        await server.bind("absent")
    with pytest.raises(ExceptionGroup) as caught:
        await server.run()
    assert isinstance(caught.value.exceptions[0], RuntimeError)


async def test_a_server_that_never_ran_can_be_closed() -> None:
    """Without a warning for a socket left open."""
    server = AoeServer(report=lambda event: None, path=Lan.path)
    await server.bind("near")
    server.close()
    assert socket.if_nametoindex("near")
