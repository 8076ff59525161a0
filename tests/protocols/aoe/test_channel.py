"""More than one pump: who serves whom, and what is known of both."""

from collections.abc import Iterator

import pytest

from protocols.aoe.channel import PumpedPath
from protocols.aoe.pump import AoePump
from tests.protocols.aoe.lan import CONTENT, Initiator, Lan, serving, target
from tests.protocols.network import cable, fresh_network, ip

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    """A namespace with one cable."""
    with fresh_network():
        cable("near", "far")
        yield


def pumps_of(lan: Lan) -> list[AoePump]:
    """The server's own."""
    path = lan.server._path
    assert isinstance(path, PumpedPath)
    return path._pumps


async def test_two_pumps_share_machines_by_their_macs() -> None:
    """Each machine is answered once, each pump has some of them, and together they have everyone's account."""
    async with serving(target(), pumps=2) as lan:
        machines = [lan.also(f"52:54:00:77:01:{number:02x}") for number in range(32)]
        for machine in machines:
            assert await machine.read(3) == CONTENT[3 * 512 : 4 * 512]
            assert (await machine.ata(0xEC)).header.tag == machine.tag
        assert len(lan.server.initiators()) == 32
        assert {initiator.commands for initiator in lan.server.initiators()} == {2}
        assert lan.server.counts["replies"] == 2 * 32
        assert all(pump.initiators() for pump in pumps_of(lan))


async def test_two_pumps_follow_an_interface_that_is_made_again() -> None:
    """By a new group of sockets, and the accounts go on."""
    async with serving(target(), pumps=2) as lan:
        assert await lan.initiator.read(0) == CONTENT[:512]
        ip("link", "del", "near")
        lan.initiator.close()
        ip("link", "add", "near", "type", "veth", "peer", "name", "far")
        ip("link", "set", "far", "up")
        lan.initiator = Initiator()
        ip("link", "set", "near", "up")
        lan.initiator.server = (await lan.initiator.receive()).header.source
        assert await lan.initiator.read(1) == CONTENT[512:1024]
        assert [initiator.commands for initiator in lan.server.initiators()] == [2]
