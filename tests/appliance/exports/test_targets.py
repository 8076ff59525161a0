"""appliance.exports.targets: machines' disks over AoE, each for its owner alone, the present one."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.exports import addresses
from appliance.exports.addresses import Addresses
from appliance.exports.exports import Exports
from appliance.exports.targets import Targets
from protocols.aoe.endpoint import AoeLimits, AoeServer, Target
from protocols.aoe.initiators import Initiator
from storage.errors import StorageError
from tests.appliance.exports.conftest import KEEP, MINE, THEIRS, World


class Server:
    """An AoE server that only remembers."""

    def __init__(self) -> None:
        self.targets: dict[tuple[int, int], Target] = {}
        self.commands = 0
        self.added = asyncio.Event()

    def add(self, target: Target) -> None:
        """Refuses what the real one refuses."""
        AoeServer(report=lambda event: None, limits=AoeLimits(targets=1)).add(target)
        if (target.shelf, target.slot) in self.targets:
            raise ValueError("the address is taken")
        self.targets[target.shelf, target.slot] = target
        self.added.set()

    def remove(self, shelf: int, slot: int) -> None:
        """There has to be one."""
        del self.targets[shelf, slot]

    def initiators(self) -> list[Initiator]:
        """One machine, at its own target."""
        return [Initiator(MINE, 16, 1, 0, 0, self.commands, 0.0)]


@pytest.fixture
def server() -> Server:
    """Nothing served yet."""
    return Server()


@pytest.fixture
def exports(world: World) -> Exports:
    """The disks."""
    return world.exports()


@pytest.fixture
def targets(exports: Exports, server: Server, tmp_path: Path) -> Targets:
    """The targets, of every machine."""
    return Targets(exports, Addresses(tmp_path), server, wants=lambda mac: True)


async def test_each_is_seen_by_its_owner(targets: Targets, server: Server) -> None:
    """At its own address, once."""
    for mac in (MINE, THEIRS, MINE):
        await targets.show(mac)
    assert {at: target.allowed for at, target in server.targets.items()} == {(16, 1): {MINE}, (16, 2): {THEIRS}}
    assert targets.owns(16, 2)
    assert not targets.owns(0, 1)


async def test_a_new_disk_takes_the_olds_place(
    world: World, targets: Targets, server: Server, exports: Exports
) -> None:
    """When its machine boots anew and what it had is thrown away; or else stays."""
    world.policies[MINE] = replace(KEEP, write="discard")
    await targets.show(MINE)
    server.targets[16, 1].image.write_at(0, b"mine")
    await targets.show(MINE)
    assert server.targets[16, 1].image.read_at(0, 4) == b"mine"
    exports.note_boot(MINE)
    await targets.show(MINE)
    assert server.targets[16, 1].image.read_at(0, 4) == bytes(4)


@pytest.fixture
async def running(targets: Targets) -> AsyncIterator[None]:
    """The targets' own task."""
    task = asyncio.create_task(targets.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.usefixtures("running")
async def test_who_asks_is_shown_one_soon(targets: Targets, server: Server) -> None:
    """Without waiting for it."""
    targets.ask(MINE)
    await asyncio.wait_for(server.added.wait(), 30)


async def test_those_that_have_disks_are_shown_at_once(
    world: World, exports: Exports, server: Server, tmp_path: Path
) -> None:
    """Their machines run on while the appliance restarts; others are not."""
    await exports.find("rw-525400A1B2C3", "10.0.0.1")
    await exports.find("swap-525400000002", "10.0.0.2")
    targets = Targets(world.exports(), Addresses(tmp_path), server, wants=lambda mac: True)
    task = asyncio.create_task(targets.run())
    await asyncio.wait_for(server.added.wait(), 30)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert list(server.targets) == [(16, 1)]


async def test_failures_are_one_machines(world: World, targets: Targets, server: Server) -> None:
    """The next is shown."""
    world.policies[MINE] = replace(KEEP, write_base="gone")
    await targets.show(MINE)
    await targets.show(THEIRS)
    assert [target.allowed for target in server.targets.values()] == [{THEIRS}]


async def test_there_is_an_end_to_addresses(targets: Targets, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error; who has one keeps it."""
    monkeypatch.setattr(addresses, "SLOTS", range(1, 2))
    monkeypatch.setattr(addresses, "SHELVES", range(16, 17))
    assert await targets.assign(MINE) == (16, 1)
    with pytest.raises(StorageError, match="every AoE address"):
        await targets.assign(THEIRS)


async def test_in_use_is_what_was_since_it_booted(targets: Targets, server: Server) -> None:
    """AoE has no connections: what has been given commands counts as open."""
    server.commands = 5
    assert not targets.is_used(MINE)
    await targets.show(MINE)
    assert targets.is_used(MINE)
    targets.note_boot(MINE)
    assert not targets.is_used(MINE)
    server.commands = 6
    assert targets.is_used(MINE)


async def test_forgotten(targets: Targets, server: Server) -> None:
    """The address is another's then."""
    await targets.show(MINE)
    await targets.forget(MINE)
    assert (server.targets, targets.address(MINE), targets.is_shown(MINE)) == ({}, None, False)
    await targets.show(THEIRS)
    assert list(server.targets) == [(16, 1)]
