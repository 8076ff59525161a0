"""Addresses given by an appliance: kept over restarts, told of once, listed as they are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import StringIO
from ipaddress import IPv4Interface
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from rich.console import Console
from structlog.testing import capture_logs

from appliance.client import Place
from appliance.config import Config
from appliance.errors import OperatorError
from appliance.host import Interface
from appliance.leases import service as leases_service
from appliance.leases.api import routes
from appliance.leases.command import LEASES, leases_view
from appliance.leases.service import Foreseen, LeaseService, refuse_beside_others
from appliance.reports.listing import show_list
from protocols.dhcp.endpoint import AddressDenied, AddressGiven, AddressReturned, PoolExhausted
from protocols.dhcp.leasing.client import Client
from protocols.dhcp.probe import HeardOffer
from tests.clock import Clock

OWN = IPv4Interface("10.77.0.2/24")
ON = {"dhcp": {"pool": "10.77.0.50-10.77.0.51", "reservations": {"52:54:00:77:00:09": "10.77.0.9"}}}
NOW, HOURS = 1_700_000_000.0, 3600
FIRST, SECOND = "10.77.0.50", "10.77.0.51"
MAC = "52:54:00:77:00:01"
ETH0 = Interface("eth0", "52:54:00:00:00:02", 1500, ("10.77.0.2",), is_loopback=False)


async def nobody(address: str) -> bytes | None:
    """Who has an address."""
    return None


def service(folder: Path, settings: dict[str, object] | None = None, clock: Clock | None = None) -> LeaseService:
    """Two addresses, and one reserved."""
    config = Config.model_validate(ON if settings is None else settings)
    return LeaseService(config, OWN, folder, find=nobody, clock=clock or Clock(NOW))


@asynccontextmanager
async def running(served: LeaseService) -> AsyncIterator[LeaseService]:
    """A service that keeps what it gives."""
    served.start()
    task = asyncio.ensure_future(served.run())
    try:
        yield served
    finally:
        task.cancel()
        await asyncio.wait([task])


async def give(served: LeaseService, mac: str, address: str, name: str = "") -> None:
    """A lease, kept."""
    lease = served.lessor.books[0].bind(
        Client(mac, name=name), address, served.leasing.clock() if served.leasing else 0
    )
    assert lease is not None
    assert served.leasing is not None
    await served.leasing.keep(lease)


def shown(served: LeaseService) -> list[tuple[str, str]]:
    """Addresses and their states."""
    return [(lease.address, served.state_of(lease)) for lease in served.leases()]


async def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    """What was given before is in the books of the next."""
    async with running(service(tmp_path)) as before:
        await give(before, MAC, FIRST, "till")
        await give(before, "52:54:00:77:00:09", "10.77.0.9")
    after = service(tmp_path)
    assert list(after.leases()) == list(before.leases())
    assert after.foresee(MAC, None) == Foreseen(FIRST, "it has it")


async def test_leases_of_a_pool_that_is_no_more(tmp_path: Path) -> None:
    """Are dropped, which is said."""
    async with running(service(tmp_path)) as before:
        await give(before, MAC, FIRST)
    with capture_logs() as logs:
        after = service(tmp_path, {"dhcp": {"pool": SECOND}})
    assert list(after.leases()) == []
    assert [log["leases"] for log in logs if log["event"] == "leases_dropped"] == [1]


def test_off(tmp_path: Path) -> None:
    """No file is read or made, and nothing is foreseen."""
    (tmp_path / "leases").write_bytes(b"spoilt")
    served = service(tmp_path, {})
    served.start()
    assert (served.leasing, served.notes(), served.foresee(MAC, None)) == (None, [], None)
    assert (tmp_path / "leases").read_bytes() == b"spoilt"


def test_a_spoilt_file(tmp_path: Path) -> None:
    """Keeps the appliance from starting: it would give addresses that others have."""
    (tmp_path / "leases").write_bytes(b"spoilt")
    with pytest.raises(OperatorError, match="is no lease file"):
        service(tmp_path)


async def test_states(tmp_path: Path) -> None:
    """A lease that ended is no longer bound."""
    clock = Clock(NOW)
    async with running(service(tmp_path, clock=clock)) as served:
        await give(served, MAC, FIRST)
        assert shown(served) == [(FIRST, "bound")]
        clock.now += 12 * HOURS
        assert shown(served) == [(FIRST, "expired")]
        served.lessor.books[0].bind(Client(MAC), FIRST, clock.now)
        served.lessor.books[0].release(Client(MAC), FIRST, clock.now)
        assert shown(served) == [(FIRST, "released")]


async def test_foreseen(tmp_path: Path) -> None:
    """Which address, and why that."""
    clock = Clock(NOW)
    async with running(service(tmp_path, clock=clock)) as served:
        assert served.foresee(MAC, None) == Foreseen(FIRST, "it is the next that is free")
        assert served.foresee("52:54:00:77:00:09", None) == Foreseen("10.77.0.9", "it is reserved for it")
        await give(served, MAC, FIRST)
        await give(served, "52:54:00:77:00:02", SECOND)
        assert served.foresee("52:54:00:77:00:03", None) == Foreseen(None, "nothing is left in 10.77.0.0/24")
        clock.now += 12 * HOURS
        assert served.foresee(MAC, None) == Foreseen(FIRST, "it had it last")


async def test_exhaustion_is_told_once(tmp_path: Path) -> None:
    """In the log until there is room again, and in the notes for as long as it lasts."""
    clock = Clock(NOW)
    with capture_logs() as logs:
        async with running(service(tmp_path, clock=clock)) as served:
            await give(served, MAC, FIRST)
            await give(served, "52:54:00:77:00:02", SECOND)
            for number in (3, 4, 3):
                served.hear(PoolExhausted(f"52:54:00:77:00:0{number}", "10.77.0.0/24"))
            assert served.notes() == ["all 2 addresses of 10.77.0.0/24 are given: enlarge its pool"]
            clock.now += 12 * HOURS
            served.hear(AddressDenied(MAC, FIRST, "no"))
            assert served.notes() == []
            await give(served, MAC, FIRST)
            await give(served, "52:54:00:77:00:02", SECOND)
            served.hear(PoolExhausted(MAC, "10.77.0.0/24"))
    assert [log["mac"] for log in logs if log["event"] == "pool_exhausted"] == ["52:54:00:77:00:03", MAC]


async def test_what_is_logged(tmp_path: Path) -> None:
    """New addresses and those that come back; renewals are not."""
    async with running(service(tmp_path)) as served:
        await give(served, MAC, FIRST)
        [lease] = served.leases()
        with capture_logs() as logs:
            for event in (
                AddressGiven(lease, is_new=True),
                AddressGiven(lease, is_new=False),
                AddressReturned(MAC, FIRST, is_conflict=False),
                AddressReturned(MAC, FIRST, is_conflict=True),
            ):
                served.hear(event)
    assert [log["event"] for log in logs] == ["address_given", "address_released", "address_declined"]


async def test_command(tmp_path: Path) -> None:
    """What an operator sees, and a script."""
    async with running(service(tmp_path)) as served:
        await give(served, MAC, FIRST, "till")
        app = web.Application()
        app.add_routes(routes(served))
        async with TestServer(app) as server:
            url = str(server.make_url("/"))
            texts = []
            for as_json in (False, True):
                console = Console(file=StringIO(), width=100)
                await show_list(LEASES, Place(tmp_path, url), as_json=as_json, console=console)
                assert isinstance(console.file, StringIO)
                texts.append(console.file.getvalue())
    assert texts[0].splitlines()[1].split()[:4] == [FIRST, MAC, "till", "bound"]
    assert f'"address": "{FIRST}", "mac": "{MAC}", "name": "till", "state": "bound"' in texts[1]


def test_no_leases() -> None:
    """Says how to have some."""
    assert "[dhcp]" in str(leases_view([]))


def offer(address: str) -> HeardOffer:
    """Another server's."""
    return HeardOffer("10.77.0.1", address, "0.0.0.0", b"", b"", b"", b"")


@pytest.mark.parametrize(
    ("settings", "heard", "words"),
    [
        (ON, (offer("10.77.0.77"), offer("0.0.0.0")), "10.77.0.1 gives addresses on eth0 already"),
        (ON, None, "no right to listen"),
        (ON, (offer("0.0.0.0"),), None),
        (ON, (), None),
        ({"dhcp": {**ON["dhcp"], "beside_others": True}}, (offer("10.77.0.77"),), None),
        ({}, (offer("10.77.0.77"),), None),
    ],
)
async def test_beside_others(
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, object],
    heard: tuple[HeardOffer, ...] | None,
    words: str | None,
) -> None:
    """Two servers that do not know of each other give one address twice: refused, unless that is wanted."""

    async def hear(name: str, mac: str, seconds: float) -> tuple[HeardOffer, ...] | None:
        return heard

    monkeypatch.setattr(leases_service, "hear_offers", hear)
    config = Config.model_validate(settings)
    if words is None:
        await refuse_beside_others(config, ETH0)
    else:
        with pytest.raises(OperatorError, match=words):
            await refuse_beside_others(config, ETH0)
